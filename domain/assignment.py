"""Licenses of a pool given to users, by one request (ASG)."""

from collections import Counter
from enum import StrEnum
from typing import Self

from pydantic import Field, JsonValue

from domain.account import Meeting
from domain.journal import JournalEntry
from domain.license import Sku
from domain.model import Value

MAX_USERS_PER_REQUEST = 100
"""Users in one request (ASG-5)."""


def assignment_workflow(account: str, request_id: str) -> str:
    """The id of the workflow that carries out a request."""
    return f"assignment/{account}/{request_id}"


class AssignmentState(StrEnum):
    """Where one user's assignment stands; `states/assignment.py` draws how it moves."""

    REQUESTED = "requested"
    WAITING = "waiting"
    ASSIGNED = "assigned"
    RELEASED = "released"
    REFUSED = "refused"

    @property
    def open(self) -> bool:
        """Whether a license may still come."""
        return self in {AssignmentState.REQUESTED, AssignmentState.WAITING}


_EARLIEST_FIRST = (
    AssignmentState.REQUESTED,
    AssignmentState.WAITING,
    AssignmentState.ASSIGNED,
    AssignmentState.RELEASED,
)


class AssignmentResult(Value):
    """What became of one user of a request."""

    email: str
    """The normalized address; as given (trimmed) when refused."""
    state: AssignmentState
    capacity: int | None = None
    error: dict[str, JsonValue] | None = None
    """Null unless refused or waiting."""
    meetings: tuple[Meeting, ...] = ()
    """Those that lose their capacity with a license that is taken away (ASG-7)."""
    held_before: bool = False
    """Whether they held that very license before it was asked for: it is no news to them."""


class AssignLicenses(Value):
    """The order that starts an assignment."""

    request_id: str
    account: str
    sku: Sku
    emails: tuple[str, ...] = Field(max_length=MAX_USERS_PER_REQUEST)
    """Normalized, each once, in the order asked."""
    capacity: int | None = None
    """None: the only one, or the only one with a free license (ASG-2)."""
    by: str
    atomic: bool = False
    """All or none; else a result each, and whom there is none for waits (ASG-5)."""
    give_base_license: bool = False
    """Give a basic user a free base license first (ASG-1)."""

    @property
    def workflow_id(self) -> str:
        """One run for each request."""
        return assignment_workflow(self.account, self.request_id)


class Assignment(Value):
    """A request as it stands: its users' results, and how they came there."""

    request_id: str
    workflow_id: str
    account: str
    sku: Sku
    results: tuple[AssignmentResult, ...]
    waited: tuple[str, ...] = ()
    """Who had to wait; the admin is told when the last of them was served."""
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = ()
    """The updates that an outsider may send now: none, only the pool moves it."""

    @property
    def state(self) -> AssignmentState:
        """Where the least settled of its users stands; refused when all of them were."""
        states = {result.state for result in self.results}
        return next(
            (state for state in _EARLIEST_FIRST if state in states), AssignmentState.REFUSED
        )

    @property
    def settled(self) -> tuple[AssignmentResult, ...]:
        """The results of those who wait for nothing any more."""
        return tuple(result for result in self.results if not result.state.open)

    @property
    def counts(self) -> str:
        """How many users stand where, for example `1 waiting, 2 assigned`."""
        found = Counter(result.state for result in self.results)
        return ", ".join(f"{found[state]} {state}" for state in AssignmentState if found[state])

    def assigned_since(self, before: Self) -> tuple[AssignmentResult, ...]:
        """The results of those who have got a license since."""
        held = {
            result.email for result in before.results if result.state is AssignmentState.ASSIGNED
        }
        return tuple(
            result
            for result in self.results
            if result.state is AssignmentState.ASSIGNED
            and result.email not in held
            and not result.held_before
        )

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """The request after `entry`."""
        return self.model_copy(update={"journal": (*self.journal, entry), **changes})


class StartAssignment(Value):
    """The input of one run: the request, and what the run before hands on."""

    request: AssignLicenses
    carried: Assignment | None = None
