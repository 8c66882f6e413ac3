"""Invitations in the store: claimed, kept as they stand, accepted and ended once."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from activities.invitation import (
    AccountJoined,
    InvitationPreviewed,
    JoinAccount,
    PreviewInvitation,
    Standing,
)
from adapters.sql.announcement import announce_change
from adapters.sql.database.schema import InvitationRow, MembershipRow, PersonRow
from adapters.sql.database.transaction import alone_about, reading, writing
from adapters.sql.invitations.acceptance import commit_acceptance
from adapters.sql.invitations.preview import owned, previewed, source_of
from adapters.sql.invitations.record import (
    keep,
    locked_invitation,
    release_seat,
    stored_invitation,
    unknown_invitation,
)
from adapters.sql.membership import (
    admins_of,
    base_licenses,
    home,
    known_account,
    left_behind,
    require_admin,
    require_invitable,
    require_paid,
    user_or_owner,
)
from adapters.sql.money.ledger import posted
from domain.account import Role
from domain.blocker import find_blockers
from domain.error import ErrorCode, Refused
from domain.invitation import (
    REMINDABLE,
    Invitation,
    InvitationState,
    Invite,
    License,
    StoredInvitation,
)
from domain.ledger import credit_of, credit_transfer_ids
from domain.letter.base import Reader
from domain.letter.invitation import InvitationParties
from domain.manifest import ManifestItem, failed, with_item
from domain.money import Money, total
from domain.preview import loss_notices, staying_notices


class SqlInvitations:
    """The `InvitationStore` of running invitations, and the claims that precede them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(
        self, invite: Invite, opening: Invitation, at: datetime
    ) -> StoredInvitation | None:
        """File an invitation before its workflow starts, with its seat (INV-15).

        None when it was; otherwise the live one that stands (INV-3). Raises Refused:
        `not_found`, `not_authorized`, `target_not_paid`, `already_member`,
        `belongs_to_other_account`, `conflict` (naming an earlier invitation whose
        settlement is open, INV-8; or `beside` one that is not blocked, BLK-6), `no_seats`.
        """
        async with writing(self._engine) as session:
            await alone_about(session, invite.email)
            target = await known_account(session, invite.account, lock=True)
            await require_admin(session, invite.account, invite.invited_by)
            require_paid(target)
            return await _claim(session, invite, opening, at)

    async def claim_all(
        self, claims: Sequence[tuple[Invite, Invitation]], at: datetime
    ) -> list[StoredInvitation | Refused | None]:
        """As `claim`, for rows of one request, in order; a refusal spoils no other row (INV-2).

        What was claimed under the same id before is found as it stands, also when it has
        ended; one whose workflow never started counts as claimed now.
        """
        async with writing(self._engine) as session:
            for email in sorted({invite.email for invite, _ in claims}):
                await alone_about(session, email)
            own = await _by_ids(session, [invite.invitation_id for invite, _ in claims])
            unable = await _unable(session, claims[0][0])
            known = await _known(session, [invite for invite, _ in claims])
            standings = list[StoredInvitation | Refused | None]()
            for invite, opening in claims:
                row = own.get(invite.invitation_id)
                if row and row.run_id is None:
                    row.claimed_at = at
                if row or unable:
                    standings.append(stored_invitation(row) if row else unable)
                    continue
                try:
                    if invite.email in known:
                        standings.append(await _claim(session, invite, opening, at))
                    else:
                        await _file(session, invite, opening, at)
                        standings.append(None)
                except Refused as refused:
                    standings.append(refused)
            return standings

    async def bind(self, invitation_id: str, run_id: str) -> None:
        """The workflow has started, as this run; the first one counts.

        Raises Refused: `not_found`, when the claim was released meanwhile.
        """
        async with writing(self._engine) as session:
            bind_run(session, await locked_invitation(session, invitation_id), run_id)

    async def release(self, invitation_id: str, claimed_before: datetime | None = None) -> None:
        """Undo a claim whose workflow never started; of any other, nothing.

        With `claimed_before`, only one that nobody has taken up again since.
        """
        async with writing(self._engine) as session:
            row = await session.get(InvitationRow, invitation_id, with_for_update=True)
            taken_up = row and claimed_before and row.claimed_at >= claimed_before
            if row and row.run_id is None and not taken_up:
                await release_seat(session, row, datetime.now(UTC))
                await session.delete(row)

    async def unstarted(self, claimed_before: datetime) -> list[StoredInvitation]:
        """Claims that are older than that and were not bound, oldest first."""
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

    async def latest(self, account: str, email: str) -> StoredInvitation | None:
        """The live invitation of that person into that account, else the last that ended."""
        async with reading(self._engine) as session:
            row = await session.scalar(
                select(InvitationRow)
                .where(InvitationRow.account_id == account, InvitationRow.email == email)
                .order_by(
                    InvitationRow.ended_at.is_not(None),
                    InvitationRow.claimed_at.desc(),
                    InvitationRow.ended_at.desc(),
                )
                .limit(1)
            )
            return stored_invitation(row) if row else None

    async def by_id(self, invitation_id: str) -> StoredInvitation | None:
        """The invitation of that id."""
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
        """The account's invitations, oldest first (INV-5).

        Those in `states`; without any, the live ones, or `everything`. With
        `quiet_before`, only those that want an answer and have been quiet since then
        (REM-1). Raises Refused: `not_found`.
        """
        query = select(InvitationRow).where(
            InvitationRow.account_id == account,
            # A claim is no invitation until its workflow has started.
            InvitationRow.run_id.is_not(None),
        )
        if states:
            query = query.where(InvitationRow.state.in_(states))
        elif not everything:
            query = query.where(InvitationRow.ended_at.is_(None))
        if quiet_before:
            query = query.where(
                InvitationRow.state.in_(REMINDABLE), InvitationRow.quiet_since <= quiet_before
            )
        async with reading(self._engine) as session:
            await known_account(session, account)
            rows = await session.scalars(
                query.order_by(InvitationRow.claimed_at, InvitationRow.invitation_id)
            )
            return [stored_invitation(row) for row in rows]

    async def authorize_inviter(self, account: str, admin: str) -> tuple[str, ...]:
        """The domains that the account manages, whose people may join unasked (INV-18).

        Raises Refused: `not_found`, `not_authorized`, `target_not_paid` (INV-1).
        """
        async with reading(self._engine) as session:
            target = await known_account(session, account)
            await require_admin(session, account, admin)
            require_paid(target)
            return target.managed_domains

    async def invitees_beside(self, invitation_id: str) -> list[str]:
        """The other users of the account that this blocked invitation's owner is to leave.

        The longest there first. Raises Refused: `not_found`, `conflict` (it is not blocked,
        BLK-6).
        """
        async with reading(self._engine) as session:
            row = await _blocked(session, invitation_id)
            membership = await home(session, row.email)
            if membership is None or membership.role != Role.OWNER:
                # Imported otherwise since it was blocked; the next look will see it.
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

    async def authorize(self, account: str, admin: str) -> None:
        """Raises Refused: `not_found` (no such account), `not_authorized` (not its admin)."""
        async with reading(self._engine) as session:
            await known_account(session, account)
            await require_admin(session, account, admin)

    async def record(self, invitation_id: str, invitation: Invitation) -> None:
        """Keep `invitation` as it stands.

        Ignored: what is older than what is kept, and what only `join` or `end` may
        say, that it was accepted or has ended. What moves along stays as it is kept: the
        move itself says how far it has come.
        """
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            if _follows(row.record, invitation):
                manifest = row.record.manifest
                moved = {"manifest": manifest, "with_errors": failed(manifest)}
                keep(row, invitation.model_copy(update=moved))

    async def join(self, order: JoinAccount) -> AccountJoined:
        """Move the person into the target account, in one transaction (INV-11)."""
        async with writing(self._engine) as session:
            return await commit_acceptance(session, order)

    async def keep_item(self, invitation_id: str, item: ManifestItem) -> Invitation:
        """Keep how far an item has come, also after the invitation was completed (TRF-1)."""
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            manifest = with_item(row.record.manifest, item)
            changes = {"manifest": manifest, "with_errors": failed(manifest)}
            keep(row, row.record.model_copy(update=changes))
            return row.record

    async def standing(self, invite: Invite) -> Standing:
        """How the invitation stands and what blocks its acceptance; changes nothing (BLK-4)."""
        async with reading(self._engine) as session:
            row = await session.get(InvitationRow, invite.invitation_id)
            if row is None:
                raise unknown_invitation(invite.invitation_id)
            source = await source_of(session, invite)
            leaving = source is not None and owned(source, invite.email)
            return Standing(
                invitation=row.record,
                blockers=find_blockers(source, invite.email) if source and leaving else (),
            )

    async def end(self, invitation_id: str, invitation: Invitation) -> Invitation:
        """Release the seat and keep the end, in one transaction (INV-7)."""
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            if row.record.state.unanswered:
                await release_seat(session, row, invitation.journal[-1].at)
                keep(row, invitation)
            return row.record

    async def stands_as(self, invitation_id: str, invitation: Invitation) -> bool:
        """Whether nothing has moved the invitation since it stood as `invitation` (REM-1)."""
        async with reading(self._engine) as session:
            row = await session.get(InvitationRow, invitation_id)
            kept = row.record if row else None
            return kept is not None and (
                (kept.journal, kept.blockers) == (invitation.journal, invitation.blockers)
            )

    async def overtaken(self, invitation_id: str, invitation: Invitation) -> bool:
        """Whether its e-mail is no longer due: it is answered, over, or has a newer link."""
        async with reading(self._engine) as session:
            row = await session.get(InvitationRow, invitation_id)
            kept = row.record if row else None
            announced = invitation.state is InvitationState.ANNOUNCED
            return (
                kept is None
                or not kept.state.unanswered
                or kept.sent_count > invitation.sent_count
                or (announced and kept.state is not InvitationState.ANNOUNCED)
            )

    async def parties(self, invite: Invite) -> InvitationParties:
        """Whom the invitation concerns, as the directory knows them now (TXT-1).

        Raises Refused: `conflict`, when its claim was released before it began.
        """
        async with reading(self._engine) as session:
            if await session.get(InvitationRow, invite.invitation_id) is None:
                raise Refused(ErrorCode.CONFLICT, "The invitation was released before it began.")
            target = await known_account(session, invite.account)
            inviter = await user_or_owner(session, invite.account, invite.invited_by)
            invitee = await session.get(PersonRow, invite.email)
            source = await source_of(session, invite)
            told = InvitationParties(
                account_name=target.name,
                inviter=_reader(
                    inviter.person if inviter else PersonRow(email=invite.invited_by),
                    invite,
                    target.time_zone,
                ),
                invitee=_reader(
                    invitee or PersonRow(email=invite.email, name=invite.name),
                    invite,
                    source.time_zone if source else target.time_zone,
                ).model_copy(update={"email": invite.mail_to or invite.email}),
                loses=loss_notices(source, invite.email, invite.license),
                stays=staying_notices(source, invite.email, target.name),
                collection=target.collection,
            )
            left = await left_behind(session, invite.invitation_id)
            if left is None:
                return told
            admins = await admins_of(session, target.id)
            return told.model_copy(
                update={
                    "licenses_left": left.addons_left,
                    "admins": tuple(_reader(admin, invite, target.time_zone) for admin in admins),
                    "credited": await _credited(session, invite, target.currency),
                }
            )

    async def preview(self, order: PreviewInvitation) -> InvitationPreviewed:
        """What accepting would do; changes nothing (QUO-8)."""
        async with reading(self._engine) as session:
            return await previewed(session, order)


