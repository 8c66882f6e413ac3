"""The drawing of one user's assignment, event by event."""

from datetime import UTC, datetime

import pytest
from statemachine.exceptions import TransitionNotAllowed

from domain.assignment import AssignLicenses, Assignment, AssignmentResult, AssignmentState
from domain.error import ErrorCode, Refused
from domain.license import Sku
from states.assignment import AssignmentMachine, event_to, opening
from states.lifecycle import after, transitions

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

# ASG: requested → assigned → released, with waiting and refused. What is not here is refused.
DRAWING = {
    "requested": {"assign": "assigned", "wait": "waiting", "refuse": "refused"},
    "waiting": {"assign": "assigned", "refuse": "refused", "release": "released"},
    "assigned": {"release": "released"},
}
EVENTS = sorted({event for moves in DRAWING.values() for event in moves})
EVERYWHERE = [(state, event) for state in AssignmentState for event in EVENTS]


def an_assignment(*states: str) -> Assignment:
    """A request whose users stand at `states`."""
    emails = tuple(f"user-{number}@acme.example" for number, _ in enumerate(states))
    request = AssignLicenses(
        request_id="1", account="acme", sku=Sku.WORKPLACE, emails=emails, by="owner@acme.example"
    )
    return opening(request, at=NOON).model_copy(update={"results": results(*states)})


def results(*states: str) -> tuple[AssignmentResult, ...]:
    return tuple(
        AssignmentResult(email=f"user-{number}@acme.example", state=AssignmentState(state))
        for number, state in enumerate(states)
    )


@pytest.mark.parametrize(("state", "event"), EVERYWHERE)
def test_every_event_in_every_state_moves_the_machine_as_drawn_or_not_at_all(
    state: AssignmentState, event: str
) -> None:
    machine = AssignmentMachine(start_value=state)
    target = DRAWING.get(state, {}).get(event)
    if target:
        machine.send(event)
        assert machine.current_state_value == target
    else:
        with pytest.raises(TransitionNotAllowed):
            machine.send(event)
        assert machine.current_state_value == state


@pytest.mark.parametrize(("state", "event"), EVERYWHERE)
def test_a_record_foresees_what_the_machine_will_do_or_gives_the_code(
    state: AssignmentState, event: str
) -> None:
    assignment = an_assignment(state)
    target = DRAWING.get(state, {}).get(event)
    if target is None:
        with pytest.raises(Refused) as refused:
            after(AssignmentMachine, assignment, event, at=NOON, by="somebody")
        assert refused.value.code is ErrorCode.CONFLICT
        return
    told = results(target)
    moved = after(AssignmentMachine, assignment, event, at=NOON, by="somebody", results=told)
    assert moved.state == target
    entry = moved.journal[-1]
    assert (entry.event, entry.from_state, entry.to_state) == (event, state, target)


def test_the_machine_and_the_table_of_rules_are_the_same_drawing() -> None:
    assert transitions(AssignmentMachine) == {
        (state, event): target
        for state, moves in DRAWING.items()
        for event, target in moves.items()
    }


def test_every_state_and_event_is_explained() -> None:
    assert set(AssignmentMachine.refusals) == set(AssignmentState)
    assert set(AssignmentMachine.waits_for) == {"requested", "waiting", "assigned"}
    assert set(AssignmentMachine.moved_by) == set(EVENTS)


@pytest.mark.parametrize(
    ("state", "event"),
    [("assigned", "assign"), ("waiting", "wait"), ("refused", "refuse"), ("released", "release")],
)
def test_one_event_leads_to_each_state(state: str, event: str) -> None:
    assert event_to(AssignmentState(state)) == event
    assert {e for e, target in _targets() if target == state} == {event}


def _targets() -> list[tuple[str, str]]:
    return [move for moves in DRAWING.values() for move in moves.items()]


@pytest.mark.parametrize(
    ("users", "request_stands_at"),
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
def test_a_request_stands_where_the_least_settled_of_its_users_stands(
    users: tuple[str, ...], request_stands_at: str
) -> None:
    """ASG-5: it waits as long as anybody waits, and is refused only when all were."""
    assert an_assignment(*users).state == request_stands_at


def test_a_request_tells_how_many_stand_where_and_who_has_just_got_a_license() -> None:
    before = an_assignment("assigned", "waiting", "waiting")
    now = an_assignment("assigned", "assigned", "waiting")
    assert now.counts == "1 waiting, 2 assigned"
    assert [result.email for result in now.assigned_since(before)] == ["user-1@acme.example"]
    assert len(now.settled) == 2
