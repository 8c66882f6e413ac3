"""Tests of the states of an assignment."""

from datetime import UTC, datetime

import pytest

from domain.assignment import AssignLicenses, Assignment, AssignmentResult, AssignmentState
from domain.license import Sku
from states.assignment import event_leading_to, initial_record
from tests.states.transition_table import ASSIGNMENT

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def an_assignment(*states: str) -> Assignment:
    """Return a request with users in these `states`."""
    emails = tuple(f"user-{number}@acme.example" for number, _ in enumerate(states))
    request = AssignLicenses(
        request_id="1", account="acme", sku=Sku.WORKPLACE, emails=emails, by="owner@acme.example"
    )
    return initial_record(request, at=NOON).model_copy(update={"results": results(*states)})


def results(*states: str) -> tuple[AssignmentResult, ...]:
    return tuple(
        AssignmentResult(email=f"user-{number}@acme.example", state=AssignmentState(state))
        for number, state in enumerate(states)
    )


@pytest.mark.parametrize(
    ("state", "event"),
    [("assigned", "assign"), ("waiting", "wait"), ("refused", "refuse"), ("released", "release")],
)
def test_one_event_leads_to_each_state(state: str, event: str) -> None:
    """ASG-5: a result names the state, and so determines the event."""
    assert event_leading_to(AssignmentState(state)) == event
    assert {e for e, target in _targets() if target == state} == {event}


def _targets() -> list[tuple[str, str]]:
    """Return each event with the other state that it leads to."""
    return [
        (event, target)
        for state, moves in ASSIGNMENT.moves.items()
        for event, target in moves.items()
        if target != state
    ]


@pytest.mark.parametrize(
    ("users", "request_state"),
    [
        (("requested", "requested"), "requested"),
        (("assigned", "waiting"), "waiting"),
        (("refused", "waiting"), "waiting"),
        (("released", "waiting"), "waiting"),
        (("assigned", "refused"), "assigned"),
        (("assigned", "released"), "assigned"),
        (("released", "refused"), "released"),
        (("refused", "refused"), "refused"),
    ],
)
def test_a_request_has_the_state_of_its_least_settled_user(
    users: tuple[str, ...], request_state: str
) -> None:
    """ASG-5: a request waits as long as one user waits, and is refused only if all are."""
    assert an_assignment(*users).state == request_state


def test_a_request_counts_its_users_by_state() -> None:
    """ASG-5."""
    assert an_assignment("assigned", "assigned", "waiting").counts == "1 waiting, 2 assigned"
