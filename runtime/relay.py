"""The relay: carries out the rows of the outbox, each independently of the others (OPS-1)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.outbox import OutboxActivities, SendLetter
from adapters.sql.outbox import SqlOutbox
from clients.fairness import fairness_priority
from clients.invitation_start import InvitationStarter
from domain.address import mask_all
from domain.error import Refused, Unavailable
from domain.outbox import REPLACE, FollowUp, FollowUpKind, retry_after
from runtime.recovery import SWEEPS, Recovery
from runtime.restore_guard import RestoreGuard, as_worker
from workflows import search_attribute
from workflows.options import MAIL, mail_queue

INTERVAL = timedelta(milliseconds=500)
"""Time between two searches for due rows."""

INTERVAL_AFTER_FAILURE = timedelta(seconds=5)

ATTEMPT_TIMEOUT = timedelta(seconds=20)
LEASE = timedelta(seconds=40)
"""Longer than an attempt: no two workers carry out a row at the same time."""

SWEEP_TIMEOUT = timedelta(minutes=30)
"""Longest time for a search for lost workflows, with hundreds of thousands of them."""

MAX_IN_FLIGHT = 50
"""Rows that one worker carries out at the same time."""

LETTER_CHECKED_AFTER = timedelta(hours=1)
"""Time until a letter whose activity was started is started again, unless it still runs."""

MAX_FAILURE_LENGTH = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Relay:
    """Leases due rows and carries them out; a failing row delays no other."""

    client: Client
    outbox: SqlOutbox
    recovery: Recovery
    starter: InvitationStarter
    guard: RestoreGuard
    sweeps: Collection[str] = tuple(SWEEPS)
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def relay_forever(self) -> None:
        """Carry out rows as they become due, until cancelled."""
        try:
            await self._relay_forever()
        finally:
            # Their leases end soon, and another worker carries the rows out.
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _relay_forever(self) -> None:
        await self._add_sweeps()
        while True:
            pause = INTERVAL
            try:
                if await self.guard.waits():
                    pause = INTERVAL_AFTER_FAILURE
                elif await self._start_due() == MAX_IN_FLIGHT:
                    continue
            except Exception:
                # The rows stay in the store for the next round; operators see the error.
                pause = INTERVAL_AFTER_FAILURE
                log.exception("the outbox cannot be read; next attempt in %s", pause)
            await asyncio.sleep(pause.total_seconds())

    async def _add_sweeps(self) -> None:
        while True:
            try:
                return await self.outbox.add_sweeps(self.sweeps)
            except Unavailable:
                log.exception("the outbox cannot be written; next attempt soon")
                await asyncio.sleep(INTERVAL_AFTER_FAILURE.total_seconds())

    async def _start_due(self) -> int:
        """Start a task for each due row; return the number of rows in flight."""
        for row in await self.outbox.lease(MAX_IN_FLIGHT - len(self._running), LEASE):
            task = asyncio.create_task(self.carry_out(row))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if len(self._running) == MAX_IN_FLIGHT:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            return MAX_IN_FLIGHT
        return len(self._running)

    async def carry_out(self, row: FollowUp) -> None:
        """Carry out a leased row, then delete it or make it due again."""
        try:
            with as_worker():
                await self._carry_out(row)
        except Exception:
            # The row is due again when its lease ends.
            log.exception("the result of %s %s cannot be written", row.kind, row.workflow_id)

    async def _carry_out(self, row: FollowUp) -> None:
        search = SWEEPS.get(row.key or "")
        if search:
            # A search may take longer than a lease; meanwhile no other worker repeats it.
            await self.outbox.postpone(row, search)
        limit = SWEEP_TIMEOUT if search else ATTEMPT_TIMEOUT
        try:
            async with asyncio.timeout(limit.total_seconds()):
                again_after = await self._steps[row.kind](row)
        except Exception as failure:
            if isinstance(failure, Refused) and not search:
                log.error("%s %s is given up: %s", row.kind, row.workflow_id, failure.message)
                await self.outbox.give_up(row, failure.message)
                return
            delay, reason = search or retry_after(row.attempts), _reason(failure)
            log.warning("%s %s fails, retry in %s: %s", row.kind, row.workflow_id, delay, reason)
            await self.outbox.postpone(row, delay, failure=reason)
        else:
            if again_after is None:
                await self.outbox.done(row)
            else:
                await self.outbox.postpone(row, again_after)

    @property
    def _steps(self) -> Mapping[FollowUpKind, Callable[[FollowUp], Awaitable[timedelta | None]]]:
        """The step of each kind; it returns the delay of the next attempt, None when done."""
        return {
            FollowUpKind.SIGNAL: self._signal,
            FollowUpKind.START: self._start,
            FollowUpKind.CLAIM: self._settle_claim,
            FollowUpKind.LETTER: self._start_letter,
            FollowUpKind.SWEEP: self.recovery.sweep,
        }

    async def _signal(self, row: FollowUp) -> None:
        """Send the signal. A closed workflow needs none: its record is read when it starts."""
        # A later run with the same id may get the signal: an additional recheck is harmless.
        handle = self.client.get_workflow_handle(row.workflow_id)
        assert row.signal, "the row has no signal"
        try:
            await handle.signal(row.signal)
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _start(self, row: FollowUp) -> None:
        if row.key and row.key.startswith(REPLACE):
            await self.recovery.replace(row.workflow_id)
        else:
            await self.recovery.start(row.workflow_id)

    async def _settle_claim(self, row: FollowUp) -> None:
        invitation_id = (row.key or "").removeprefix("claim/")
        await self.starter.settle_claim(row.workflow_id, invitation_id)

    async def _start_letter(self, row: FollowUp) -> timedelta:
        """Start the activity that sends the letter, unless it runs."""
        letter = row.letter
        assert letter and row.key, "the row has no letter"
        try:
            await self.client.start_activity_method(
                OutboxActivities.send_letter,
                SendLetter(letter_id=row.key),
                id=f"letter/{row.key}",
                task_queue=mail_queue(self.starter.temporal.task_queue),
                start_to_close_timeout=MAIL["start_to_close_timeout"],
                retry_policy=MAIL["retry_policy"],
                search_attributes=TypedSearchAttributes(
                    [SearchAttributePair(search_attribute.ACCOUNT_ID, row.account)]
                ),
                summary=f"{letter.event} to {letter.to}",
                priority=fairness_priority(row.account),
            )
        except ActivityAlreadyStartedError:
            log.info("letter %s is still being sent", letter.event)
        return LETTER_CHECKED_AFTER


def _reason(failure: Exception) -> str:
    return mask_all(str(failure))[:MAX_FAILURE_LENGTH] or type(failure).__name__
