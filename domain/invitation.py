"""Invitations: the lifecycle of one person invited to one target account (INV)."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Final, Literal, Self

from pydantic import AwareDatetime, Field, JsonValue

from domain.error import ErrorCode, Refused
from domain.journal import INVITEE, JournalEntry, day_of
from domain.manifest import Manifest
from domain.model import Value
from domain.money import Money
from domain.policy import Policy, SharedPolicy
from domain.quote import RecordedQuote
from domain.refund import RefundPlan
from domain.text import Lines, OneLine, short_lines


class InvitationState(StrEnum):
    """The state of an invitation; `states/invitation.py` declares the transitions."""

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
        """Return true before acceptance and end; a seat may be reserved meanwhile."""
        return self in _UNANSWERED

    @property
    def accepted(self) -> bool:
        """Return true from the acceptance on, when a membership exists (INV-11)."""
        return self in _ACCEPTED

    @property
    def final(self) -> bool:
        """Return true when no transition leaves the state."""
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
"""The states in which an invitee may be reminded and an invitation may be stale (REM-1)."""

_CONTACT_EVENTS = frozenset(
    {"deliver", "resend", "remind", "block", "unblock", "accept", "join", "decline"}
)


class License(StrEnum):
    """The license of the person on the target account."""

    BASIC = "basic"
    LICENSED = "licensed"


class Choice(StrEnum):
    """The settlement that an owner chooses for the source account's unused value (QUO-4)."""

    REFUND = "refund"
    TRANSFER = "transfer"


MAX_LISTED_ITEMS: Final = 50
"""The maximum number of items that a blocker lists; the store has all of them (OPS-7)."""


class BlockerItem(Value):
    """One item of a blocker, for example a user or an open invoice."""

    kind: str
    id: str
    name: OneLine | None = None
    """The name that the owner of the account knows, if any."""
    amount: Money | None = None
    due_on: date | None = None

    @property
    def shown_name(self) -> str:
        """Return the name, else the id."""
        return self.name or self.id


class Blocker(Value):
    """A reason why acceptance is not possible now (BLK).

    Its size does not depend on the number of its items (OPS-7).
    """

    code: str
    """A `BlockerCode`; as text, because a worker of an older release may read a newer code."""
    message: str
    remedy: str
    cleared_by: str
    """The role that can clear it, as text."""
    count: int
    """The number of all items."""
    kinds: dict[str, int]
    """The number of all items of each kind."""
    digest: str
    """A hash of all items, so that a change behind the listed ones makes a different blocker."""
    account: str = ""
    """The account in which it is cleared: the source account."""
    items: tuple[BlockerItem, ...]
    """The first `MAX_LISTED_ITEMS` items."""

    @classmethod
    def of(
        cls,
        items: Iterable[BlockerItem],
        *,
        code: str,
        message: str,
        remedy: str,
        cleared_by: str,
        account: str = "",
    ) -> Self:
        """Return a blocker that counts all `items` and lists the first."""
        listed: list[BlockerItem] = []
        kinds: Counter[str] = Counter()
        digest = blake2b(digest_size=16)
        for item in items:
            if len(listed) < MAX_LISTED_ITEMS:
                listed.append(item)
            kinds[item.kind] += 1
            digest.update(item.model_dump_json().encode())
        return cls(
            code=code,
            message=message,
            remedy=remedy,
            cleared_by=cleared_by,
            account=account,
            count=kinds.total(),
            kinds=kinds,
            digest=digest.hexdigest(),
            items=tuple(listed),
        )

    @property
    def unlisted(self) -> int:
        """Return the number of items that are not listed."""
        return self.count - len(self.items)


class Settlement(Value):
    """The settlement of the source account's unused value."""

    kind: Choice
    amount: Money
    refund_id: str | None
    arrives_between: tuple[date, date] | None


MAX_NOTE_LENGTH: Final = 500
"""Characters in the inviter's note."""


def checked_note(text: str | None) -> str | None:
    """Return the inviter's note, normalized; None without words.

    Raises `Refused(invalid_input)` if it is too long.
    """
    note = short_lines(text or "")
    if len(note) > MAX_NOTE_LENGTH:
        raise Refused(
            ErrorCode.INVALID_INPUT,
            f"A note has at most {MAX_NOTE_LENGTH} characters; this one has {len(note)}.",
        )
    return note or None


class Invite(Value):
    """The request that starts an invitation."""

    invitation_id: str
    """The business id of this invitation: the key of its row, and part of what links sign."""
    account: str
    key: str
    """The keyed hash of the address, the last part of the workflow id."""
    email: str
    """The normalized address (INV-3)."""
    mail_to: str | None = None
    """The address as written, for the e-mail; None: the normalized address."""
    name: str | None = None
    license: License = License.BASIC
    locale: str | None = None
    invited_by: str
    author: str | None = None
    """The author of the request, if another one acts for the inviter (OPS-8)."""
    heads_up_days: int = Field(default=0, ge=0)
    """The days between the heads-up and the invitation e-mail; 0: no heads-up (INV-17)."""
    managed: bool = False
    """True if the address is in a managed domain, so that the person may join directly (INV-18)."""
    note: Lines | None = None
    """The inviter's words to the invitee, in plain text."""
    owner_invitation_id: str | None = None
    """The id of the blocked invitation of the account's owner that caused this one (BLK-6)."""
    policy: SharedPolicy = Policy()

    @property
    def workflow_id(self) -> str:
        """Return the natural key: one live run for each account and person (INV-3)."""
        return f"invitation/{self.account}/{self.key}"


