"""The client of one invitation's timeline: reads it, and sends the requests of its page."""

from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.sql.invitations.timeline import SqlTimelines
from clients.invitation import InvitationClient
from domain.address import is_invitee_key
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, StoredInvitation
from domain.timeline import Timeline


@dataclass(frozen=True)
class NamedInvitation:
    """An invitation as its page names it."""

    account: str
    key: str
    """The last part of the workflow id."""
    run_id: str | None = None
    """The run that the page has shown, if known: a later one is not what was meant."""


@dataclass(frozen=True)
class TimelineClient:
    """Reads the latest invitation of a person into an account, and acts on it.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    invitations: InvitationClient
    timelines: SqlTimelines

    async def read(self, named: NamedInvitation) -> Timeline:
        """Return the timeline; from the store alone if no worker answers in time."""
        stored = await self._stored(named)
        offer = await self.invitations.offer(stored)
        return await self.timelines.read(stored, offer, max(datetime.now(UTC), offer.at))

    async def _stored(self, named: NamedInvitation) -> StoredInvitation:
        """Return the stored invitation.

        Raises Refused: `not_found`; `conflict`, if a later one has replaced that of the page.
        """
        is_key = is_invitee_key(named.key)
        stored = is_key and await self.invitations.invitations.latest(named.account, named.key)
        if not stored:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such invitation.")
        if named.run_id and stored.invitation.run_id not in ("", named.run_id):
            raise Refused(ErrorCode.CONFLICT, "The person has been invited again since.")
        return stored

    async def _email(self, named: NamedInvitation) -> str:
        return (await self._stored(named)).invitation.email

    # Requests of admins.

    async def resend(self, named: NamedInvitation, by: str) -> None:
        """Send a new link; the old one is invalid (INV-9)."""
        await self.invitations.resend(named.account, await self._email(named), by)

    async def revoke(self, named: NamedInvitation, by: str) -> None:
        """Revoke the invitation (INV-7)."""
        await self.invitations.revoke(named.account, await self._email(named), by)

    async def recheck(self, named: NamedInvitation, by: str) -> None:
        """Read the blockers now (BLK-4)."""
        await self.invitations.recheck(named.account, await self._email(named), by)

    async def retry_move(self, named: NamedInvitation, by: str) -> None:
        """Move the failed items again (TRF-1)."""
        await self.invitations.retry_move(named.account, await self._email(named), by)

    # Answers on the invitee's behalf.

    async def accept(self, named: NamedInvitation, choice: Choice | None) -> None:
        """Accept on the invitee's behalf (INV-10)."""
        await self.invitations.accept(named.account, await self._email(named), choice)

    async def decline(self, named: NamedInvitation, reason: str | None) -> None:
        """Decline on the invitee's behalf; the inviter sees the reason (INV-7)."""
        await self.invitations.decline(named.account, await self._email(named), reason)