def bind_run(session: AsyncSession, row: InvitationRow, run_id: str) -> None:
    """The workflow has started, as this run; the first one counts."""
    keep(row, row.record.model_copy(update={"run_id": run_id}))
    if row.record.state.final:
        announce_change(session, row, row.record.journal[-1].at)


async def _claim(
    session: AsyncSession, invite: Invite, opening: Invitation, at: datetime
) -> StoredInvitation | None:
    """File it, unless a live one stands; whoever asks may invite into the account.

    Raises Refused with nothing changed.
    """
    await require_invitable(session, invite)
    standing = await _live(session, invite)
    if standing:
        return stored_invitation(standing)
    if invite.beside:
        await _blocked(session, invite.beside)
    await _file(session, invite, opening, at)
    return None


async def _file(session: AsyncSession, invite: Invite, opening: Invitation, at: datetime) -> None:
    """File it with its seat. Raises Refused: `no_seats`."""
    row = InvitationRow(
        invitation_id=invite.invitation_id,
        account_id=invite.account,
        invitee_key=invite.key,
        email=invite.email,
        claimed_at=at,
        seat_reserved=await _reserve_seat(session, invite),
        ordered=invite,
    )
    keep(row, opening)
    session.add(row)


async def _known(session: AsyncSession, invites: Sequence[Invite]) -> set[str]:
    """Those who are on an account or have a live invitation into this one: not simply stored.

    Most people of a batch are neither, and every question would hold up all others on SQLite.
    """
    emails = [invite.email for invite in invites]
    users = await session.scalars(
        select(MembershipRow.email).where(
            MembershipRow.email.in_(emails), MembershipRow.until.is_(None)
        )
    )
    invited = await session.scalars(
        select(InvitationRow.email).where(
            InvitationRow.account_id == invites[0].account,
            InvitationRow.email.in_(emails),
            InvitationRow.ended_at.is_(None),
        )
    )
    return {*users, *invited}


