"""E-mails about invitations that nobody answers (REM)."""

from collections.abc import Sequence
from typing import Literal

from pydantic import AwareDatetime

from domain.invitation import Blocker, Invitation, Invite
from domain.letter.base import BaseLetter, Reader
from domain.letter.invitation import InvitationParties
from domain.reminder import StaleInvitation
from domain.text import OneLine

MAX_INVITATIONS_IN_DIGEST = 50
"""How many stale invitations one e-mail names."""


class ReminderLetter(BaseLetter):
    """To the invitee: they have not answered yet; blocked, what stands in the way (REM-1)."""

    event: Literal["reminder"] = "reminder"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    link: str
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    blockers: tuple[Blocker, ...] = ()
    """Empty where nothing stands in the way."""


class DigestLetter(BaseLetter):
    """To the inviter: those of their invitations that nobody has answered for long (REM-2)."""

    event: Literal["digest"] = "digest"
    invitations: tuple[StaleInvitation, ...]
    """The longest quiet first; not more than an e-mail should name."""
    more: int = 0
    """How many there are beside those named."""


AnyReminderLetter = ReminderLetter | DigestLetter


def reminder_letter(
    invite: Invite, invitation: Invitation, parties: InvitationParties, *, number: int, link: str
) -> ReminderLetter:
    """The `number`th reminder of this invitation, counted from 1 (REM-1)."""
    return ReminderLetter(
        id=f"reminder.{number}.{invite.invitation_id}",
        reader=parties.invitee,
        account_name=parties.account_name,
        inviter=parties.inviter.name or parties.inviter.email,
        link=link,
        expires_at=invitation.expires_at,
        blockers=invitation.blockers,
    )


def digest_letter(
    reader: Reader, account_name: str, invitations: Sequence[StaleInvitation], *, id: str
) -> DigestLetter:
    """What an inviter is told of their stale invitations, the longest quiet first (REM-2)."""
    return DigestLetter(
        id=id,
        reader=reader,
        account_name=account_name,
        invitations=tuple(invitations[:MAX_INVITATIONS_IN_DIGEST]),
        more=max(len(invitations) - MAX_INVITATIONS_IN_DIGEST, 0),
    )
