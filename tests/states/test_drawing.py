"""Every machine is its drawing, event by event; what the drawing lacks has a code."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from statemachine.exceptions import TransitionNotAllowed

from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry
from states.lifecycle import after, transitions
from tests.states.drawing import DRAWINGS, Drawing

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Standing:
    """The least record that follows a machine."""

    state: StrEnum
    journal: tuple[JournalEntry, ...] = ()

    def with_entry(self, entry: JournalEntry, **changes: object) -> "Standing":
        return Standing(type(self.state)(entry.to_state), (*self.journal, entry))


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
def test_every_event_in_every_state_moves_the_machine_as_drawn_or_not_at_all(
    drawing: Drawing, state: StrEnum, event: str
) -> None:
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
def test_a_record_foresees_what_the_machine_will_do_or_gives_the_code(
    drawing: Drawing, state: StrEnum, event: str
) -> None:
    record = Standing(state)
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
def test_the_machine_and_the_table_of_rules_are_the_same_drawing(drawing: Drawing) -> None:
    assert transitions(drawing.machine) == {
        (state, event): target
        for state, moves in drawing.moves.items()
        for event, target in moves.items()
    }


@each_drawing
def test_every_state_and_event_is_explained(drawing: Drawing) -> None:
    assert set(drawing.machine.refusals) == set(drawing.states)
    assert set(drawing.machine.waits_for) == set(drawing.moves)
    assert set(drawing.machine.moved_by) == set(drawing.events)
