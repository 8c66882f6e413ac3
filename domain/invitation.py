"""One person asked into one target account, from the first e-mail to its end."""

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, JsonValue

from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry
from domain.manifest import Manifest
from domain.model import Value
from domain.money import Money
from domain.policy import Policy
from domain.quote import RecordedQuote
from domain.refund import RefundOrder
from domain.text import OneLine


class InvitationState(StrEnum):
    """Where an invitation stands; `states/invitation.py` draws how it moves."""

    ANNOUNCED = "announced"
    SENT = "sent"
    PENDING = "pending"
    BLOCKED = "blocked"
    ACCEPTED = "accepted"
    REFUNDING = "refunding"
    TRANSFERRING = "transferring"
    COMPLETED = "completed"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNDELIVERABLE = "undeliverable"
    SUPERSEDED = "superseded"

    @property
    def unanswered(self) -> bool:
        """Neither accepted nor ended: a seat may still be reserved for it."""
        return self in _UNANSWERED

    @property
    def accepted(self) -> bool:
        """A membership stands behind it (INV-11)."""
        return self in _ACCEPTED

    @property
    def final(self) -> bool:
        """Nothing moves it any more."""
        return self is InvitationState.COMPLETED or not (self.unanswered or self.accepted)


_UNANSWERED = frozenset(
    {
        InvitationState.ANNOUNCED,
        InvitationState.SENT,
        InvitationState.PENDING,
        InvitationState.BLOCKED,
    }
)
_ACCEPTED = frozenset(
    {
        InvitationState.ACCEPTED,
        InvitationState.REFUNDING,
        InvitationState.TRANSFERRING,
        InvitationState.COMPLETED,
    }
)


REMINDABLE = frozenset({InvitationState.PENDING, InvitationState.BLOCKED})
"""Where an invitee may be reminded, and an invitation can be stale (REM-1)."""

_CONTACT_EVENTS = frozenset(
    {"deliver", "resend", "remind", "block", "unblock", "accept", "join", "decline"}
)


class License(StrEnum):
    """What the person will be on the target account."""

    BASIC = "basic"
    LICENSED = "licensed"


class Choice(StrEnum):
    """What happens to the unused value of the source account (QUO-4)."""

    REFUND = "refund"
    TRANSFER = "transfer"


class BlockerItem(Value):
    """One thing that stands in the way, for example a user or an open invoice."""

    kind: str
    id: str
    amount: Money | None = None


class Blocker(Value):
    """A reason why acceptance cannot happen now (BLK)."""

    code: str
    message: str
    remedy: str
    cleared_by: str
    """Who can clear it, in words."""
    items: tuple[BlockerItem, ...]


class Settlement(Value):
    """What happens to the money of the source account."""

    kind: Choice
    amount: Money
    refund_id: str | None
    arrives_between: tuple[date, date] | None


class Invite(Value):
    """The order that starts an invitation."""

    invitation_id: str
    """The business id of this run: the store's row, and what links are signed for."""
    account: str
    key: str
    """The keyed hash of the address, the last part of the workflow id."""
    email: str
    """The normalized address (INV-3)."""
    mail_to: str | None = None
    """The address as it was written, to which the e-mail goes; None: the normalized one."""
    name: str | None = None
    license: License = License.BASIC
    locale: str | None = None
    invited_by: str
    heads_up_days: int = Field(default=0, ge=0)
    """How many days before the invitation itself a notice goes out; 0: none (INV-17)."""
    managed: bool = False
    """Whether the address is in a managed domain of the account, which may join it unasked
    (INV-18)."""
    beside: str | None = None
    """The blocked invitation of their account's owner that this one helps along (BLK-6)."""
    policy: Policy = Policy()

    @property
    def workflow_id(self) -> str:
        """The natural key: one live run for each account and person (INV-3)."""
        return f"invitation/{self.account}/{self.key}"