class Invitation(Value):
    """The present status of an invitation, as `show` prints it and the store keeps it."""

    workflow_id: str
    run_id: str
    """The first run of the chain, unchanged by continue-as-new; empty until it runs."""
    account: str
    email: str
    state: InvitationState
    license: License
    invited_by: str
    expires_at: AwareDatetime | None = None
    """The deadline; an answer at exactly this instant is late (INV-6).

    None until sent, and while it is paused.
    """
    time_left: timedelta | None = None
    """The time left until the deadline while blockers pause it, else None (BLK-5)."""
    goes_out_at: AwareDatetime | None = None
    """The time at which the invitation e-mail follows the heads-up, if there is one (INV-17)."""
    sent_count: int = 1
    """The number of links created; only the last one is valid (INV-9)."""
    reminders_sent: int = 0
    reminders_ended: bool = False
    """True once the invitee has unsubscribed from the reminders; only the store sets it."""
    reminded_by: str | None = None
    """The id of the reminder run that requested the last reminder, if known."""
    link: str | None = None
    """None after the end and in Temporal's histories; links are created when they are shown."""
    choice: Choice | None = None
    blockers: tuple[Blocker, ...] = ()
    settlement: Settlement | None = None
    manifest: Manifest = ()
    """The data that moves with the person (TRF-1); empty until acceptance."""
    with_errors: bool = False
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = Field(default=())
    """The updates that are accepted now."""

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """Return the invitation after the transition of `entry`; no other method changes the state.

        Outside `blocked` there are no blockers, and the deadline is not paused.
        """
        to_state = InvitationState(entry.to_state)
        if to_state is not InvitationState.BLOCKED:
            changes = {"blockers": (), "time_left": None, **changes}
        return self.model_copy(
            update={"state": to_state, "journal": (*self.journal, entry), **changes}
        )

    @property
    def outcome(self) -> str:
        """Return the choice, for refusals: ` with a refund` (QUO-4)."""
        return f" with a {self.choice}" if self.choice else ""

    def require_same_choice(self, choice: Choice | None) -> None:
        """Raise Refused(already_accepted) when it was accepted with another choice (INV-10)."""
        if self.choice and choice and choice is not self.choice:
            on_day = f" on {day_of(self.accepted_at)}" if self.accepted_at else ""
            raise Refused(
                ErrorCode.ALREADY_ACCEPTED,
                f"Accepted{on_day}{self.outcome}; the choice can no longer be changed.",
            )

    def may_replace(self, stored: "Invitation") -> bool:
        """Return whether this record may replace the stored one.

        It must continue the stored journal, and must neither accept nor end the invitation: only
        the store's transactions do that (INV-7, INV-11).
        """
        return (
            not stored.state.final
            and stored.state.unanswered == self.state.unanswered
            and stored.state.accepted == self.state.accepted
            # A claim and its workflow begin at different times.
            and self.journal[1 : len(stored.journal)] == stored.journal[1:]
        )

    def outdates_email_of(self, mailed: "Invitation") -> bool:
        """Return whether the e-mail about `mailed` is no longer due, given this newer record.

        It is not due once the invitation was answered, has ended or has a newer link; a heads-up
        also not once the invitation e-mail followed (OPS-2).
        """
        heads_up = mailed.state is InvitationState.ANNOUNCED
        return (
            not self.state.unanswered
            or self.sent_count > mailed.sent_count
            or (heads_up and self.state is not InvitationState.ANNOUNCED)
        )

    @property
    def accepted_at(self) -> datetime | None:
        """Return the time of the acceptance, if any."""
        events = {"accept", "join"}
        return next((entry.at for entry in self.journal if entry.event in events), None)

    @property
    def quiet_since(self) -> datetime | None:
        """Return the time of the last e-mail to the invitee or their last answer (REM-1)."""
        return next(
            (entry.at for entry in reversed(self.journal) if entry.event in _CONTACT_EVENTS), None
        )

    def remindable_from(self, policy: Policy) -> datetime | None:
        """Return the time from which a reminder may be sent; None when none may be (REM-1)."""
        quiet_since, answerable = self.quiet_since, self.state in REMINDABLE
        ended = self.reminders_ended or self.reminders_sent >= policy.remind_at_most
        if not answerable or quiet_since is None or ended:
            return None
        reminded = (entry.at for entry in reversed(self.journal) if entry.event == "remind")
        last = next(reminded, None)
        quiet_enough = quiet_since + policy.remind_after
        return max(quiet_enough, last + policy.remind_every) if last else quiet_enough

    def with_time_left(self, after: timedelta, since: datetime) -> Self:
        """Return a copy with its deadline `after` after `since`; a paused deadline stays paused."""
        if self.time_left is not None:
            return self.model_copy(update={"time_left": after})
        return self.model_copy(update={"expires_at": since + after})

    def paused(self, at: datetime) -> Self:
        """Return a copy whose deadline is paused from `at` on (BLK-5)."""
        if self.expires_at is None:
            return self
        return self.model_copy(update={"expires_at": None, "time_left": self.expires_at - at})

    def resumed(self, at: datetime) -> Self:
        """Return a copy whose paused deadline continues from `at` (BLK-5)."""
        if self.time_left is None:
            return self
        return self.model_copy(update={"expires_at": at + self.time_left, "time_left": None})

    @property
    def deadline(self) -> datetime:
        """Return `expires_at` of an invitation that was sent."""
        assert self.expires_at is not None, "the invitation was not sent"
        return self.expires_at


