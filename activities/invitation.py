"""What an invitation does to the world: e-mails, memberships, seats, its record."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.letter import (
    Post,
    Undeliverable,
    Unwanted,
    Wanted,
    business_time,
    send_at_once,
    send_patiently,
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
from domain.refund import RefundOrder
from states.invitation import InvitationMachine
from states.lifecycle import after

Send = Callable[[Post, Letter], Awaitable[None]]
"""A way to send a letter."""


class AnnounceInvitation(Value):
    """Send the notice that the invitation will go out at `invitation.goes_out_at`."""

    invite: Invite
    invitation: Invitation
    """As it stands; it stays so."""
    at: AwareDatetime
    """When this was ordered, in workflow time."""


class InvitationAnnounced(Value):
    """The mail server has taken the notice, or has refused it for good."""

    at: AwareDatetime
    refused: str | None = None
    """What the mail server said to an address that it will never take."""
    sent: bool = True
    """Whether it was still due when the mail server was ready for it."""


class DeliverInvitation(Value):
    """Send the invitation e-mail with the link of `invitation.sent_count`."""

    invite: Invite
    invitation: Invitation
    """As it stands; the activity records it as delivered."""
    at: AwareDatetime
    """When this was ordered, in workflow time."""


class InvitationDelivered(Value):
    """The mail server has taken the e-mail, or has refused it for good."""

    at: AwareDatetime
    refused: str | None = None
    """What the mail server said to an address that it will never take."""
    sent: bool = True
    """Whether it was still due when the mail server was ready for it."""


class RemindInvitee(Value):
    """Remind the invitee that an answer is wanted."""

    invite: Invite
    invitation: Invitation
    """As it stands; where it has moved on since, no reminder goes out."""
    reminder: DueReminder


class InviteeReminded(Value):
    """The mail server has taken the reminder, or it did not get one."""

    sent: bool
    """Whether it was taken; otherwise it was refused, or the invitation has moved on."""
    refused: str | None = None
    """What the mail server said to an address that it will never take."""


class JoinAccount(Value):
    """Commit the membership, and with it everything that must be true at once."""

    invite: Invite
    invitation: Invitation
    """The record as it will stand: accepted. The store adds choice and settlement."""
    choice: Choice | None
    quote: RecordedQuote | None = None
    """The quote that was shown last, if any; it binds while it is valid (QUO-5)."""
    unasked: bool = False
    """Only if a managed domain lets the person in without asking them (INV-18)."""


class AccountJoined(Value):
    """The membership stands, or something else came first."""

    invitation: Invitation
    """The record that is kept."""
    refund: RefundOrder | None = None
    """What has to be returned to payment methods, if anything."""
    told: bool = False
    """Whether everybody has been told; only where nothing remains to be done."""


class LookAgain(Value):
    """Look how an unanswered invitation stands in the store."""

    invite: Invite


class Standing(Value):
    """How an invitation stands, and what is in its way."""

    invitation: Invitation
    """The record that is kept; it may have ended without its workflow."""
    blockers: tuple[Blocker, ...] = ()


class EndInvitation(Value):
    """End an invitation that nobody has accepted."""

    invite: Invite
    invitation: Invitation
    """The record as it will stand: ended."""


class RecordInvitation(Value):
    """Keep the invitation as it stands, or tell of it."""

    invite: Invite
    invitation: Invitation


class PreviewInvitation(Value):
    """Say what accepting would do."""

    invite: Invite
    at: AwareDatetime
    """Now, in the invitation's time."""
    recorded: RecordedQuote | None = None
    """The quote that was shown before, if any (QUO-5)."""


class InvitationPreviewed(Value):
    """What accepting would do, and the quote that binds from now on."""

    preview: Preview
    quote: RecordedQuote | None = None
    """None where there is nothing to choose (QUO-4)."""


class AuthorizeAdmin(Value):
    """Make sure that `admin` may act for `account`."""

    account: str
    admin: str


