"""The client of the invitee's page: reads the page of a link, and sends the invitee's answers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from adapters.sql.invitations.page import SqlInviteePages
from clients.invitation import InvitationClient
from clients.refund import RefundClient
from domain.error import ErrorCode, Refused
from domain.invitation import (
    Choice,
    Invitation,
    InviteResult,
    StoredInvitation,
)
from domain.invitee_page import InviteePage, OldLink
from domain.journal import INVITEE
from domain.money import Money
from domain.preview import Preview
from domain.refund import Refund
from states.invitation import InvitationMachine
from states.lifecycle import refusal
from workflows.invitation import InvitationWorkflow


@dataclass(frozen=True)
class OpenedLink:
    """A link that verifies, and its invitation as the store has it."""

    token: str
    number: int
    stored: StoredInvitation

    @property
    def replaced(self) -> bool:
        """Return whether a resend has replaced this link (INV-9)."""
        return self.number != self.stored.invitation.sent_count

    @property
    def invitation_id(self) -> str:
        """Return the id of the invitation."""
        return self.stored.invitation_id


@dataclass(frozen=True)
class InviteeClient:
    """Reads and answers one invitation by its link, as the page of the invitee does (INV-13).

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    invitations: InvitationClient
    refunds: RefundClient
    pages: SqlInviteePages
    meeting_domain: str

    # Read.

    async def open(self, token: str) -> OpenedLink:
        """Return the invitation of a link. Raises `Refused(not_found)` if it does not verify."""
        claim, stored = await self.invitations.opened(token)
        return OpenedLink(token, claim.number, stored)

    async def page(self, link: OpenedLink) -> InviteePage:
        """Return the page of an invitation; change nothing, not even the recorded quote (QUO-5).

        It shows the recorded quote while that binds, else an estimate at the later of the clock
        and the last moment that the workflow has seen.
        """
        offer = await self.invitations.offer(link.stored)
        at = max(datetime.now(UTC), offer.at)
        return await self.pages.read(link.stored, offer, at, self.meeting_domain)

    async def reminded(self, token: str) -> StoredInvitation:
        """Return the invitation of the link that ends its reminders. Raises `not_found`."""
        return await self.invitations.reminded(token)

    async def reminder_page(self, stored: StoredInvitation) -> InviteePage:
        """Return the people and accounts of an invitation, without the effects of accepting."""
        return await self.pages.head(stored)

    async def end_reminders(self, token: str) -> None:
        """End the reminders; a repeat changes nothing (TXT-4)."""
        await self.invitations.unsubscribe(token)

    async def old_link(self, meeting: str, host: str) -> OldLink | None:
        """Return the present join link of a meeting whose link has changed (TRF-5)."""
        return await self.pages.old_link(meeting, host, self.meeting_domain)

    # Answer.

    async def review(self, link: OpenedLink) -> Preview:
        """Record the quote that the review page shows (QUO-5). Raises `Refused(blocked)`."""
        return await self.invitations.caller.update(
            link.stored, InvitationWorkflow.review, [], _refuse_to_review
        )

    async def accept(
        self, link: OpenedLink, choice: Choice | None, shown: Money | None
    ) -> Invitation:
        """Accept; a repeat with the same choice changes nothing (INV-10)."""
        return await self.invitations.accept_link(link.token, None, choice, shown)

    async def decline(self, link: OpenedLink, reason: str | None) -> Invitation:
        """Decline; a repeat changes nothing."""
        try:
            return await self.invitations.decline_stored(link.stored, reason)
        except Refused as refused:
            if refused.code is not ErrorCode.DECLINED:
                raise
            return link.stored.invitation

    async def recheck(self, link: OpenedLink) -> None:
        """Read the blockers now; record them, so that the invitation resumes by itself (BLK-4)."""
        try:
            await self.review(link)
        except Refused as refused:
            if refused.code is not ErrorCode.BLOCKED:
                raise

    async def invite_members(self, link: OpenedLink) -> list[InviteResult]:
        """Invite all other users of a blocked owner's account, as the inviter (BLK-6)."""
        await self.recheck(link)
        invite = link.stored.ordered
        return await self.invitations.invite_members(
            invite.account, invite.email, invite.invited_by
        )

    # The payee of a failed refund.

    async def convert_refund(self, link: OpenedLink) -> Refund:
        """Convert a failed refund into credit of the joined account (REF-4)."""
        return await self.refunds.convert(_refund_of(link), by=INVITEE)

    async def retry_refund(self, link: OpenedLink, method: str) -> Refund:
        """Request a failed refund again, by another payment method (REF-4)."""
        return await self.refunds.retry(_refund_of(link), method, by=INVITEE)


def _refund_of(link: OpenedLink) -> str:
    settlement = link.stored.invitation.settlement
    if settlement is None or settlement.refund_id is None:
        raise Refused(ErrorCode.NOT_FOUND, "This invitation has no refund.")
    return settlement.refund_id


def _refuse_to_review(ended: StoredInvitation) -> NoReturn:
    raise refusal(InvitationMachine, ended.invitation, "accept")
