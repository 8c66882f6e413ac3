"""Many people invited at once: the batch, its rows, and how far it has come (REM-3)."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue, TypeAdapter

from domain.error import Refused
from domain.invitation import Person, StoredInvitation
from domain.model import Value
from domain.policy import Policy

RowResult = Literal["invited", "already_invited", "refused"]


class Batch(Value):
    """What all rows of one request have in common."""

    batch_id: str
    account: str
    by: str
    """The normalized address of the owner or admin who asks."""
    managed_domains: tuple[str, ...] = ()
    heads_up_days: int = 0
    policy: Policy = Policy()

    @property
    def workflow_id(self) -> str:
        """One run at a time works on a batch."""
        return f"bulk-invite/{self.batch_id}"

    def invitation_id(self, position: int) -> str:
        """The id of the invitation that a row asks for.

        The same whoever takes the row up again, so that it knows its own claim.
        """
        return hashlib.sha256(f"{self.batch_id}/{position}".encode()).hexdigest()[:32]


class BatchRow(Value):
    """One row of a batch."""

    position: int
    person: Person
    refused: dict[str, JsonValue] | None = None
    """Why it was refused before anybody was asked; None: it is to be invited."""


class RowOutcome(Value):
    """What became of a row."""

    position: int
    result: RowResult
    error: dict[str, JsonValue] | None = None
    invitation_id: str | None = None
    """None when refused."""
    run_id: str | None = None
    """The run that was started for it; None when another is bound already."""


class FinishedRow(Value):
    """A row and what became of it, with its invitation as it stands now."""

    person: Person
    result: RowResult
    error: dict[str, JsonValue] | None = None
    stored: StoredInvitation | None = None


class BatchProgress(Value):
    """How many rows there are, and what became of those that are done."""

    total: int
    invited: int = 0
    already_invited: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Rows that have their result."""
        return self.invited + self.already_invited + self.refused

    @property
    def finished(self) -> bool:
        """Whether every row has its result."""
        return self.done >= self.total


class StartBatch(Value):
    """The input of one run: the batch, and how far the runs before have come."""

    batch: Batch
    progress: BatchProgress


def refused_row(position: int, refused: Refused) -> RowOutcome:
    """The outcome of a row that a rule has refused."""
    return RowOutcome(position=position, result="refused", error=refused.as_json())


def request_digest(account: str, by: str, heads_up_days: int, rows: Sequence[BatchRow]) -> str:
    """Tells one request from another; who repeats a request means the same batch."""
    content = _ROWS.dump_json(tuple(rows))
    return hashlib.sha256(f"{account}\n{by}\n{heads_up_days}\n".encode() + content).hexdigest()


_ROWS = TypeAdapter(tuple[BatchRow, ...])
