"""The side effects of an invitation: e-mails, membership, seat, record."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.letter import (
    LetterSent,
    LinkSource,
    Mailer,
    StillDue,
    business_time,
    send_letter,
)
from activities.outbox import LetterSender
from domain.error import Refusal, Refused
from domain.invitation import (
    Blocker,
    Choice,
    DueReminder,
    Invitation,
    InvitationState,
    Invite,
)
from domain.journal import ENGINE
from domain.letter.invitation import (
    InvitationParties,
    heads_up_letter,
    invitation_letter,
)
from domain.letter.reminder import reminder_letter
from domain.model import Value
from domain.policy import Policy
from domain.preview import Preview
from domain.quote import RecordedQuote
from domain.refund import RefundPlan
from states.invitation import InvitationMachine
from states.lifecycle import after

LETTERS_HELD: Final = timedelta(seconds=45)
"""Time for which the relay leaves the letters of an acceptance to the activity that commits it.

Longer than the mail adapter takes for a letter. Those that the activity does not send are released.
"""


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


class KeptInvitation(Value):
    """The record that the store keeps, from which the workflow continues."""

    invitation: Invitation
    refund: RefundPlan | None = None
    """The refund that its acceptance requested, if any."""


class Joined(NamedTuple):
    """The kept record after an acceptance, and the ids of the letters about it."""

    kept: KeptInvitation
    letters: list[str]


class InvitationSent(LetterSent):
    """The result of sending the invitation e-mail."""

    kept: KeptInvitation | None = None
    """The stored record, if it is not the delivered one of the request."""


class ReadInvitation(Value):
    """A request to read the stored record and the blockers of an unanswered invitation."""

    invite: Invite


class InvitationRead(KeptInvitation):
    """The kept record of an invitation, possibly ended without its workflow, and its blockers."""

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


class PreviewInvitation(Value):
    """A request to preview the acceptance."""

    invite: Invite
    at: AwareDatetime
    """Workflow time of the request."""
    recorded: RecordedQuote | None = None
    """The last quote shown, if any (QUO-5)."""
    by: str | None = None
    """The author of a new quote, if it is recorded (OPS-8)."""


class InvitationPreviewed(Value):
    """The effects of accepting, and the quote that binds from now on."""

    preview: Preview
    quote: RecordedQuote | None = None
    """None if there is nothing to choose (QUO-4)."""

    def is_new(self, recorded: RecordedQuote | None) -> bool:
        """Return whether another quote than the recorded one binds from now on (QUO-5)."""
        known = recorded.valid_until if recorded else None
        return self.quote is not None and self.quote.valid_until != known


class AuthorizeAdmin(Value):
    """A request to check that `admin` may act for `account`."""

    account: str
    admin: str


class InvitationStore(Protocol):
    """The part of the store that a running invitation uses."""

    async def record(self, invitation_id: str, invitation: Invitation) -> KeptInvitation:
        """Write `invitation`, unless the stored record is newer (a longer journal) or has ended.

        Returns the stored record. Letters about the transition are queued.
        """

    async def join(self, request: JoinAccount, at: datetime, letters_after: timedelta) -> Joined:
        """Move the person into the target account at `at`, in one transaction (INV-11).

        Writes membership, seat, source account, settlement with its ledger entries and the
        accepted record, once per invitation. If the invitation was accepted or ended before,
        returns the stored record and the same refund.
        If nothing remains to be settled or moved, the record is completed at once. The letters
        are queued, and are due when `letters_after` has passed.
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

    async def end(self, invitation_id: str, invitation: Invitation) -> KeptInvitation:
        """Release the seat, write the end and queue its letters, in one transaction (INV-7).

        Returns the stored record; nothing is written if it was accepted or has ended before.
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

        Changes nothing but the record of who asked for a new quote, if `by` names them (QUO-8).
        """

    async def authorize(self, account: str, admin: str) -> None:
        """Raise Refused: `not_found` (no such account), `not_authorized` (not its admin)."""


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
    letters: LetterSender
    sends_at_once: bool = True
    """False if every letter must go through the queue that limits the mail server's rate."""

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
    async def deliver_invitation(self, request: DeliverInvitation) -> InvitationSent:
        """Send the invitation e-mail if it is still due, and record it (INV-4, INV-6)."""
        invite, number = request.invite, request.invitation.sent_count
        now = business_time(request.at)
        delivered = with_delivery(request.invitation, now, invite.policy)
        parties, previewed = await self.store.parties(invite), None
        if parties.left and parties.left.products:
            # An estimate: it is not recorded, and binds nobody (QUO-5).
            found = await self.store.preview(PreviewInvitation(invite=invite, at=now))
            previewed = found.preview
        letter = invitation_letter(
            invite,
            parties,
            number=number,
            link=self.links.link(invite.invitation_id, number),
            expires_at=delivered.expires_at,
            previewed=previewed,
        )
        result = await send_letter(
            self.mailer, letter, request.at, self._delivery_due(invite, request.invitation)
        )
        if not result.sent:
            return InvitationSent(**result.model_dump())
        kept = await self.store.record(invite.invitation_id, delivered)
        return InvitationSent(
            **result.model_dump(), kept=kept if kept.invitation != delivered else None
        )

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
            unsubscribe_link=self.links.unsubscribe_link(invite.invitation_id),
        )
        return await send_letter(self.mailer, letter, request.at, due)

    @activity.defn
    async def join_account(self, request: JoinAccount) -> KeptInvitation | Refusal:
        """Commit the membership; return the kept record, or the refusal (INV-11).

        The letters are sent here if the mail server answers quickly: most acceptances then need no
        other activity.
        """
        held = LETTERS_HELD if self.sends_at_once else timedelta()
        # An attempt may be made long after the answer was received, when a line has ended (QUO-5).
        at = business_time(request.invitation.journal[-1].at)
        try:
            kept, letters = await self.store.join(request, at, letters_after=held)
        except Refused as refused:
            return Refusal.of(refused)
        if self.sends_at_once:
            await self.letters.send_now(letters)
        return kept

    @activity.defn
    async def read_invitation(self, request: ReadInvitation) -> InvitationRead:
        """Return the stored record of the invitation, and its blockers (BLK-4)."""
        return await self.store.read(request.invite)

    @activity.defn
    async def end_invitation(self, request: EndInvitation) -> KeptInvitation:
        """Write the end and release the seat; return the kept record (INV-7)."""
        return await self.store.end(request.invite.invitation_id, request.invitation)

    @activity.defn
    async def record_invitation(self, request: RecordInvitation) -> KeptInvitation | None:
        """Write the current record; return the kept one if it is another one."""
        kept = await self.store.record(request.invite.invitation_id, request.invitation)
        return kept if kept.invitation != request.invitation else None

    @activity.defn
    async def preview_invitation(self, request: PreviewInvitation) -> InvitationPreviewed | Refusal:
        """Return the effects of accepting, or the refusal; record who asked for a new quote."""
        try:
            return await self.store.preview(request)
        except Refused as refused:
            return Refusal.of(refused)

    @activity.defn
    async def authorize_admin(self, request: AuthorizeAdmin) -> Refusal | None:
        """Return a refusal unless the person is an owner or admin of the account."""
        try:
            await self.store.authorize(request.account, request.admin)
        except Refused as refused:
            return Refusal.of(refused)
        return None

    def _delivery_due(self, invite: Invite, invitation: Invitation) -> StillDue:
        async def due() -> bool:
            return not await self.store.is_email_outdated(invite.invitation_id, invitation)

        return due
