"""Tests of the assignment's activities (ASG)."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter
from temporalio.testing import ActivityEnvironment

from activities.assignment import (
    AssignmentActivities,
    CommitAssignment,
    ReadAssignment,
)
from domain.assignment import AssignLicenses, Assignment, AssignmentResult, AssignmentState
from domain.error import ErrorCode, Refusal, Refused, unless_refused
from domain.license import Sku

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
ADMIN, ANN, BOB, CLEO = (f"{name}@acme.example" for name in ("adam", "ann", "bob", "cleo"))

RESULTS = TypeAdapter(tuple[AssignmentResult, ...])


def a_request(*emails: str, atomic: bool = False) -> AssignLicenses:
    return AssignLicenses(
        request_id="as-1",
        account="acme",
        sku=Sku.LARGE_MEETING,
        emails=emails or (ANN, BOB, CLEO),
        capacity=500,
        by=ADMIN,
        atomic=atomic,
    )


def a_result(email: str, state: AssignmentState = AssignmentState.ASSIGNED) -> AssignmentResult:
    waits = state is not AssignmentState.ASSIGNED
    error = Refused(ErrorCode.INSUFFICIENT_LICENSES, "No license is free.").as_json()
    return AssignmentResult(email=email, state=state, capacity=500, error=error if waits else None)


class FakeAssignmentStore:
    """An `AssignmentStore` with a pool; a request is assigned once."""

    def __init__(self, free: int = 2) -> None:
        self.free = free
        self.stored: dict[str, Assignment] = {}

    async def assign(self, request: AssignLicenses, at: datetime) -> Assignment:
        if stored := self.stored.get(request.request_id):
            return stored
        if request.atomic and len(request.emails) > self.free:
            results = [a_result(email, AssignmentState.REFUSED) for email in request.emails]
            raise Refused(
                ErrorCode.INSUFFICIENT_LICENSES,
                "Too few licenses are free.",
                results=[result.model_dump(mode="json") for result in results],
            )
        served = request.emails[: self.free]
        self.free -= len(served)
        waiting = request.emails[len(served) :]
        self.stored[request.request_id] = Assignment(
            request_id=request.request_id,
            workflow_id=request.workflow_id,
            account=request.account,
            sku=request.sku,
            results=(
                *(a_result(email) for email in served),
                *(a_result(email, AssignmentState.WAITING) for email in waiting),
            ),
        )
        return self.stored[request.request_id]

    async def assignment(self, request_id: str) -> Assignment:
        if request_id not in self.stored:
            raise Refused(ErrorCode.NOT_FOUND, "No such request.")
        return self.stored[request_id]

    def serve(self, request_id: str) -> None:
        """Assign a license to all users who wait, as a purchase does."""
        stored = self.stored[request_id]
        served = tuple(a_result(result.email) for result in stored.results)
        self.stored[request_id] = stored.model_copy(update={"results": served})


async def commit(store: FakeAssignmentStore, request: AssignLicenses) -> Assignment:
    """Commit the request. Raises Refused if the result is a refusal."""
    committed: Assignment | Refusal = await ActivityEnvironment().run(
        AssignmentActivities(store).commit_assignment, CommitAssignment(request=request, at=NOW)
    )
    return unless_refused(committed)


async def read(store: FakeAssignmentStore) -> Assignment:
    return await ActivityEnvironment().run(
        AssignmentActivities(store).read_assignment, ReadAssignment(request=a_request())
    )


def states(assignment: Assignment) -> list[tuple[str, str]]:
    return [(result.email, result.state) for result in assignment.results]


async def test_a_commit_returns_the_result_of_each_user_in_the_order_requested() -> None:
    """ASG-5: users without a free license wait."""
    committed = await commit(FakeAssignmentStore(free=2), a_request())
    assert states(committed) == [(ANN, "assigned"), (BOB, "assigned"), (CLEO, "waiting")]
    assert [result.error and result.error["code"] for result in committed.results] == [
        None,
        None,
        "insufficient_licenses",
    ]


async def test_a_commit_repeated_after_a_crash_assigns_nothing_more() -> None:
    """ASG-4: the stored results are returned."""
    store = FakeAssignmentStore(free=2)
    first = await commit(store, a_request(ANN))
    assert await commit(store, a_request(ANN)) == first
    assert store.free == 1


async def test_a_refused_atomic_request_has_the_result_of_each_user() -> None:
    """ASG-5: all or none."""
    store = FakeAssignmentStore(free=2)
    with pytest.raises(Refused) as refused:
        await commit(store, a_request(atomic=True))
    assert refused.value.code is ErrorCode.INSUFFICIENT_LICENSES
    results = RESULTS.validate_python(refused.value.details["results"])
    assert [result.email for result in results] == [ANN, BOB, CLEO]
    assert (store.free, store.stored) == (2, {})


async def test_reading_a_request_returns_the_users_served_since() -> None:
    """ASG-5: the workflow is signaled, then it reads."""
    store = FakeAssignmentStore(free=0)
    await commit(store, a_request())
    assert {state for _, state in states(await read(store))} == {"waiting"}
    store.serve("as-1")
    assert states(await read(store)) == [(ANN, "assigned"), (BOB, "assigned"), (CLEO, "assigned")]


async def test_reading_an_unknown_request_is_refused() -> None:
    """ASG-5."""
    with pytest.raises(Refused) as refused:
        await read(FakeAssignmentStore())
    assert refused.value.code is ErrorCode.NOT_FOUND
