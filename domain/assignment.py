"""Assignment requests: licenses of a pool given to users (ASG)."""

from collections import Counter
from enum import StrEnum
from typing import Self

from pydantic import Field, JsonValue

from domain.account import Meeting
from domain.journal import JournalEntry
from domain.license import Sku
from domain.model import Value

MAX_USERS_PER_REQUEST = 100
"""The maximum number of users in one request (ASG-5)."""


def assignment_workflow(account: str, request_id: str) -> str:
    """Return the id of the workflow that carries out a request."""
    return f"assignment/{account}/{request_id}"


class AssignmentState(StrEnum):
    """The state of one user's assignment; `states/assignment.py` declares the transitions."""

    REQUESTED = "requested"
    WAITING = "waiting"
    ASSIGNED = "assigned"
    RELEASED = "released"
    REFUSED = "refused"

    @property
    def open(self) -> bool:
        """Return whether the user may still get a license."""
        return self in {AssignmentState.REQUESTED, AssignmentState.WAITING}


_EARLIEST_FIRST = (
    AssignmentState.REQUESTED,
    AssignmentState.WAITING,
    AssignmentState.ASSIGNED,
    AssignmentState.RELEASED,
)


class AssignmentResult(Value):
    """The result for one user of a request."""

    email: str
    """The normalized address; as given (trimmed) when refused."""
    state: AssignmentState
    capacity: int | None = None
    error: dict[str, JsonValue] | None = None
    """Null unless refused or waiting."""
    meetings: tuple[Meeting, ...] = ()
    """The meetings that lose their capacity when the license is released (ASG-7)."""
    webinars: tuple[Meeting, ...] = ()
    """The webinars that lose their capacity when the license is released (ASG-7, ASG-8)."""
    held_before: bool = False
    """True if the user held this license before the request, so that no e-mail is sent."""


class AssignLicenses(Value):
    """The request that starts an assignment."""

    request_id: str
    account: str
    sku: Sku
    emails: tuple[str, ...] = Field(max_length=MAX_USERS_PER_REQUEST)
    """Normalized addresses, each once, in the order given."""
    capacity: int | None = None
    """None: the account's only capacity, or the only one with a free license (ASG-2)."""
    by: str
    author: str | None = None
    """The author of the request, if another one acts for the admin `by` (OPS-8)."""
    atomic: bool = False
    """True: all users or none. False: a result for each; users without a license wait (ASG-5)."""
    give_base_license: bool = False
    """True: a basic user first gets a free base license (ASG-1)."""
    waited: tuple[str, ...] = ()
    """The users who had to wait, set by the store; the admin is notified when none waits."""

    @property
    def requested_by(self) -> str:
        """Return the author of the request (OPS-8)."""
        return self.author or self.by

    @property
    def workflow_id(self) -> str:
        """Return the workflow id: one workflow for each request."""
        return assignment_workflow(self.account, self.request_id)


class Assignment(Value):
    """The present status of a request: the results of its users and the journal."""

    request_id: str
    workflow_id: str
    account: str
    sku: Sku
    results: tuple[AssignmentResult, ...]
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = ()
    """The updates that are accepted now: always none, because only the pool changes it."""

    @property
    def state(self) -> AssignmentState:
        """Return the earliest state of its users; `refused` when all were refused."""
        states = {result.state for result in self.results}
        return next(
            (state for state in _EARLIEST_FIRST if state in states), AssignmentState.REFUSED
        )

    @property
    def outcome(self) -> str:
        """Return nothing: the state says it all."""
        return ""

    @property
    def counts(self) -> str:
        """Return the number of users in each state, for example `1 waiting, 2 assigned`."""
        found = Counter(result.state for result in self.results)
        return ", ".join(f"{found[state]} {state}" for state in AssignmentState if found[state])

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """Return a copy with the journal entry added and the changes applied."""
        return self.model_copy(update={"journal": (*self.journal, entry), **changes})


class StartAssignment(Value):
    """The input of one run: the request, and the state carried over from the previous run."""

    request: AssignLicenses
    carried: Assignment | None = None