async def _unable(session: AsyncSession, invite: Invite) -> Refused | None:
    """Why whoever asks may invite nobody into the account, if so (INV-1)."""
    try:
        target = await known_account(session, invite.account, lock=True)
        await require_admin(session, invite.account, invite.invited_by)
        require_paid(target)
    except Refused as refused:
        return refused
    return None


async def _by_ids(session: AsyncSession, ids: Sequence[str]) -> dict[str, InvitationRow]:
    """Those that are there, locked by id."""
    rows = await session.scalars(
        select(InvitationRow)
        .where(InvitationRow.invitation_id.in_(ids))
        .order_by(InvitationRow.invitation_id)
        .with_for_update()
    )
    return {row.invitation_id: row for row in rows}


async def _live(session: AsyncSession, invite: Invite) -> InvitationRow | None:
    """The live invitation of a person who is not on the account.

    Raises Refused: `conflict`, when they were once, and their settlement is still open.
    """
    row = await session.scalar(
        select(InvitationRow).where(
            InvitationRow.account_id == invite.account,
            InvitationRow.invitee_key == invite.key,
            InvitationRow.ended_at.is_(None),
        )
    )
    if row and row.record.state.accepted:
        raise Refused(
            ErrorCode.CONFLICT,
            f"The invitation {row.invitation_id} is still being settled.",
            workflow_id=row.record.workflow_id,
            run_id=row.record.run_id,
        )
    return row


