"""Invitations in the store: records, acceptances and ends."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.invitation import (
    InvitationPreviewed,
    InvitationRead,
    JoinAccount,
    Joined,
    KeptInvitation,
    PreviewInvitation,
)
from adapters.sql.change import record_change_once
from adapters.sql.database.schema import AccountRow, InvitationRow, MembershipRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.invitations.acceptance import commit_acceptance
from adapters.sql.invitations.blocker import blockers_of
from adapters.sql.invitations.change import changes_of
from adapters.sql.invitations.claim import claim_invitation, claim_invitations
from adapters.sql.invitations.letter import (
    invitation_parties,
    queue_invitation_letters,
    queue_moved_letters,
)
from adapters.sql.invitations.preview import build_preview, source_of
from adapters.sql.invitations.record import (
    bind_run,
    blocked_invitation,
    kept_invitation,
    locked_invitation,
    release_claim,
    release_seat,
    store_record,
    stored_invitation,
    unknown_invitation,
)
from adapters.sql.membership import (
    JOINABLE,
    current_membership,
    require_account,
    require_admin,
    require_paid_account,
)
from domain.account import Role
from domain.address import is_invitee_key
from domain.error import ErrorCode, Refused
from domain.invitation import (
    REMINDABLE,
    Invitation,
    InvitationState,
    Invite,
    StoredInvitation,
)
from domain.letter.invitation import InvitationParties
from domain.manifest import Change, Item, Manifest, ManifestItem, failed, unfinished, with_item
from domain.quote import Returnable, in_full

_LETTERS_AFTER = frozenset({"block", "unblock"})
"""Events of records that are followed by letters; acceptances and ends queue theirs themselves."""


class SqlInvitations:
    """The `InvitationStore` of running invitations, and the claims that precede them."""

    def __init__(self, engine: AsyncEngine, returnable: Returnable = in_full) -> None:
        self._engine = engine
        self._returnable = returnable

    async def claim(
        self, invite: Invite, initial_record: Invitation, at: datetime
    ) -> StoredInvitation | None:
        """Insert an invitation before its workflow starts, and reserve its seat (INV-15).

        Returns None, or the live invitation if there is one (INV-3). Raises Refused:
        `not_found`, `not_authorized`, `target_not_paid`, `already_member`,
        `belongs_to_other_account`, `conflict` (the settlement of an earlier invitation is
        open, INV-8; or `owner_invitation_id` names one that is not blocked, BLK-6), `no_seats`.
        """
        async with writing(self._engine) as session:
            return await claim_invitation(session, invite, initial_record, at)

    async def claim_all(
        self, claims: Sequence[tuple[Invite, Invitation]], at: datetime
    ) -> list[StoredInvitation | Refused | None]:
        """Claim the rows of one request in order; a refusal affects no other row (INV-2).

        A row that was claimed under the same id before returns its invitation, even if that
        has ended; a claim whose workflow never started is renewed.
        """
        async with writing(self._engine) as session:
            return await claim_invitations(session, claims, at)

    async def bind(self, invitation_id: str, run_id: str) -> None:
        """Bind the invitation to the first run of its workflow; later ones are ignored.

        Raises Refused: `not_found`, if the claim has been released.
        """
        async with writing(self._engine) as session:
            bind_run(session, await locked_invitation(session, invitation_id), run_id)

    async def rebind(self, invitation_id: str, run_id: str) -> None:
        """Bind an invitation whose workflow was lost to the first run of the new one."""
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            row.run_id = None
            bind_run(session, row, run_id)

    async def release(self, invitation_id: str, claimed_before: datetime | None = None) -> None:
        """Delete a claim whose workflow never started; others are ignored.

        With `claimed_before`, a claim that was renewed since then is ignored too.
        """
        async with writing(self._engine) as session:
            row = await session.get(InvitationRow, invitation_id, with_for_update=True)
            renewed = row and claimed_before and row.claimed_at >= claimed_before
            if row and row.run_id is None and not renewed:
                await release_claim(session, row, datetime.now(UTC))

    async def abandoned_claims(self, claimed_before: datetime) -> list[StoredInvitation]:
        """Return the claims that are older than that and not bound to a run, oldest first."""
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(InvitationRow)
                .where(
                    InvitationRow.run_id.is_(None),
                    InvitationRow.ended_at.is_(None),
                    InvitationRow.claimed_at < claimed_before,
                )
                .order_by(InvitationRow.claimed_at)
            )
            return [stored_invitation(row) for row in rows]

    async def latest(self, account: str, person: str) -> StoredInvitation | None:
        """Return the live invitation of the person into the account, else the last ended one.

        The person is named by the address or by the key in the workflow id.
        """
        column = InvitationRow.invitee_key if is_invitee_key(person) else InvitationRow.email
        async with reading(self._engine) as session:
            row = await session.scalar(
                select(InvitationRow)
                .where(InvitationRow.account_id == account, column == person)
                .order_by(
                    InvitationRow.ended_at.is_not(None),
                    InvitationRow.claimed_at.desc(),
                    InvitationRow.ended_at.desc(),
                )
                .limit(1)
            )
            return stored_invitation(row) if row else None

    async def live(self, workflow_id: str) -> StoredInvitation | None:
        """Return the invitation of that workflow that has not ended, if any."""
        _, account, key = workflow_id.split("/", 2)
        async with reading(self._engine) as session:
            row = await session.scalar(
                select(InvitationRow).where(
                    InvitationRow.account_id == account,
                    InvitationRow.invitee_key == key,
                    InvitationRow.ended_at.is_(None),
                )
            )
            return stored_invitation(row) if row else None

    async def by_id(self, invitation_id: str) -> StoredInvitation | None:
        """Return the invitation of that id, if any."""
        async with reading(self._engine) as session:
            row = await session.get(InvitationRow, invitation_id)
            return stored_invitation(row) if row else None

    async def listed(
        self,
        account: str,
        states: Sequence[InvitationState],
        quiet_before: datetime | None,
        everything: bool,
    ) -> list[StoredInvitation]:
        """Return the account's invitations, oldest first (INV-5).

        Those in `states`; without any, the live ones, or `everything`. With
        `quiet_before`, only those that are unanswered and quiet since then (REM-1).
        Raises Refused: `not_found`.
        """
        # A claim is no invitation until its workflow has started.
        listed = [InvitationRow.account_id == account, InvitationRow.run_id.is_not(None)]
        if states:
            listed.append(InvitationRow.state.in_(states))
        elif not everything:
            listed.append(InvitationRow.ended_at.is_(None))
        if quiet_before:
            listed.append(InvitationRow.state.in_(REMINDABLE))
            listed.append(InvitationRow.quiet_since <= quiet_before)
        async with reading(self._engine) as session:
            await require_account(session, account)
            rows = await session.scalars(
                select(InvitationRow)
                .where(*listed)
                .order_by(InvitationRow.claimed_at, InvitationRow.invitation_id)
            )
            return [stored_invitation(row) for row in rows]

    async def authorize_inviter(self, account: str, admin: str) -> tuple[str, ...]:
        """Return the account's managed domains, whose people may join at once (INV-18).

        Raises Refused: `not_found`, `not_authorized`, `target_not_paid` (INV-1).
        """
        async with reading(self._engine) as session:
            target = await require_paid_account(session, account, admin)
            return target.managed_domains

    async def invited_with_owner(self, invitation_id: str) -> list[str]:
        """Return the other users of the source account of a blocked invitation (BLK-6).

        The oldest membership is first. Raises Refused: `not_found`, `conflict` (not blocked).
        """
        async with reading(self._engine) as session:
            row = await blocked_invitation(session, invitation_id)
            membership = await current_membership(session, row.email)
            if membership is None or membership.role != Role.OWNER:
                # An import has changed the membership since; the next recheck finds it.
                return []
            users = await session.scalars(
                select(MembershipRow.email)
                .where(
                    MembershipRow.account_id == membership.account_id,
                    MembershipRow.until.is_(None),
                    MembershipRow.email != row.email,
                )
                .order_by(MembershipRow.id)
            )
            return list(users)

    async def require_account(self, account: str) -> None:
        """Raise Refused: `not_found`, if there is no such account."""
        async with reading(self._engine) as session:
            await require_account(session, account)

    async def authorize(self, account: str, admin: str) -> None:
        """Raise Refused: `not_found` (no such account), `not_authorized` (not its admin)."""
        async with reading(self._engine) as session:
            await require_account(session, account)
            await require_admin(session, account, admin)

    async def record(self, invitation_id: str, invitation: Invitation) -> KeptInvitation:
        """Replace the record by `invitation`, unless that is older; return the kept one.

        A record that accepts or ends the invitation is ignored: only `join` and `end` do
        that. The manifest is not replaced: only the move changes it (TRF-1).
        """
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            if invitation.may_replace(row.record):
                new_entries = invitation.journal[len(row.record.journal) :]
                manifest = row.record.manifest
                moved = {"manifest": manifest, "with_errors": failed(manifest)}
                store_record(row, invitation.model_copy(update=moved))
                if any(entry.event in _LETTERS_AFTER for entry in new_entries):
                    await queue_invitation_letters(session, row, new_entries[-1].at)
            return await kept_invitation(session, row)

    async def join(self, request: JoinAccount, at: datetime, letters_after: timedelta) -> Joined:
        """Move the person into the target account, in one transaction (INV-11)."""
        async with writing(self._engine) as session:
            return await commit_acceptance(
                session, request, at, letters_after, returnable=self._returnable
            )

    async def record_item(self, invitation_id: str, item: ManifestItem) -> Invitation:
        """Record the progress of an item, also after the invitation was completed (TRF-1)."""
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            manifest = with_item(row.record.manifest, item)
            changes = {"manifest": manifest, "with_errors": failed(manifest)}
            store_record(row, row.record.model_copy(update=changes))
            return row.record

    async def end_move(self, invitation_id: str) -> Manifest:
        """Return the stored manifest; queue its letters when no item is unfinished (TRF-5).

        Raises Refused: `not_found`.
        """
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            if not unfinished(row.record.manifest):
                await queue_moved_letters(session, row, datetime.now(UTC))
            return row.record.manifest

    async def changes(
        self, invitation_ids: Sequence[str], *, at_most: int | None = None
    ) -> Mapping[str, Mapping[Item, tuple[Change, ...]]]:
        """Return the changes of each item that has moved, by invitation (TRF-2, TRF-5).

        All, or `at_most` of each item.
        """
        async with reading(self._engine) as session:
            return await changes_of(session, invitation_ids, at_most=at_most)

    async def read(self, invite: Invite) -> InvitationRead:
        """Return the record and the blockers of its acceptance; change nothing (BLK-4)."""
        async with reading(self._engine) as session:
            row = await session.get(InvitationRow, invite.invitation_id)
            if row is None:
                raise unknown_invitation(invite.invitation_id)
            source = await source_of(session, invite)
            kept = await kept_invitation(session, row)
            return InvitationRead(
                invitation=kept.invitation,
                refund=kept.refund,
                blockers=await blockers_of(session, source, invite.email),
            )

    async def end(self, invitation_id: str, invitation: Invitation) -> KeptInvitation:
        """Record the end and release the seat, in one transaction (INV-7)."""
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            if row.record.state.unanswered:
                at = invitation.journal[-1].at
                await release_seat(session, row, at)
                store_record(row, invitation)
                await queue_invitation_letters(session, row, at)
            return await kept_invitation(session, row)

    async def is_reminder_due(self, invitation_id: str, invitation: Invitation) -> bool:
        """Return whether a reminder of `invitation` is still due (REM-1).

        It is while the invitation is unchanged and its account can be joined.
        """
        async with reading(self._engine) as session:
            row = await session.scalar(
                select(InvitationRow)
                .join(AccountRow, AccountRow.id == InvitationRow.account_id)
                .where(InvitationRow.invitation_id == invitation_id, JOINABLE)
            )
            if row is None:
                return False
            kept = row.record
            unchanged = (kept.journal, kept.blockers) == (invitation.journal, invitation.blockers)
            return unchanged and not kept.reminders_ended

    async def end_reminders(self, invitation_id: str) -> None:
        """End the reminders of an invitation; a repetition changes nothing (REM-1).

        Raises Refused: `not_found`.
        """
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            store_record(row, row.record.model_copy(update={"reminders_ended": True}))

    async def is_email_outdated(self, invitation_id: str, invitation: Invitation) -> bool:
        """Return whether the e-mail of `invitation` is no longer due (OPS-2)."""
        async with reading(self._engine) as session:
            row = await session.get(InvitationRow, invitation_id)
            return row is None or row.record.outdates_email_of(invitation)

    async def parties(self, invite: Invite) -> InvitationParties:
        """Return the recipients of the invitation's letters, from the directory (TXT-1).

        Raises Refused: `conflict`, if the claim was released before the workflow started.
        """
        async with reading(self._engine) as session:
            if await session.get(InvitationRow, invite.invitation_id) is None:
                raise Refused(ErrorCode.CONFLICT, "The invitation was released before it began.")
            return await invitation_parties(session, invite)

    async def preview(self, request: PreviewInvitation) -> InvitationPreviewed:
        """Return the effects of accepting (QUO-8); record the author of a new quote (OPS-8)."""
        async with reading(self._engine) as session:
            previewed = await build_preview(session, request, self._returnable)
        if request.by and previewed.is_new(request.recorded):
            invite = request.invite
            async with writing(self._engine) as session:
                await record_change_once(
                    session,
                    "preview",
                    invite.workflow_id,
                    by=request.by,
                    at=request.at,
                    account=invite.account,
                )
        return previewed
