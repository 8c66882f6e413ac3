"""The one mechanism that binds a machine to a running workflow."""

from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Generic

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from domain.address import mask_all
    from domain.error import Refused
    from domain.journal import JournalEntry
    from states.lifecycle import (
        AnyRecord,
        LifecycleMachine,
        after,
        allowed,
        refusal,
        require,
        transitions,
    )

LONGEST_NOTE = 200
"""How many characters of a note Current Details show."""

RECENT_ENTRIES = 8
"""How much of the journal Current Details show; they are limited to 20 kB."""


class Lifecycle(Generic[AnyRecord]):
    """A machine, the record that follows it, and their publication.

    Taking a record that has moved on publishes it: journal, search attributes (at most
    one upsert, in a workflow task that happens anyway) and Current Details. No workflow
    does any of it by hand.
    """

    def __init__(
        self,
        machine: type[LifecycleMachine],
        record: AnyRecord,
        *,
        search_attributes: Callable[[AnyRecord], TypedSearchAttributes],
        facts: Callable[[AnyRecord], Mapping[str, str]],
    ) -> None:
        """Begin with `record`, whose search attributes were given at start, for nothing."""
        self.record = record
        self._declaration = machine
        self._search_attributes = search_attributes
        self._facts = facts
        self._describe()

    def require(self, event: str) -> None:
        """Raise Refused unless the drawing allows `event` now; for validators."""
        require(self._declaration, self.record.state, event)

    def require_allowed(self, update: str) -> None:
        """Raise Refused unless an outsider may send `update` now; for validators."""
        if update not in allowed(self._declaration, self.record.state.value):
            raise self.refused()

    def refused(self) -> Refused:
        """The declared refusal of whoever asks for what the present state lacks."""
        return refusal(self._declaration, self.record.state)

    def foresee(
        self, event: str, *, by: str, note: str | None = None, **changes: object
    ) -> AnyRecord:
        """The record as it will stand after `event`; nothing is taken yet.

        Raises Refused when the drawing lacks the event here.
        """
        return after(
            self._declaration,
            self.record,
            event,
            at=workflow.now(),
            by=by,
            note=note,
            **changes,
        )

    def take(self, record: AnyRecord) -> None:
        """Let the machine follow `record`, by the entries that its journal has more.

        Raises TransitionNotAllowed when the drawing lacks one: two truths about one
        lifecycle, which must be seen rather than smoothed over.
        """
        if news := record.journal[len(self.record.journal) :]:
            # Built for the moment: kept, it would weigh more than all else in a cached run.
            # Given where it stands, it need not enter that state first.
            machine = self._declaration(SimpleNamespace(state=self.record.state))
            for entry in news:
                machine.send(entry.event)
        before, self.record = self.record, record
        self._publish(self._search_attributes(before), self._search_attributes(record))

    def _publish(self, before: TypedSearchAttributes, now: TypedSearchAttributes) -> None:
        if now != before:
            names, unchanged = {pair.key.name for pair in now}, list(before)
            workflow.upsert_search_attributes(
                [
                    *(pair.key.value_set(pair.value) for pair in now if pair not in unchanged),
                    *(pair.key.value_unset() for pair in before if pair.key.name not in names),
                ]
            )
        self._describe()

    def _describe(self) -> None:
        workflow.set_current_details(
            current_details(self._declaration, self.record, self._facts(self.record))
        )


def current_details(
    machine: type[LifecycleMachine], record: AnyRecord, facts: Mapping[str, str]
) -> str:
    """What an operations person reads in the UI, in Markdown.

    State, since when, what it waits for, who can move it on, and the last of the journal.
    """
    state = record.state
    rows = {
        "Waiting for": machine.waits_for.get(state, "nothing: it has ended"),
        **facts,
        "Moved on by": _moved_on_by(machine, state.value),
    }
    entered = next(entry for entry in reversed(record.journal) if entry.from_state != state)
    since = f"{entered.at:%Y-%m-%d %H:%M:%S} UTC"
    return "\n".join(
        (
            f"**{state.value}** since {since}",
            "",
            # The UI draws the cells of a table without any room between them.
            *(f"- **{name}:** {text}" for name, text in rows.items() if text),
            "",
            "Journal (UTC):",
            "",
            *(_line(entry) for entry in record.journal[-RECENT_ENTRIES:]),
        )
    )


def refusal_in(failed: ActivityError) -> Refused:
    """The rule that said no inside an activity; anything else is passed on as it is."""
    if isinstance(failed.cause, Refused):
        return failed.cause
    raise failed


@cache
def _moved_on_by(machine: type[LifecycleMachine], state: str) -> str:
    """Who can move it on from `state`, and by which events."""
    movers = dict[str, list[str]]()
    for origin, event in transitions(machine):
        if origin == state:
            movers.setdefault(machine.moved_by[event], []).append(event)
    return "; ".join(f"{who}: {', '.join(events)}" for who, events in movers.items())


def _line(entry: JournalEntry) -> str:
    """An entry of the journal; people typed its note."""
    note = f": {mask_all(entry.note)[:LONGEST_NOTE]}" if entry.note else ""
    moved = f"`{entry.event}` → `{entry.to_state}` by {mask_all(entry.by)}"
    return f"- {entry.at:%Y-%m-%d %H:%M:%S} {moved}{note}"