async def _blocked(session: AsyncSession, invitation_id: str) -> InvitationRow:
    """The invitation that others may be invited beside.

    Raises Refused: `not_found`, `conflict` (it is not blocked, BLK-6).
    """
    row = await session.get(InvitationRow, invitation_id)
    if row is None:
        raise unknown_invitation(invitation_id)
    if row.record.state is not InvitationState.BLOCKED:
        raise Refused(
            ErrorCode.CONFLICT,
            f"The invitation of {row.email} is {row.record.state.value}, not blocked.",
        )
    return row


async def _reserve_seat(session: AsyncSession, invite: Invite) -> bool:
    if invite.license is not License.LICENSED:
        return False
    pool = await base_licenses(session, invite.account)
    if pool.free < 1:
        raise Refused(ErrorCode.NO_SEATS, f"{invite.account} has no free license.")
    pool.reserved += 1
    return True


def _follows(kept: Invitation, invitation: Invitation) -> bool:
    return (
        not kept.state.final
        and kept.state.unanswered == invitation.state.unanswered
        and kept.state.accepted == invitation.state.accepted
        and len(kept.journal) <= len(invitation.journal)
    )


def _reader(person: PersonRow, invite: Invite, time_zone: str) -> Reader:
    """The person, in their own language and zone as far as they are known (TXT-1)."""
    return Reader(
        email=person.email,
        name=person.name,
        locale=person.locale or invite.locale or "en",
        time_zone=person.time_zone or time_zone,
    )


async def _credited(session: AsyncSession, invite: Invite, currency: str) -> Money | None:
    """What the acceptance credited to the target, whatever was chosen."""
    entries = await posted(session, credit_transfer_ids(invite.invitation_id))
    receiver = credit_of(invite.account)
    credited = [entry.amount for entry in entries.values() if entry.credited == receiver]
    return total(credited, currency) if credited else None