class StoredInvitation(Value):
    """An invitation with the data that only the store keeps."""

    invitation_id: str
    ordered: Invite
    """The request."""
    invitation: Invitation
    started: bool
    """True once the start of its workflow was confirmed."""


class Person(Value):
    """One row of a request to invite."""

    email: str
    """The address as given; it is normalized when the row is processed."""
    license: License = License.BASIC
    locale: str | None = None
    name: str | None = None


class InviteResult(Value):
    """The result of one row of a request to invite (INV-2)."""

    email: str
    """The normalized address; as given (trimmed) when refused."""
    result: Literal["invited", "already_invited", "refused"]
    error: dict[str, JsonValue] | None = None
    invitation: Invitation | None = None
    """None when refused."""
    note: str | None = None
    """A remark about a row that was not refused: the license that is kept."""


LINK_WAS_THE_PROOF: Final = "The link alone was the proof of who accepted."
"""The note of an acceptance by link without a person who is signed in (INV-13)."""


class AcceptInvitation(Value):
    """The acceptance by the invitee."""

    choice: Choice | None = None
    link_number: int | None = None
    """The number of the opened link, if any; a resend invalidates older links (INV-9)."""
    shown: Money | None = None
    """The amount of the page that was answered, if any; another one has to be shown first."""
    by: str = INVITEE
    note: str | None = None
    """The proof of who accepts, if the journal states it."""


class DeclineInvitation(Value):
    """The refusal by the invitee."""

    reason: OneLine | None = None
    """Shown to the inviter (INV-7)."""
    by: str = INVITEE


class RevokeInvitation(Value):
    """The revocation by an owner or admin of the target account."""

    by: str
    author: str | None = None
    """The author of the request, if another one acts for the admin (OPS-8)."""


class ResendInvitation(Value):
    """The request of an owner or admin of the target account for a new link (INV-9)."""

    by: str
    author: str | None = None
    """The author of the request, if another one acts for the admin (OPS-8)."""


class QuoteInvitation(Value):
    """The request to preview the acceptance and to record the quote shown (QUO-5)."""

    by: str = INVITEE


class RecheckInvitation(Value):
    """The request to read the blockers again (BLK-4)."""

    by: str = INVITEE


class DueReminder(Value):
    """A reminder that the mail server has not accepted yet."""

    number: int
    """Counted from 1."""
    run: str | None = None
    """The id of the reminder run that requested it, if known."""


class CarriedInvitation(Value):
    """The state carried over to the next run, after continue-as-new or a restart."""

    invitation: Invitation
    mail_due: bool
    """True while the mail server has not accepted the last invitation e-mail."""
    mailed_at: AwareDatetime | None
    """The time of the last request for an invitation e-mail; the cool-down counts from it."""
    quote: RecordedQuote | None = None
    """The last quote that was shown, if any (QUO-5)."""
    blocked_since: AwareDatetime | None = None
    """The time of the last change of the blockers; rechecks count from it (BLK-4)."""
    notified_blockers: tuple[Blocker, ...] = ()
    """The blockers in the last e-mail to the invitee (BLK-4)."""
    rechecks: int = 0
    """The number of timed rechecks since `blocked_since`."""
    reminder: DueReminder | None = None
    """The reminder that the mail server has not accepted yet, if one is due."""
    refund: RefundPlan | None = None
    """The refund that the acceptance requested, if any."""

    @classmethod
    def from_store(cls, invitation: Invitation, refund: RefundPlan | None) -> Self:
        """Return the state with which a lost workflow is restarted from its record.

        An unanswered invitation gets the id of the new run.
        """
        blocked, unanswered = (
            invitation.state is InvitationState.BLOCKED,
            invitation.state.unanswered,
        )
        return cls(
            invitation=invitation.model_copy(update={"run_id": ""}) if unanswered else invitation,
            mail_due=invitation.state in {InvitationState.ANNOUNCED, InvitationState.SENT},
            mailed_at=invitation.quiet_since,
            blocked_since=invitation.journal[-1].at if blocked else None,
            notified_blockers=invitation.blockers,
            refund=refund,
        )


class StartInvitation(Value):
    """The input of one run: the request, and the state carried over from the previous run."""

    invite: Invite
    carried: CarriedInvitation | None = None