class Invitation(Value):
    """An invitation as it stands: what `show` prints and what the store keeps."""

    workflow_id: str
    run_id: str
    """The first run of the chain; it stays over continue-as-new. Empty until it runs."""
    account: str
    email: str
    state: InvitationState
    license: License
    invited_by: str
    expires_at: AwareDatetime | None = None
    """The deadline: an answer at exactly this instant is late (INV-6).

    None until sent, and while it is paused.
    """
    time_left: timedelta | None = None
    """What is left until the deadline while it is paused by blockers; else None (BLK-5)."""
    goes_out_at: AwareDatetime | None = None
    """When the invitation itself follows the heads-up; None without one (INV-17)."""
    sent_count: int = 1
    """How many links were made for this person; only the last one works (INV-9)."""
    reminders_sent: int = 0
    reminded_by: str | None = None
    """The run of reminders that asked for the last one; None when nobody said which."""
    link: str | None = None
    """None after the end, and in what Temporal keeps: links are made where they are shown."""
    choice: Choice | None = None
    blockers: tuple[Blocker, ...] = ()
    settlement: Settlement | None = None
    manifest: Manifest = ()
    """What moves along (TRF-1); empty until it is accepted."""
    with_errors: bool = False
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = Field(default=())
    """The updates that an outsider may send now."""

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """The invitation after `entry`: the one way in which it changes state.

        Blockers are named, and a deadline is paused, only while they block.
        """
        to_state = InvitationState(entry.to_state)
        if to_state is not InvitationState.BLOCKED:
            changes = {"blockers": (), "time_left": None, **changes}
        return self.model_copy(
            update={"state": to_state, "journal": (*self.journal, entry), **changes}
        )

    def require_same_choice(self, choice: Choice | None) -> None:
        """Raise Refused(already_accepted) when it was accepted with another choice (INV-10)."""
        if self.choice and choice and choice is not self.choice:
            raise Refused(ErrorCode.ALREADY_ACCEPTED, f"It was accepted with {self.choice}.")

    def follows(self, kept: "Invitation") -> bool:
        """Return whether this record may replace the one that is kept.

        It may not be older, and neither accept nor end the invitation: only the store's
        transactions do that (INV-7, INV-11).
        """
        return (
            not kept.state.final
            and kept.state.unanswered == self.state.unanswered
            and kept.state.accepted == self.state.accepted
            and len(kept.journal) <= len(self.journal)
        )

    def overtakes(self, mailed: "Invitation") -> bool:
        """Return whether the e-mail of `mailed` is no longer due, now that this record is kept.

        The invitation was answered or has ended, has a newer link, or has followed its
        heads-up (OPS-2).
        """
        heads_up = mailed.state is InvitationState.ANNOUNCED
        return (
            not self.state.unanswered
            or self.sent_count > mailed.sent_count
            or (heads_up and self.state is not InvitationState.ANNOUNCED)
        )

    @property
    def quiet_since(self) -> datetime | None:
        """The last e-mail to the invitee or their last answer (REM-1); None before the first."""
        return next(
            (entry.at for entry in reversed(self.journal) if entry.event in _CONTACT_EVENTS), None
        )

    def remindable_from(self, policy: Policy) -> datetime | None:
        """The first moment at which a reminder may go out; None: none does any more (REM-1)."""
        quiet_since, answerable = self.quiet_since, self.state in REMINDABLE
        if not answerable or quiet_since is None or self.reminders_sent >= policy.remind_at_most:
            return None
        reminded = (entry.at for entry in reversed(self.journal) if entry.event == "remind")
        last = next(reminded, None)
        quiet_enough = quiet_since + policy.remind_after
        return max(quiet_enough, last + policy.remind_every) if last else quiet_enough

    def with_time_left(self, after: timedelta, since: datetime) -> Self:
        """The same invitation with `after` left from `since`; while blocked perhaps paused."""
        if self.time_left is not None:
            return self.model_copy(update={"time_left": after})
        return self.model_copy(update={"expires_at": since + after})

    def paused(self, at: datetime) -> Self:
        """The same invitation, whose deadline stands still from `at` on (BLK-5)."""
        if self.expires_at is None:
            return self
        return self.model_copy(update={"expires_at": None, "time_left": self.expires_at - at})

    def resumed(self, at: datetime) -> Self:
        """The same invitation, whose deadline goes on from `at` if it was paused (BLK-5)."""
        if self.time_left is None:
            return self
        return self.model_copy(update={"expires_at": at + self.time_left, "time_left": None})

    @property
    def deadline(self) -> datetime:
        """`expires_at` of an invitation that has gone out."""
        assert self.expires_at is not None, "it has not gone out"
        return self.expires_at


class StoredInvitation(Value):
    """An invitation as the store keeps it."""

    invitation_id: str
    ordered: Invite | None = None
    """What was asked for; None for those of before it was kept."""
    invitation: Invitation
    started: bool
    """Whether its workflow is known to have started."""


class Person(Value):
    """One row of a request to invite."""

    email: str
    """As given; normalized when the row is taken up."""
    license: License = License.BASIC
    locale: str | None = None
    name: str | None = None


class InviteResult(Value):
    """What became of one row of a request to invite (INV-2)."""

    email: str
    """The normalized address; as given (trimmed) when refused."""
    result: Literal["invited", "already_invited", "refused"]
    error: dict[str, JsonValue] | None = None
    invitation: Invitation | None = None
    """None when refused."""


class AcceptInvitation(Value):
    """The invitee says yes."""

    choice: Choice | None = None
    link_number: int | None = None
    """Which link was opened, when one was; a resend makes the older ones dead (INV-9)."""


class DeclineInvitation(Value):
    """The invitee says no."""

    reason: OneLine | None = None
    """Shown to the inviter (INV-7)."""


class RevokeInvitation(Value):
    """An owner or admin of the target account takes the invitation back."""

    by: str


class ResendInvitation(Value):
    """An owner or admin of the target account asks for a new link (INV-9)."""

    by: str


class DueReminder(Value):
    """A reminder that is on its way to the mail server."""

    number: int
    """Counted from 1."""
    run: str | None = None
    """The run of reminders that asked for it, when it said so."""


class CarriedInvitation(Value):
    """What the next run begins with, when a history has grown long or was ended from outside."""

    invitation: Invitation
    mail_due: bool
    """Whether the mail server has not yet taken the last invitation e-mail."""
    mailed_at: AwareDatetime | None
    """When the last invitation e-mail was asked for; the cool-down counts from it."""
    quote: RecordedQuote | None = None
    """The quote that was shown last, if any (QUO-5)."""
    blocked_since: AwareDatetime | None = None
    """Since when the blockers are those they are now, if any; rechecks count from it (BLK-4)."""
    blockers_told: tuple[Blocker, ...] = ()
    """What the invitee was last told that blocks them (BLK-4)."""
    rechecks: int = 0
    """How often it was looked again since then because time had passed."""
    reminder: DueReminder | None = None
    """The reminder that the mail server has not yet taken, if one is due."""
    refund: RefundOrder | None = None
    """What the acceptance has ordered to be returned, if anything."""


class StartInvitation(Value):
    """The input of one run: the order, and what the run before hands on."""

    invite: Invite
    carried: CarriedInvitation | None = None
