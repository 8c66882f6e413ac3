"""What every machine declares beside its states and events, and how a record follows it."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import ClassVar, Protocol, Self, TypeVar

from pydantic import AwareDatetime
from statemachine import StateMachine

from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry


class LifecycleMachine(StateMachine):
    """A drawing, with the words that people read beside it.

    `StateMachine` rather than its base: what the drawing lacks is an error, never
    swallowed. Instances stay bare, without callbacks or listeners: whoever takes an
    event publishes it (`workflows/lifecycle.py`).
    """

    waits_for: ClassVar[Mapping[StrEnum, str]] = {}
    """For each state that lasts: what it waits for."""
    moved_by: ClassVar[Mapping[str, str]] = {}
    """For each event: who can make it happen."""
    refusals: ClassVar[Mapping[StrEnum, ErrorCode]] = {}
    """For each state: the code that answers an event which the drawing lacks there."""
    updates: ClassVar[tuple[str, ...]] = ()
    """The events that an outsider may ask for, by the update of the same name."""
    looks: ClassVar[Mapping[str, frozenset[StrEnum]]] = {}
    """For each update that moves nothing: the states in which it may be sent."""


class Record(Protocol):
    """What is known of one lifecycle: its state and how it came there."""

    @property
    def state(self) -> StrEnum:
        """Where it stands."""

    @property
    def journal(self) -> tuple[JournalEntry, ...]:
        """How it came there."""

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """The record after `entry`."""


AnyRecord = TypeVar("AnyRecord", bound=Record)


def after(
    machine: type[LifecycleMachine],
    record: AnyRecord,
    event: str,
    *,
    at: AwareDatetime,
    by: str,
    note: str | None = None,
    **changes: object,
) -> AnyRecord:
    """The record as it will stand once `event` has been taken; nothing is taken yet.

    Raises Refused, with the code that the machine declares, when the drawing lacks it.
    """
    require(machine, record.state, event)
    to_state = transitions(machine)[record.state.value, event]
    entry = JournalEntry(
        at=at, event=event, from_state=record.state.value, to_state=to_state, by=by, note=note
    )
    return record.with_entry(entry, allowed=allowed(machine, to_state), **changes)


def require(machine: type[LifecycleMachine], state: StrEnum, event: str) -> None:
    """Raise Refused, with the declared code, unless `event` is possible in `state`."""
    if (state.value, event) not in transitions(machine):
        raise refusal(machine, state)


def refusal(machine: type[LifecycleMachine], state: StrEnum) -> Refused:
    """The declared answer to whoever asks for what `state` lacks."""
    return Refused(machine.refusals[state], f"It is {state.value}, which does not allow this.")


@cache
def allowed(machine: type[LifecycleMachine], state: str) -> tuple[str, ...]:
    """The updates that an outsider may send in `state`."""
    moves = (event for event in machine.updates if (state, event) in transitions(machine))
    looks = (update for update, states in machine.looks.items() if state in states)
    return (*moves, *looks)


@cache
def transitions(machine: type[LifecycleMachine]) -> Mapping[tuple[str, str], str]:
    """The drawing as a table: (state, event) → the state it leads to."""
    return {
        (state.value.value, event): transition.target.value.value
        for state in machine.states
        for transition in state.transitions
        for event in transition.event.split()
    }
