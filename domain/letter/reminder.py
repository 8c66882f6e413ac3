"""E-mails about stale invitations (REM)."""

from collections.abc import Sequence, Set
from typing import ClassVar, Literal, Self

from pydantic import AwareDatetime

from domain.attention import command
from domain.invitation import Blocker, Invitation, Invite
from domain.letter.base import BaseLetter, Contact, Guide, Reader
from domain.letter.invitation import InvitationParties
from domain.reminder import StaleInvitation
from domain.text import OneLine

MAX_INVITATIONS_IN_DIGEST = 50
"""The maximum number of stale invitations in one e-mail."""


class ReminderLetter(BaseLetter):
    """E-mail to the invitee: their answer is missing; when blocked, the blockers (REM-1)."""

    replies_to_contact: ClassVar[bool] = True
    guide: ClassVar[Guide | None] = "invitee"
    event: Literal["reminder"] = "reminder"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    link: str
    unsubscribe_link: str | None = None
    """The link that ends the reminders of this invitation, also with one click (RFC 8058)."""
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    blockers: tuple[Blocker, ...] = ()
    """Empty unless the invitation is blocked."""


class DigestLetter(BaseLetter):
    """E-mail to the inviter: their stale invitations (REM-2)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["digest"] = "digest"
    account: str
    """The id of the account, for the operators' commands."""
    invitations: tuple[StaleInvitation, ...]
    """The longest quiet first; at most `MAX_INVITATIONS_IN_DIGEST`."""
    more: int = 0
    """The number of further stale invitations."""

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the commands that send an invitation again or take it back."""
        # The command for each of many invitations would hide the list.
        to, by = (self.account, "EMAIL"), ("--by", self.reader.email)
        return tuple(command("seatflow", verb, *to, *by) for verb in ("resend", "revoke"))

    def only_about(self, invited: Set[str], known: Set[str]) -> Self | None:
        """Return the digest without invitees and people who are not among these.

        None if its reader is not known, or no invitation is left.
        """
        left = tuple(each for each in self.invitations if each.email in invited)
        if not left or self.reader.email not in known:
            return None
        contact = self.contact if self.contact and self.contact.email in known else None
        return self.model_copy(update={"invitations": left, "contact": contact})


AnyReminderLetter = ReminderLetter | DigestLetter


def reminder_letter(
    invite: Invite,
    invitation: Invitation,
    parties: InvitationParties,
    *,
    number: int,
    link: str,
    unsubscribe_link: str,
) -> ReminderLetter:
    """Return the reminder with this number, counted from 1 (REM-1)."""
    return ReminderLetter(
        id=f"reminder.{number}.{invite.invitation_id}",
        reader=parties.invitee,
        account_name=parties.account_name,
        contact=parties.inviter.contact,
        inviter=parties.inviter.name or parties.inviter.email,
        link=link,
        unsubscribe_link=unsubscribe_link,
        expires_at=invitation.expires_at,
        blockers=invitation.blockers,
    )


def digest_letter(
    reader: Reader,
    account: str,
    account_name: str,
    invitations: Sequence[StaleInvitation],
    *,
    id: str,
    contact: Contact | None = None,
) -> DigestLetter:
    """Return the digest of an inviter's stale invitations, the longest quiet first (REM-2)."""
    return DigestLetter(
        id=id,
        reader=reader,
        account_name=account_name,
        contact=contact,
        account=account,
        invitations=tuple(invitations[:MAX_INVITATIONS_IN_DIGEST]),
        more=max(len(invitations) - MAX_INVITATIONS_IN_DIGEST, 0),
    )
