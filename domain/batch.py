"""Batches of invitations: the request, its rows and its progress (REM-3)."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import JsonValue, TypeAdapter

from domain.address import normalized
from domain.error import Refused
from domain.invitation import Person, StoredInvitation
from domain.model import Value
from domain.people_file import CsvError, CsvRow, PeopleFile
from domain.policy import Policy

RowResult = Literal["invited", "already_invited", "refused"]


class Batch(Value):
    """A request to invite many people, without its rows."""

    batch_id: str
    account: str
    by: str
    """The normalized address of the owner or admin who invites."""
    author: str | None = None
    """The author of the request, if another one acts for the inviter (OPS-8)."""
    managed_domains: tuple[str, ...] = ()
    heads_up_days: int = 0
    note: str | None = None
    """The inviter's words to every invitee, in plain text."""
    policy: Policy = Policy()

    @property
    def workflow_id(self) -> str:
        """Return the workflow id: one open workflow for each batch."""
        return f"bulk-invite/{self.batch_id}"

    def invitation_id(self, position: int) -> str:
        """Return the id of the invitation that a row requests.

        It is the same on every attempt, so that a retry recognizes its own claim.
        """
        return hashlib.sha256(f"{self.batch_id}/{position}".encode()).hexdigest()[:32]


class BatchRow(Value):
    """One row of a batch."""

    position: int
    person: Person
    refused: dict[str, JsonValue] | None = None
    """The error found before the batch started; None when the row is to be invited."""


class RowOutcome(Value):
    """The outcome of a row."""

    position: int
    result: RowResult
    error: dict[str, JsonValue] | None = None
    invitation_id: str | None = None
    """None when refused."""
    run_id: str | None = None
    """The run that was started for the invitation; None when it had one already."""


class FinishedRow(Value):
    """A finished row with its result and the present invitation."""

    person: Person
    result: RowResult
    error: dict[str, JsonValue] | None = None
    stored: StoredInvitation | None = None


class BatchProgress(Value):
    """The number of rows, in total and by result."""

    total: int
    invited: int = 0
    already_invited: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Return the number of rows that have a result."""
        return self.invited + self.already_invited + self.refused

    @property
    def finished(self) -> bool:
        """Return whether every row has a result."""
        return self.done >= self.total


class StartBatch(Value):
    """The input of one run: the batch, and the progress of the previous runs."""

    batch: Batch
    progress: BatchProgress


def is_batch_id(text: str) -> bool:
    """Return whether a batch may have this id."""
    return re.fullmatch("[a-z0-9][a-z0-9._-]{0,63}", text) is not None


def rows_of(given: Sequence[Person], file: PeopleFile) -> list[BatchRow]:
    """Return a row for each address, in the order given, and for each bad row."""
    return list(_rows(given, file))


def _rows(given: Sequence[Person], file: PeopleFile) -> Iterator[BatchRow]:
    seen, position = set[str](), 0
    for row in (*(CsvRow(row=0, person=person) for person in given), *file.rows):
        if not row.errors:
            address = _address(row.person)
            if address in seen:
                continue
            seen.add(address)
        refused = _refusal(row.errors).as_json() if row.errors else None
        yield BatchRow(position=position, person=row.person, refused=refused)
        position += 1


def _address(person: Person) -> str:
    try:
        return normalized(person.email)
    except Refused:
        # An invalid address gets a row of its own with its error.
        return person.email.strip()


def _refusal(mistakes: Sequence[CsvError]) -> Refused:
    first = mistakes[0]
    return Refused(
        first.code,
        f"{first.place}: {first.reason}",
        mistakes=[error.as_json() for error in mistakes],
    )


def refused_row(position: int, refused: Refused) -> RowOutcome:
    """Return the outcome of a row that a rule refuses."""
    return RowOutcome(position=position, result="refused", error=refused.as_json())


def request_digest(
    account: str, by: str, heads_up_days: int, rows: Sequence[BatchRow], note: str | None = None
) -> str:
    """Return a hash of the request; a repeated request has the same hash and batch."""
    content = _ROWS.dump_json(tuple(rows))
    request = f"{account}\n{by}\n{heads_up_days}\n{note or ''}\n"
    return hashlib.sha256(request.encode() + content).hexdigest()


_ROWS = TypeAdapter(tuple[BatchRow, ...])
