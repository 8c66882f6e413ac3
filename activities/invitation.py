"""The side effects of an invitation: e-mails, membership, seat, record."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.letter import (
    IMMEDIATE_TIMEOUT,
    LetterSent,
    Mailer,
    StillDue,
    business_time,
    send_at_once,
    send_letter,
    send_or_log,
)
from domain.attention import cases_of_move
from domain.invitation import (
    Blocker,
    Choice,
    DueReminder,
    Invitation,
    InvitationState,
    Invite,
)
from domain.journal import ENGINE
from domain.letter import Letter
from domain.letter.attention import operator_letters
from domain.letter.invitation import (
    InvitationParties,
    heads_up_letter,
    invitation_letter,
    invitation_letters,
)
from domain.letter.reminder import reminder_letter
from domain.model import Value
from domain.policy import Policy
from domain.preview import Preview
from domain.quote import RecordedQuote
from domain.refund import RefundPlan
from states.invitation import InvitationMachine
from states.lifecycle import after

_LETTER_STILL_DUE_AFTER = frozenset({"resend", "remind"})
"""Events after which a letter about an earlier state is still true."""


class AnnounceInvitation(Value):
    """A request to send the heads-up; the invitation e-mail follows at `invitation.goes_out_at`."""

    invite: Invite
    invitation: Invitation
    """The current record; the activity does not change it."""
    at: AwareDatetime
    """Workflow time of the request."""


class DeliverInvitation(Value):
    """A request to send the invitation e-mail with link number `invitation.sent_count`."""

    invite: Invite
    invitation: Invitation
    """The current record; the activity records it as delivered."""
    at: AwareDatetime
    """Workflow time of the request."""


class RemindInvitee(Value):
    """A request to send a reminder to the invitee."""

    invite: Invite
    invitation: Invitation
    """The current record; no reminder is sent if it has changed since."""
    reminder: DueReminder
    at: AwareDatetime
    """Workflow time of the request."""


class JoinAccount(Value):
    """A request to commit the membership and everything that must change with it."""

    invite: Invite
    invitation: Invitation
    """The accepted record; the store adds choice, settlement and manifest."""
    choice: Choice | None
    quote: RecordedQuote | None = None
    """The last quote shown, if any; it binds while it is valid (QUO-5)."""
    by_managed_domain: bool = False
    """True to join only if the person need not accept the invitation (INV-18)."""


class AccountJoined(Value):
    """The result of joining: the membership is committed, or the invitation had ended before."""

    invitation: Invitation
    """The stored record."""
    refund: RefundPlan | None = None
    """The refund to payment methods, if any."""
    notified: bool = False
    """True if everyone has been notified; only for a completed invitation."""


class ReadInvitation(Value):
    """A request to read the stored record and the blockers of an unanswered invitation."""

    invite: Invite


class InvitationRead(Value):
    """The stored record of an invitation, and its blockers."""

    invitation: Invitation
    """The stored record; it may have ended without its workflow."""
    blockers: tuple[Blocker, ...] = ()


class EndInvitation(Value):
    """A request to end an invitation that has not been accepted."""

    invite: Invite
    invitation: Invitation
    """The ended record."""


class RecordInvitation(Value):
    """A request to write the current record."""

    invite: Invite
    invitation: Invitation


class NotifyParties(Value):
    """A request to notify everyone concerned of the current state."""

    kind: Literal["invitation"] = "invitation"
    invite: Invite
    invitation: Invitation


class PreviewInvitation(Value):
    """A request to preview the acceptance."""

    invite: Invite
    at: AwareDatetime
    """Workflow time of the request."""
    recorded: RecordedQuote | None = None
    """The last quote shown, if any (QUO-5)."""


class InvitationPreviewed(Value):
    """The effects of accepting, and the quote that binds from now on."""

    preview: Preview
    quote: RecordedQuote | None = None
    """None if there is nothing to choose (QUO-4)."""


class AuthorizeAdmin(Value):
    """A request to check that `admin` may act for `account`."""

    account: str
    admin: str


class InvitationStore(Protocol):
    """The part of the store that a running invitation uses."""

    async def record(self, invitation_id: str, invitation: Invitation) -> None:
        """Write `invitation`, unless the stored record is newer (a longer journal) or has ended."""

    async def join(self, request: JoinAccount) -> AccountJoined:
        """Move the person into the target account, in one transaction (INV-11).

        Writes membership, seat, source account, settlement with its ledger entries and the
        accepted record, once per invitation. If the invitation was accepted or ended before,
        returns the stored record and the same refund.
        If nothing remains to be settled or moved, the record is completed at once.
        The person's other open invitations end as superseded; if another one was accepted
        first, this invitation has ended as superseded (INV-14).
        Raises Refused, with nothing changed, the first of: `conflict` (`by_managed_domain`, but
        the person must accept), `target_not_paid`, `already_member`,
        `belongs_to_other_account`, `no_seats`, `blocked` (with `blockers`),
        `choice_required`, `currency_mismatch`, `quote_expired`.
        """

    async def read(self, invite: Invite) -> InvitationRead:
        """Return the stored record and the blockers of an acceptance; change nothing (BLK-4).

        Raises Refused: `not_found`.
        """

    async def end(self, invitation_id: str, invitation: Invitation) -> Invitation:
        """Release the seat and write the end, in one transaction (INV-7).

        If the invitation was accepted or ended before, only return the stored record.
        """

    async def is_reminder_due(self, invitation_id: str, invitation: Invitation) -> bool:
        """Return whether a reminder of `invitation` is still due.

        It is while the invitation is unchanged and its account can be joined.
        """

    async def is_email_outdated(self, invitation_id: str, invitation: Invitation) -> bool:
        """Return whether its e-mail is no longer due: it was answered, ended or sent again."""

    async def parties(self, invite: Invite) -> InvitationParties:
        """Return the people whom the invitation concerns, as the directory has them now.

        Raises Refused: `conflict`, if the claim was released before the workflow started.
        """

    async def preview(self, request: PreviewInvitation) -> InvitationPreviewed:
        """Return the effects of accepting, with the recorded quote while it binds, else a new one.

        Changes nothing (QUO-8).
        """

    async def authorize(self, account: str, admin: str) -> None:
        """Raise Refused: `not_found` (no such account), `not_authorized` (not its admin)."""


class LinkSource(Protocol):
    """The signed links that invitees open."""

    def link(self, invitation_id: str, number: int) -> str:
        """Return the link of the `number`th invitation e-mail; the same for equal arguments."""


def with_delivery(invitation: Invitation, at: datetime, policy: Policy) -> Invitation:
    """Return the record after the delivery at `at`; the deadline starts again (INV-6)."""
    if invitation.state is InvitationState.SENT:
        return after(
            InvitationMachine,
            invitation,
            "deliver",
            at=at,
            by=ENGINE,
            expires_at=at + policy.ttl,
        )
    return invitation.with_time_left(policy.ttl, since=at)


@dataclass(frozen=True)
class InvitationActivities:
    """The activities of the `Invitation` workflow."""

    store: InvitationStore
    mailer: Mailer
    links: LinkSource
    operators: str | None = None
    """The operators' address; None: they get no letters."""
    sends_at_once: bool = True
    """False if every letter must go through the queue that limits the mail server's rate."""
    immediate_timeout: timedelta = IMMEDIATE_TIMEOUT

    @activity.defn
    async def announce_invitation(self, request: AnnounceInvitation) -> LetterSent:
        """Send the heads-up if it is still due; nothing is recorded (INV-17)."""
        goes_out_at = request.invitation.goes_out_at
        assert goes_out_at is not None, "the invitation has no heads-up"
        letter = heads_up_letter(
            request.invite, await self.store.parties(request.invite), goes_out_at
        )
        return await send_letter(
            self.mailer, letter, request.at, self._delivery_due(request.invite, request.invitation)
        )

    @activity.defn
    async def deliver_invitation(self, request: DeliverInvitation) -> LetterSent:
        """Send the invitation e-mail if it is still due, and record it (INV-4, INV-6)."""
        invite, number = request.invite, request.invitation.sent_count
        delivered = with_delivery(request.invitation, business_time(request.at), invite.policy)
        letter = invitation_letter(
            invite,
            await self.store.parties(invite),
            number=number,
            link=self.links.link(invite.invitation_id, number),
            expires_at=delivered.expires_at,
        )
        result = await send_letter(
            self.mailer, letter, request.at, self._delivery_due(invite, request.invitation)
        )
        if result.sent:
            await self.store.record(invite.invitation_id, delivered)
        return result

    @activity.defn
    async def remind_invitee(self, request: RemindInvitee) -> LetterSent:
        """Send the reminder if it is still due; nothing is recorded (REM-1)."""
        invite, invitation = request.invite, request.invitation

        async def due() -> bool:
            return await self.store.is_reminder_due(invite.invitation_id, invitation)

        letter = reminder_letter(
            invite,
            invitation,
            await self.store.parties(invite),
            number=request.reminder.number,
            link=self.links.link(invite.invitation_id, invitation.sent_count),
        )
        return await send_letter(self.mailer, letter, request.at, due)

    @activity.defn
    async def join_account(self, request: JoinAccount) -> AccountJoined:
        """Commit the membership; return the stored record (INV-11).

        If nothing remains to be settled or moved, and the mail server answers quickly, everyone
        is notified here: most acceptances then need no other activity.
        """
        joined = await self.store.join(request)
        if not self.sends_at_once or joined.invitation.state is not InvitationState.COMPLETED:
            return joined
        notified = await self._notify_at_once(request.invite, joined.invitation)
        return joined.model_copy(update={"notified": notified})

    @activity.defn
    async def read_invitation(self, request: ReadInvitation) -> InvitationRead:
        """Return the stored record of the invitation, and its blockers (BLK-4)."""
        return await self.store.read(request.invite)

    @activity.defn
    async def end_invitation(self, request: EndInvitation) -> Invitation:
        """Write the end and release the seat; return the stored record (INV-7)."""
        return await self.store.end(request.invite.invitation_id, request.invitation)

    @activity.defn
    async def record_invitation(self, request: RecordInvitation) -> None:
        """Write the current record."""
        await self.store.record(request.invite.invitation_id, request.invitation)

    @activity.defn
    async def preview_invitation(self, request: PreviewInvitation) -> InvitationPreviewed:
        """Return the effects of accepting; change nothing."""
        return await self.store.preview(request)

    @activity.defn
    async def authorize_admin(self, request: AuthorizeAdmin) -> None:
        """Check that the person is an owner or admin of the account."""
        await self.store.authorize(request.account, request.admin)

    @activity.defn
    async def close_invitation(self, request: RecordInvitation) -> None:
        """Write the accepted record and notify everyone, each once."""
        await self.store.record(request.invite.invitation_id, request.invitation)
        await self._notify(request.invite, request.invitation)

    @activity.defn
    async def notify_parties(self, request: NotifyParties) -> None:
        """Notify everyone, each once; nothing is recorded.

        A letter about blockers is dropped if the invitation has changed since, except by a new
        link or a reminder.
        """
        if request.invitation.state.unanswered:
            stored = (await self.store.read(request.invite)).invitation
            later = stored.journal[len(request.invitation.journal) :]
            if any(entry.event not in _LETTER_STILL_DUE_AFTER for entry in later):
                return
        await self._notify(request.invite, request.invitation)

    def _delivery_due(self, invite: Invite, invitation: Invitation) -> StillDue:
        async def due() -> bool:
            return not await self.store.is_email_outdated(invite.invitation_id, invitation)

        return due

    async def _notify_at_once(self, invite: Invite, invitation: Invitation) -> bool:
        send = partial(send_at_once, ready_within=self.immediate_timeout)
        try:
            for letter in await self._letters(invite, invitation):
                await send_or_log(self.mailer, letter, send)
        except Exception as failure:
            # The membership is committed; the letters are sent from their queue.
            activity.logger.info("letters are sent later: %s", type(failure).__name__)
            return False
        return True

    async def _notify(self, invite: Invite, invitation: Invitation) -> None:
        for letter in await self._letters(invite, invitation):
            await send_or_log(self.mailer, letter)

    async def _letters(self, invite: Invite, invitation: Invitation) -> list[Letter]:
        parties = await self.store.parties(invite)
        letters = list[Letter]()
        if self.operators:
            cases = cases_of_move(invitation)
            letters += operator_letters(self.operators, cases, parties.account_name)
        link = self.links.link(invite.invitation_id, invitation.sent_count)
        return [*letters, *invitation_letters(invite, invitation, parties, link)]
