"""The declarations that all machines share, and the records that events change."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import takewhile
from typing import ClassVar, Protocol, Self, TypeVar

from pydantic import AwareDatetime
from statemachine import StateMachine

from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry, day_of

PEOPLE = frozenset({"the invitee", "an admin", "the buyer", "an operator"})
"""The people who move records; everything else in `moved_by` is a system."""


class LifecycleMachine(StateMachine):
    """A state machine, with the texts and error codes of its states and events.

    `StateMachine` rather than its base class, so that an event which is not allowed raises an
    error. Machines have no callbacks or listeners: `workflows/lifecycle.py` publishes events.
    """

    waits_for: ClassVar[Mapping[StrEnum, str]] = {}
    """The condition that each lasting state waits for."""
    moved_by: ClassVar[Mapping[str, str]] = {}
    """The person or system that causes each event; the person who sends another update."""
    refusals: ClassVar[Mapping[StrEnum, ErrorCode]] = {}
    """The error code of each state, for events that it does not allow."""
    happened: ClassVar[Mapping[StrEnum, str]] = {}
    """The fact that refusals state about each state, before its day: `Accepted`."""
    participles: ClassVar[Mapping[str, str]] = {}
    """The participle of each request, for refusals of it: `declined`."""
    updates: ClassVar[tuple[str, ...]] = ()
    """The events that callers may request with the update of the same name."""
    other_updates: ClassVar[Mapping[str, frozenset[StrEnum]]] = {}
    """The updates that request no event, each with the states in which it may be sent."""


class Record(Protocol):
    """The record of one lifecycle: its state and its journal."""

    @property
    def state(self) -> StrEnum:
        """Return the current state."""

    @property
    def journal(self) -> tuple[JournalEntry, ...]:
        """Return the entries of all events."""

    @property
    def outcome(self) -> str:
        """Return the detail that refusals add to the state: ` with a refund`; perhaps empty."""

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """Return the record after `entry`."""


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
    """Return the record after `event`.

    Raises Refused, with the code that the machine declares, if `event` is not allowed.
    """
    require(machine, record, event)
    to_state = transitions(machine)[record.state.value, event]
    entry = JournalEntry.of(
        event, at=at, from_state=record.state.value, to_state=to_state, by=by, note=note
    )
    return record.with_entry(entry, allowed=allowed(machine, to_state), **changes)


def require(machine: type[LifecycleMachine], record: Record, event: str) -> None:
    """Raise Refused, with the declared code, unless the record's state allows `event`."""
    if (record.state.value, event) not in transitions(machine):
        raise refusal(machine, record, event)


def refusal(machine: type[LifecycleMachine], record: Record, request: str) -> Refused:
    """Return the declared refusal of a request that the record's state does not allow."""
    participle = machine.participles.get(request, "changed")
    message = f"{_what_happened(machine, record)}; it "
    if _may_be_possible_later(machine, record.state, request):
        waits_for = machine.waits_for.get(record.state)
        reason = f", because it waits for {waits_for}" if waits_for else ""
        message += f"cannot be {participle} now{reason}."
    else:
        message += f"can no longer be {participle}."
    return Refused(machine.refusals[record.state], message, state=record.state.value)


def _what_happened(machine: type[LifecycleMachine], record: Record) -> str:
    """Return the fact about the state, with the day since which it holds."""
    happened = {state.value: fact for state, fact in machine.happened.items()}
    fact = happened.get(record.state.value, record.state.value.replace("_", " ").capitalize())
    # `refunding` and `completed` state the same fact as `accepted`, which came first.
    same = takewhile(
        lambda entry: entry.to_state == record.state or happened.get(entry.to_state) == fact,
        reversed(record.journal),
    )
    since = next(reversed(list(same)), None)
    on_day = f" on {day_of(since.at)}" if since else ""
    return f"{fact}{on_day}{record.outcome}"


def _may_be_possible_later(machine: type[LifecycleMachine], state: StrEnum, request: str) -> bool:
    """Return whether a state that allows the request can still be reached."""
    allowing = {origin for origin, event in transitions(machine) if event == request}
    allowing |= {state.value for state in machine.other_updates.get(request, ())}
    reached, found = {state.value}, {state.value}
    while found:
        found = {
            target for (origin, _), target in transitions(machine).items() if origin in found
        } - reached
        reached |= found
    return bool(reached & allowing)


def is_outdated(refused: Refused, journal: Sequence[JournalEntry]) -> bool:
    """Return whether a machine has refused an event in a state that the stored journal has left.

    The store has a transition a moment before the workflow.
    """
    left, now = {entry.to_state for entry in journal[:-1]}, journal[-1].to_state
    state = refused.details.get("state")
    return state != now and state in left


@cache
def allowed(machine: type[LifecycleMachine], state: str) -> tuple[str, ...]:
    """Return the updates that callers may send in `state`."""
    events = (event for event in machine.updates if (state, event) in transitions(machine))
    others = (update for update, states in machine.other_updates.items() if state in states)
    return (*events, *others)


@cache
def who_can_act(machine: type[LifecycleMachine], state: str) -> str:
    """Return the people who can act in `state`, each with the possible actions."""
    events = [event for origin, event in transitions(machine) if origin == state]
    others = [update for update, states in machine.other_updates.items() if state in states]
    actions = dict[str, list[str]]()
    for action in (*events, *others):
        person = machine.moved_by.get(action, "").partition(",")[0]
        if person in PEOPLE:
            actions.setdefault(person, []).append(action.replace("_", " "))
    return ", ".join(f"{person} ({', '.join(listed)})" for person, listed in actions.items())


@cache
def transitions(machine: type[LifecycleMachine]) -> Mapping[tuple[str, str], str]:
    """Return the transitions as a table: (state, event) → next state."""
    return {
        (state.value.value, event): transition.target.value.value
        for state in machine.states
        for transition in state.transitions
        for event in transition.event.split()
    }
