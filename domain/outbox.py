"""The work that follows a commit: signals, starts of workflows and letters (OPS-1)."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Self

from pydantic import AwareDatetime

from domain.address import mask_all, masked
from domain.attention import AttentionCase, AttentionKind, command
from domain.journal import JournalEntry
from domain.letter import Letter
from domain.letter.attention import AttentionLetter
from domain.model import Value

DIRECTORY_CHANGED: Final = "directory_changed"
"""The signal to an invitation: store data that concerns it has changed."""
LICENSES_FREED: Final = "licenses_freed"
"""The signal to an assignment: a waiting user was served, or waits for another reason."""

ACCOUNT_CLOSED: Final = "account_closed"
"""The signal to an order: it has ended because its account was closed (SRC-2)."""

REPLACE: Final = "replace/"
"""The beginning of the key of a start that first ends the running workflow."""

FIRST_RETRY: Final = timedelta(seconds=1)
LONGEST_RETRY: Final = timedelta(minutes=15)

REPORTED_AFTER: Final = timedelta(days=1)
"""The age from which a row that could not be carried out is on the operators' list (OPS-1)."""


class FollowUpKind(StrEnum):
    """The kind of a row of the outbox."""

    SIGNAL = "signal"
    """A signal to a workflow that has to read the store again; it may be sent twice."""
    START = "start"
    """The start of the workflow of an unfinished record, unless it runs (but see `REPLACE`)."""
    CLAIM = "claim"
    """The end of a claim: bound to its workflow, or released (INV-15)."""
    LETTER = "letter"
    """A letter to one recipient."""
    SWEEP = "sweep"
    """The search for records whose workflow has been lost; repeated, never done."""


class RecordKind(StrEnum):
    """The kind of a record that a letter is about."""

    INVITATION = "invitation"
    REFUND = "refund"
    ORDER = "order"


class RecordVersion(Value):
    """A record at the time when a letter about it was written."""

    kind: RecordKind
    id: str
    entries: int
    """The number of journal entries."""


class PageLink(Value):
    """The link to the page of an invitation: links are not stored."""

    invitation_id: str
    number: int
    """The number of the invitation e-mail that holds the link."""


class QueuedLetter(Value):
    """A letter that waits to be sent, and the facts that are added when it is sent."""

    letter: Letter
    to_operators: bool = False
    """True for a letter to the operators, whose address is a setting."""
    page: PageLink | None = None
    """The link that is added."""
    sign_in: str | None = None
    """The id of the sign-in link that is added; its reader is looked up when it is sent."""
    only_while: RecordVersion | None = None
    """The record that must be unchanged when the letter is sent; None: it stays true (OPS-2)."""


def queued_letter(
    letter: Letter, version: RecordVersion, page: PageLink | None = None
) -> QueuedLetter:
    """Return the letter as it waits in the outbox; `version` is the record that it is about."""
    to_operators = isinstance(letter, AttentionLetter)
    # A failed move stays on the operators' list when the invitation is completed.
    may_be_settled = to_operators and version.kind is RecordKind.REFUND
    return QueuedLetter(
        letter=letter,
        to_operators=to_operators,
        page=page if letter.opens_page else None,
        only_while=version if letter.untrue_after_changes or may_be_settled else None,
    )


class QueuedEvent(Value):
    """The part of a queued letter that operators see."""

    event: str
    to: str
    """The masked address, or `operators`."""

    @classmethod
    def of(cls, queued: Mapping[str, Any]) -> Self:
        """Return the part of a letter as it is stored; it may be of a later release."""
        letter = queued["letter"]
        to = "operators" if queued["to_operators"] else masked(letter["reader"]["email"])
        return cls(event=letter["event"], to=to)


class FollowUp(Value):
    """A row of the outbox: work that follows a commit, carried out at least once (OPS-1)."""

    number: int
    """A unique, increasing number."""
    kind: FollowUpKind
    key: str | None
    """The business id of the row; None for a signal, which may be repeated."""
    workflow_id: str
    """The workflow that is signalled or started, or that the letter is about."""
    run_id: str
    """The first run of the chain; empty for workflow ids that are never reused."""
    account: str
    signal: str | None
    """The name of the signal."""
    letter: QueuedEvent | None
    """The event and the recipient of a letter, also of one that this release cannot read."""
    attempts: int
    """The number of attempts, the present one included."""
    at: AwareDatetime
    """The time of the change, in workflow time; for a search, the end of the last one."""
    since: AwareDatetime
    """The time at which the row was written, by the clock of the machine."""
    due_at: AwareDatetime
    """The time of the next attempt, by the clock of the machine."""
    failure: str | None
    """The reason why the last attempt failed."""
    given_up: bool
    """True if no attempt can succeed: the row waits for an operator."""


_STILL_CURRENT_AFTER = frozenset({"resend", "remind", "cancel_requested"})
"""Events after which a letter about the record is still true."""


def still_current(version: RecordVersion, journal: Sequence[JournalEntry]) -> bool:
    """Return whether a letter about this version is still true (OPS-2)."""
    return all(entry.event in _STILL_CURRENT_AFTER for entry in journal[version.entries :])


def retry_after(attempts: int) -> timedelta:
    """Return the delay after that many failed attempts: 1, 2, 4 seconds, up to 15 minutes."""
    return min(FIRST_RETRY * (1 << min(attempts - 1, 20)), LONGEST_RETRY)


def case_of_follow_up(row: FollowUp) -> AttentionCase:
    """Return the case of a row that was given up, or that could not be carried out for a day."""
    if row.letter:
        kind, work = (
            AttentionKind.LETTER_UNDELIVERABLE,
            f"The e-mail {row.letter.event} to {row.letter.to}",
        )
    else:
        kind = AttentionKind.FOLLOW_UP_FAILING
        work = {
            FollowUpKind.SWEEP: f"The repeated search `{row.key}`",
            FollowUpKind.SIGNAL: f"The signal {row.signal} to {row.workflow_id}",
            FollowUpKind.CLAIM: f"The end of the claim of {row.workflow_id}",
        }.get(row.kind, f"The start of {row.workflow_id}")
    failure = f": {mask_all(row.failure).rstrip('.')}" if row.failure else ""
    result = "has failed for good" if row.given_up else "has not succeeded for a day"
    return AttentionCase(
        kind=kind,
        since=row.since,
        account=row.account,
        id=str(row.number),
        message=f"{work} {result}{failure}. Fix the cause and retry it, or discard it with"
        f" `seatflow outbox discard {row.number}`.",
        remedy=command("seatflow", "outbox", "retry", str(row.number)),
    )
