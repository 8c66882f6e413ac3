"""The mechanism that binds a machine to a running workflow."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Generic

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from domain.address import mask_all
    from domain.error import ErrorCode, Refused
    from domain.journal import JournalEntry
    from domain.text import code_span
    from states.lifecycle import (
        AnyRecord,
        LifecycleMachine,
        after,
        allowed,
        refusal,
        require,
        who_can_act,
    )

MAX_NOTE_LENGTH = 200
"""Characters of a note that Current Details show."""

FIRST_RETRY, LAST_RETRY = timedelta(minutes=1), timedelta(hours=1)
"""Intervals at which a step that the store refuses is repeated."""

RECENT_ENTRIES = 8
"""Journal entries that Current Details show; these are limited to 20 kB."""


class Lifecycle(Generic[AnyRecord]):
    """A machine, its record, and their publication.

    Applying a record publishes it: journal, search attributes (at most one upsert, in a
    workflow task that happens anyway) and Current Details. No workflow does that by hand.
    """

    __slots__ = ("_facts", "_machine", "_search_attributes", "record")

    def __init__(
        self,
        machine: type[LifecycleMachine],
        record: AnyRecord,
        *,
        search_attributes: Callable[[AnyRecord], TypedSearchAttributes],
        facts: Callable[[AnyRecord], Mapping[str, str]],
    ) -> None:
        """Start with `record`; its search attributes were set when the workflow was started."""
        self.record = record
        self._machine = machine
        self._search_attributes = search_attributes
        self._facts = facts
        self.publish_details()

    def require(self, event: str) -> None:
        """Raise Refused unless the machine allows `event` now. For validators."""
        require(self._machine, self.record, event)

    def require_allowed(self, update: str) -> None:
        """Raise Refused unless callers may send `update` now. For validators."""
        if update not in allowed(self._machine, self.record.state.value):
            raise self.refusal(update)

    def refusal(self, request: str) -> Refused:
        """Return the refusal of a request that the machine declares for the current state."""
        return refusal(self._machine, self.record, request)

    def next_record(
        self, event: str, *, by: str, note: str | None = None, **changes: object
    ) -> AnyRecord:
        """Return the record after `event` without applying it.

        Raises Refused when the machine does not allow the event now.
        """
        return after(
            self._machine,
            self.record,
            event,
            at=workflow.now(),
            by=by,
            note=note,
            **changes,
        )

    def apply(self, record: AnyRecord) -> None:
        """Apply the new journal entries of `record` to the machine, then publish the record.

        A record with another past is that of the store, from which a workflow that was reset
        continues. Raises TransitionNotAllowed when the machine does not allow a new entry: then
        store and workflow disagree, which must be visible.
        """
        known = len(self.record.journal)
        if record.journal[:known] == self.record.journal and (entries := record.journal[known:]):
            # Not kept: a machine takes more memory than the rest of a cached workflow.
            # It is built in the current state, without entering it.
            machine = self._machine(SimpleNamespace(state=self.record.state))
            for entry in entries:
                machine.send(entry.event)
        before, self.record = self.record, record
        self._publish(self._search_attributes(before), self._search_attributes(record))

    async def retried(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step that no caller waits for; repeat it while the store refuses it (OPS-4).

        It is repeated at growing intervals, and when the record has changed. It takes its locks
        itself, so that requests are accepted in between.
        """
        pause = FIRST_RETRY
        while True:
            try:
                return await step()
            except (ActivityError, Refused) as failure:
                refused = failure.cause if isinstance(failure, ActivityError) else failure
                if not is_defect(refused):
                    raise
                workflow.logger.error("a step is retried: %s", refused)
            await self._wait_for_change(pause)
            pause = min(pause * 2, LAST_RETRY)

    async def _wait_for_change(self, at_most: timedelta) -> None:
        record = self.record
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self.record is not record,
                timeout=at_most,
                timeout_summary="Retry a step that would break an invariant",
            )

    def _publish(self, before: TypedSearchAttributes, now: TypedSearchAttributes) -> None:
        if now != before:
            names, unchanged = {pair.key.name for pair in now}, list(before)
            workflow.upsert_search_attributes(
                [
                    *(pair.key.value_set(pair.value) for pair in now if pair not in unchanged),
                    *(pair.key.value_unset() for pair in before if pair.key.name not in names),
                ]
            )
        self.publish_details()

    def publish_details(self) -> None:
        """Publish Current Details; needed only when facts outside of the record change."""
        workflow.set_current_details(
            current_details(self._machine, self.record, self._facts(self.record))
        )


def current_details(
    machine: type[LifecycleMachine], record: AnyRecord, facts: Mapping[str, str]
) -> str:
    """Return the Markdown that the UI shows.

    It has the state and its start, the awaited event, the people who can act, and the last
    journal entries.
    """
    state = record.state
    rows = {
        "Waiting for": machine.waits_for.get(state, "nothing: it has ended"),
        **facts,
        "Who can act": who_can_act(machine, state.value),
    }
    entered = next(entry for entry in reversed(record.journal) if entry.from_state != state)
    since = f"{entered.at:%Y-%m-%d %H:%M:%S} UTC"
    return "\n".join(
        (
            f"**{state.value}** since {since}",
            "",
            # A list, because the UI renders table cells without space between them.
            *(f"- **{name}:** {text}" for name, text in rows.items() if text),
            "",
            "Journal (UTC):",
            "",
            *(_line(entry) for entry in record.journal[-RECENT_ENTRIES:]),
        )
    )


def is_defect(failure: BaseException | None) -> bool:
    """Return whether the store refused a change because it would break an invariant (OPS-4)."""
    return isinstance(failure, Refused) and failure.code is ErrorCode.INVARIANT_BROKEN


def _line(entry: JournalEntry) -> str:
    """Return a journal entry as a list item; author and note are free text, so they are masked."""
    note = f": {code_span(mask_all(entry.note)[:MAX_NOTE_LENGTH])}" if entry.note else ""
    moved = f"`{entry.event}` → `{entry.to_state}` by {code_span(mask_all(entry.by))}"
    return f"- {entry.at:%Y-%m-%d %H:%M:%S} {moved}{note}"
