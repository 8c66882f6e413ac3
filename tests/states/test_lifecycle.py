"""Every machine equals the table of rules; an event that is not allowed has a refusal code."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from statemachine.exceptions import TransitionNotAllowed

from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry
from states.lifecycle import after, transitions
from tests.states.transition_table import DRAWINGS, Drawing

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class PlainRecord:
    """A minimal record for any machine."""

    state: StrEnum
    journal: tuple[JournalEntry, ...] = ()

    def with_entry(self, entry: JournalEntry, **changes: object) -> "PlainRecord":
        return PlainRecord(type(self.state)(entry.to_state), (*self.journal, entry))


each_drawing = pytest.mark.parametrize(
    "drawing", DRAWINGS, ids=lambda drawing: drawing.machine.__name__
)
every_event_in_every_state = pytest.mark.parametrize(
    ("drawing", "state", "event"),
    [
        pytest.param(drawing, state, event, id=f"{drawing.machine.__name__}-{state}-{event}")
        for drawing in DRAWINGS
        for state in drawing.states
        for event in drawing.events
    ],
)


@every_event_in_every_state
def test_every_event_in_every_state_follows_the_table_or_raises(
    drawing: Drawing, state: StrEnum, event: str
) -> None:
    """INV, REF, ADD, ASG: a refused event leaves the state unchanged."""
    machine = drawing.machine(start_value=state)
    target = drawing.moves.get(state, {}).get(event)
    if target:
        machine.send(event)
        assert machine.current_state_value == target
    else:
        with pytest.raises(TransitionNotAllowed):
            machine.send(event)
        assert machine.current_state_value == state


@every_event_in_every_state
def test_the_next_record_equals_the_machine_or_is_refused_with_the_code(
    drawing: Drawing, state: StrEnum, event: str
) -> None:
    """INV-7, INV-10: the refusal of an ended invitation is the code of its end."""
    record = PlainRecord(state)
    target = drawing.moves.get(state, {}).get(event)
    if target is None:
        with pytest.raises(Refused) as refused:
            after(drawing.machine, record, event, at=NOON, by="somebody")
        assert refused.value.code is drawing.codes.get(state, ErrorCode.CONFLICT)
        return
    moved = after(drawing.machine, record, event, at=NOON, by="somebody")
    assert moved.state == target
    [entry] = moved.journal
    assert (entry.event, entry.from_state, entry.to_state) == (event, state, target)


@each_drawing
def test_the_machine_has_the_transitions_of_the_table_and_no_others(drawing: Drawing) -> None:
    """INV, REF, ADD, ASG: the table lists the machine of each rule chapter."""
    assert transitions(drawing.machine) == {
        (state, event): target
        for state, moves in drawing.moves.items()
        for event, target in moves.items()
    }


@each_drawing
def test_every_state_and_event_is_explained(drawing: Drawing) -> None:
    """Operators read in the UI alone what a state waits for and who can act."""
    assert set(drawing.machine.refusals) == set(drawing.states)
    assert set(drawing.machine.waits_for) == set(drawing.moves)
    assert set(drawing.machine.moved_by) == set(drawing.events)