class InvitationStore(Protocol):
    """The store, as far as a running invitation needs it."""

    async def record(self, invitation_id: str, invitation: Invitation) -> None:
        """Keep `invitation` as it stands.

        Older than what is kept (a shorter journal), or already ended there: ignored.
        """

    async def join(self, order: JoinAccount) -> AccountJoined:
        """Move the person into the target account, in one transaction (INV-11).

        Writes membership, seat, source account, settlement with its ledger entries and the
        accepted record, once per invitation. On repeat, or when it had ended before: the
        record that is kept, and the same refund.
        Where nothing remains to be settled or moved, the record is completed at once.
        The person's other open invitations end as superseded (INV-14). When another
        acceptance came first, this one has ended so: the record that is kept says it.
        Raises Refused, with nothing changed, the first of: `conflict` (`unasked`, but the
        person has to be asked), `target_not_paid`, `already_member`,
        `belongs_to_other_account`, `no_seats`, `blocked` (with `blockers`),
        `choice_required`, `currency_mismatch`, `quote_expired`.
        """

    async def standing(self, invite: Invite) -> Standing:
        """How the invitation stands and what blocks its acceptance; changes nothing (BLK-4).

        Raises Refused: `not_found`, when the store does not keep it.
        """

    async def end(self, invitation_id: str, invitation: Invitation) -> Invitation:
        """Release the seat and keep the end, in one transaction (INV-7).

        On repeat, or when it was accepted or ended before: the record that is kept.
        """

    async def stands_as(self, invitation_id: str, invitation: Invitation) -> bool:
        """Whether nothing has moved the invitation since it stood as `invitation`."""

    async def overtaken(self, invitation_id: str, invitation: Invitation) -> bool:
        """Whether its e-mail is no longer due: it is answered, over, or has a newer link."""

    async def parties(self, invite: Invite) -> InvitationParties:
        """Whom the invitation concerns, as the directory knows them now.

        Raises Refused(conflict) when the store does not keep this invitation: its claim
        was released before the workflow began.
        """

    async def preview(self, order: PreviewInvitation) -> InvitationPreviewed:
        """What accepting would do; changes nothing (QUO-8).

        While the recorded quote binds, it is shown again; otherwise a new one.
        """

    async def authorize(self, account: str, admin: str) -> None:
        """Raises Refused: `not_found` (no such account), `not_authorized` (not its admin)."""


def as_delivered(invitation: Invitation, at: datetime, policy: Policy) -> Invitation:
    """The record once the mail server has taken the e-mail: the deadline counts anew (INV-6)."""
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


_WHILE_IT_STANDS = frozenset({"resend", "remind"})
"""The events that leave an invitation where it is."""


class Links(Protocol):
    """The signed links that invitees open."""

    def link(self, invitation_id: str, number: int) -> str:
        """The link of the `number`th invitation e-mail; the same for the same arguments."""


