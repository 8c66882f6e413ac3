"""The timeline of one invitation: what its admins read while it waits and after its end."""

from datetime import datetime

from pydantic import AwareDatetime

from domain.invitation import REMINDABLE, Invitation, InvitationState, Invite, License
from domain.invitee_page import NamedPerson
from domain.journal import JournalEntry
from domain.manifest import failed, unfinished
from domain.model import Value
from domain.money import Money
from domain.refund import Refund

LISTED_LETTERS = 20
"""Letters to the invitee that a timeline lists."""

LISTED_EARLIER = 20
"""Earlier invitations of the same person that a timeline lists."""


class BlockerCount(Value):
    """A blocker without its items, which only the owner of that account may read."""

    code: str
    count: int
    kinds: dict[str, int]


class EarlierInvitation(Value):
    """An ended invitation of the same person into the same account."""

    license: License
    invited_at: AwareDatetime
    invited_by: str
    end: JournalEntry


class SentLetter(Value):
    """A letter to the invitee that the mail server has accepted."""

    event: str
    at: AwareDatetime


def letter_ids(invite: Invite, invitation: Invitation) -> dict[str, str]:
    """Return the ids of the letters to the invitee so far, each with its event.

    Of the invitation e-mails and reminders, the last `LISTED_LETTERS`.
    """
    about = invite.invitation_id
    found = {f"{event}.{about}": event for event in ("heads_up", "welcome", "revoked")}
    numbered = {"invitation": invitation.sent_count, "reminder": invitation.reminders_sent}
    for event, last in numbered.items():
        numbers = range(max(1, last + 1 - LISTED_LETTERS), last + 1)
        found |= {f"{event}.{number}.{about}": event for number in numbers}
    events = {"block": "blocked", "unblock": "unblocked"}
    for number, entry in enumerate(invitation.journal, 1):
        if entry.event in events:
            found[f"{events[entry.event]}.{number}.{about}"] = events[entry.event]
    return found


class Timeline(Value):
    """The facts of one invitation's timeline."""

    invite: Invite
    invitation: Invitation
    """Without its blockers, whose items are not for admins of the target account."""
    blockers: tuple[BlockerCount, ...]
    at: AwareDatetime
    """The server's clock or the workflow's clock, whichever is later."""
    recheck_at: AwareDatetime | None
    """The time of the next automatic check of the blockers, if known."""
    resend_from: AwareDatetime | None
    """The end of the resend cool-down, if an e-mail was requested (INV-9)."""
    from_store: bool
    """True if no worker answered in time, so that the record may lag."""
    invitee: NamedPerson
    """Named as the invitation names them; as the directory does once they have joined."""
    inviter: NamedPerson
    seat_reserved: bool
    letters: tuple[SentLetter, ...] = ()
    """The last `LISTED_LETTERS` to the invitee, the newest first."""
    refund: Refund | None = None
    credited: Money | None = None
    """The amount that the acceptance credited to the account, if any."""
    earlier: tuple[EarlierInvitation, ...] = ()
    """The last `LISTED_EARLIER` ones, the newest first."""
    earlier_count: int = 0
    """The number of all."""

    @property
    def key(self) -> str:
        """Return the last part of the workflow id."""
        return self.invite.key

    @property
    def state(self) -> InvitationState:
        """Return the present state."""
        return self.invitation.state

    @property
    def since(self) -> datetime:
        """Return the time since which the state holds."""
        since = self.invitation.journal[-1].at
        for entry in reversed(self.invitation.journal):
            if entry.to_state != self.state:
                break
            since = entry.at
        return since

    @property
    def visited(self) -> tuple[str, ...]:
        """Return the states that it has been in, in the order of the first visit."""
        return tuple(dict.fromkeys(entry.to_state for entry in self.invitation.journal))

    @property
    def taken(self) -> frozenset[tuple[str | None, str]]:
        """Return the transitions that have happened."""
        return frozenset((entry.from_state, entry.to_state) for entry in self.invitation.journal)

    @property
    def resend_waits(self) -> bool:
        """Return whether only the cool-down prevents a new link."""
        cooling = self.resend_from is not None and self.at < self.resend_from
        return self.state in REMINDABLE and cooling

    @property
    def may_resend(self) -> bool:
        """Return whether a new link can be sent now (INV-9)."""
        return self.state in REMINDABLE and not self.resend_waits

    @property
    def may_revoke(self) -> bool:
        """Return whether it can be revoked now (INV-7)."""
        return self.state.unanswered

    @property
    def may_retry_move(self) -> bool:
        """Return whether failed items can be moved again (TRF-1)."""
        return self.state.accepted and failed(self.invitation.manifest)

    @property
    def remindable_from(self) -> datetime | None:
        """Return the time from which a reminder may be sent; None when none may be (REM-1)."""
        return self.invitation.remindable_from(self.invite.policy)

    @property
    def follows(self) -> bool:
        """Return whether it may still change by itself."""
        return not self.state.final or unfinished(self.invitation.manifest)
