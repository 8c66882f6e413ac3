"""Tests of each machine against the table of its rules."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from statemachine.exceptions import TransitionNotAllowed

from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry
from states.lifecycle import after, transitions, who_can_act
from tests.states.transition_table import TABLES, TransitionTable

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class PlainRecord:
    """A minimal record for any machine."""

    state: StrEnum
    journal: tuple[JournalEntry, ...] = ()
    outcome: str = ""

    def with_entry(self, entry: JournalEntry, **changes: object) -> "PlainRecord":
        return PlainRecord(type(self.state)(entry.to_state), (*self.journal, entry))


each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.machine.__name__)
every_event_in_every_state = pytest.mark.parametrize(
    ("table", "state", "event"),
    [
        pytest.param(table, state, event, id=f"{table.machine.__name__}-{state}-{event}")
        for table in TABLES
        for state in table.states
        for event in table.events
    ],
)


@every_event_in_every_state
def test_every_event_in_every_state_follows_the_table_or_raises(
    table: TransitionTable, state: StrEnum, event: str
) -> None:
    """INV, REF, ADD, ASG: a refused event leaves the state unchanged."""
    machine = table.machine(start_value=state)
    target = table.moves.get(state, {}).get(event)
    if target:
        machine.send(event)
        assert machine.current_state_value == target
    else:
        with pytest.raises(TransitionNotAllowed):
            machine.send(event)
        assert machine.current_state_value == state


@every_event_in_every_state
def test_the_next_record_equals_the_machine_or_is_refused_with_the_code(
    table: TransitionTable, state: StrEnum, event: str
) -> None:
    """INV-7, INV-10: the refusal of an ended invitation is the code of its end."""
    record = PlainRecord(state)
    target = table.moves.get(state, {}).get(event)
    if target is None:
        with pytest.raises(Refused) as refused:
            after(table.machine, record, event, at=NOON, by="operator")
        assert refused.value.code is table.codes.get(state, ErrorCode.CONFLICT)
        return
    moved = after(table.machine, record, event, at=NOON, by="operator")
    assert moved.state == target
    [entry] = moved.journal
    assert (entry.event, entry.from_state, entry.to_state) == (event, state, target)


@each_table
def test_the_machine_has_the_transitions_of_the_table_and_no_others(table: TransitionTable) -> None:
    """INV, REF, ADD, ASG: the table lists the machine of each rule chapter."""
    assert transitions(table.machine) == {
        (state, event): target
        for state, moves in table.moves.items()
        for event, target in moves.items()
    }


@each_table
def test_every_state_and_event_is_explained(table: TransitionTable) -> None:
    """Operators read in the UI the wait of each state and the party of each event."""
    assert set(table.machine.refusals) == set(table.states)
    assert set(table.machine.waits_for) == set(table.moves)
    other_updates = set(table.machine.other_updates) - set(table.events)
    assert set(table.machine.moved_by) - other_updates == set(table.events)


def test_details_name_the_people_who_can_act() -> None:
    """Operators read everyday words, without the clock and other systems."""
    acts = {
        table.machine.__name__.removesuffix("Machine"): {
            str(state): text
            for state in table.states
            if (text := who_can_act(table.machine, state.value))
        }
        for table in TABLES
    }
    answers = "the invitee (accept, decline, recheck), an admin (resend, revoke)"
    repairs = "an operator (retry move)"
    changes = "the buyer (change quantity, cancel)"
    assert acts == {
        "Invitation": {
            "announced": "an admin (revoke)",
            "sent": "an admin (revoke)",
            "pending": answers,
            "blocked": answers,
            "accepted": repairs,
            "refunding": repairs,
            "transferring": repairs,
        },
        "Refund": {
            "overdue": "an operator (close)",
            "failed": "an operator (retry, convert, close)",
        },
        "Order": {
            "review": "the buyer (confirm, cancel)",
            "placed": "the buyer (cancel)",
            "active": changes,
            "payment_failed": "the buyer (cancel)",
        },
        "Assignment": {
            "waiting": "an admin (release)",
            "assigned": "an admin (release)",
        },
    }