@dataclass(frozen=True)
class InvitationActivities:
    """The side effects of the `Invitation` workflow."""

    store: InvitationStore
    post: Post
    links: Links
    operators: str | None = None
    """The address of those who are told of what waits for them."""
    tells_at_once: bool = True
    """Whether letters may go out beside the queue that sets the mail server's pace."""

    @activity.defn
    async def announce_invitation(self, order: AnnounceInvitation) -> InvitationAnnounced:
        """Send the heads-up, unless it is no longer due; nothing is recorded (INV-17)."""
        at, goes_out_at = business_time(order.at), order.invitation.goes_out_at
        assert goes_out_at is not None, "it is not announced"
        letter = heads_up_letter(order.invite, await self.store.parties(order.invite), goes_out_at)
        try:
            await send_patiently(self.post, letter, self._due(order.invite, order.invitation))
        except Unwanted:
            return InvitationAnnounced(at=at, sent=False)
        except Undeliverable as refused:
            return InvitationAnnounced(at=at, refused=str(refused))
        return InvitationAnnounced(at=at)

    @activity.defn
    async def deliver_invitation(self, order: DeliverInvitation) -> InvitationDelivered:
        """Send the e-mail, unless it is no longer due, and record it (INV-4, INV-6)."""
        invite, at = order.invite, business_time(order.at)
        number = order.invitation.sent_count
        delivered = as_delivered(order.invitation, at, invite.policy)
        letter = invitation_letter(
            invite,
            await self.store.parties(invite),
            number=number,
            link=self.links.link(invite.invitation_id, number),
            expires_at=delivered.expires_at,
        )
        try:
            await send_patiently(self.post, letter, self._due(invite, order.invitation))
        except Unwanted:
            return InvitationDelivered(at=at, sent=False)
        except Undeliverable as refused:
            return InvitationDelivered(at=at, refused=str(refused))
        await self.store.record(invite.invitation_id, delivered)
        return InvitationDelivered(at=at)

    @activity.defn
    async def remind_invitee(self, order: RemindInvitee) -> InviteeReminded:
        """Send the reminder, unless the invitation has moved on; nothing is recorded (REM-1)."""
        invite, invitation = order.invite, order.invitation

        async def wanted() -> bool:
            return await self.store.stands_as(invite.invitation_id, invitation)

        letter = reminder_letter(
            invite,
            invitation,
            await self.store.parties(invite),
            number=order.reminder.number,
            link=self.links.link(invite.invitation_id, invitation.sent_count),
        )
        try:
            await send_patiently(self.post, letter, wanted)
        except Unwanted:
            return InviteeReminded(sent=False)
        except Undeliverable as refused:
            return InviteeReminded(sent=False, refused=str(refused))
        return InviteeReminded(sent=True)

    @activity.defn
    async def join_account(self, order: JoinAccount) -> AccountJoined:
        """Commit the membership; returns the record that is kept (INV-11).

        Where nothing remains to be done, everybody is told in the same breath, if the mail
        server lets it: most acceptances cost no activity more than this one.
        """
        joined = await self.store.join(order)
        if not self.tells_at_once or joined.invitation.state is not InvitationState.COMPLETED:
            return joined
        told = await self._told_at_once(
            RecordInvitation(invite=order.invite, invitation=joined.invitation)
        )
        return joined.model_copy(update={"told": told})

    @activity.defn
    async def look_again(self, order: LookAgain) -> Standing:
        """How the invitation stands in the store, and what blocks it (BLK-4)."""
        return await self.store.standing(order.invite)

    @activity.defn
    async def end_invitation(self, order: EndInvitation) -> Invitation:
        """Write the end and release the seat; returns the record that is kept (INV-7)."""
        return await self.store.end(order.invite.invitation_id, order.invitation)

    @activity.defn
    async def record_invitation(self, order: RecordInvitation) -> None:
        """Keep the invitation as it stands."""
        await self.store.record(order.invite.invitation_id, order.invitation)

    @activity.defn
    async def preview_invitation(self, order: PreviewInvitation) -> InvitationPreviewed:
        """Say what accepting would do; changes nothing."""
        return await self.store.preview(order)

    @activity.defn
    async def authorize_admin(self, order: AuthorizeAdmin) -> None:
        """Make sure that the person is an owner or admin of the account."""
        await self.store.authorize(order.account, order.admin)

    @activity.defn
    async def close_invitation(self, order: RecordInvitation) -> None:
        """Keep the invitation as it was accepted or ended, and tell everybody, each once."""
        await self.store.record(order.invite.invitation_id, order.invitation)
        await self._tell(order)

    @activity.defn
    async def tell_about_invitation(self, order: RecordInvitation) -> None:
        """Tell everybody, each once; nothing is recorded, since it may have gone on since.

        Whoever has gone on is not told what was in their way, or no longer is; a new link or a
        reminder in the meantime changes nothing about that.
        """
        if order.invitation.state.unanswered:
            kept = (await self.store.standing(order.invite)).invitation
            since = kept.journal[len(order.invitation.journal) :]
            if any(entry.event not in _WHILE_IT_STANDS for entry in since):
                return
        await self._tell(order)

    def _due(self, invite: Invite, invitation: Invitation) -> Wanted:
        """Asks, with the mail server ready for it, whether its e-mail is still due."""

        async def due() -> bool:
            return not await self.store.overtaken(invite.invitation_id, invitation)

        return due

    async def _told_at_once(self, order: RecordInvitation) -> bool:
        try:
            await self._tell(order, send_at_once)
        except Exception as failure:
            # The membership stands; the letters wait in their queue.
            activity.logger.info("nobody is told at once: %s", type(failure).__name__)
            return False
        return True

    async def _tell(self, order: RecordInvitation, send: Send = send_patiently) -> None:
        for letter in self._letters(order, await self.store.parties(order.invite)):
            try:
                await send(self.post, letter)
            except Undeliverable as refused:
                # Nobody is left to tell; the operators find it in the worker's log.
                activity.logger.warning("letter %s was refused: %s", letter.event, refused)

    def _letters(self, order: RecordInvitation, parties: InvitationParties) -> Iterator[Letter]:
        invite, invitation = order.invite, order.invitation
        if self.operators:
            cases = cases_of_move(invitation)
            yield from operator_letters(self.operators, cases, parties.account_name)
        link = self.links.link(invite.invitation_id, invitation.sent_count)
        yield from invitation_letters(invite, invitation, parties, link)
