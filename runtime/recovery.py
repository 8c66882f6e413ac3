"""Recovery of records whose workflow is lost: ended from outside, failed or never started."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from clients.invitation_start import INVITATION_ID
from domain.error import ErrorCode, Refused
from domain.invitation import StoredInvitation
from domain.journal import ENGINE
from domain.outbox import DIRECTORY_CHANGED, FollowUp
from domain.refund import LATE_LOOKUP_PERIOD
from runtime.clients import Clients
from runtime.visibility import on_queue

RESTART_AFTER = timedelta(minutes=1)
"""Time from the close of a workflow to its restart.

An invitation restarts its own refund sooner.
"""

CLOSED: Final = "closed"
EVERYTHING: Final = "everything"
RETENTION: Final = "retention"
SWEEPS: Final[Mapping[str, timedelta]] = {
    CLOSED: timedelta(seconds=30),
    EVERYTHING: timedelta(days=1),
    RETENTION: timedelta(days=1),
}
"""The repeated searches, with their intervals: for lost workflows, and for people to forget."""

FORGET_FOR: Final = timedelta(minutes=20)
"""The time after which the people who are left wait for the next search."""
FORGOTTEN_AGAIN_AFTER: Final = timedelta(minutes=10)
"""The time to that search."""

REPLACED: Final = "It knew a person who was forgotten; it continues from its record."
"""The reason of a termination."""

OVERLAP: Final = timedelta(minutes=2)
"""Visibility may show a closed workflow this much later."""

FAILED_AT_ONCE: Final = timedelta(minutes=10)
"""A workflow that fails sooner after its start would fail again: an operator has to see it."""

_CLOSED: Final = "ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')"


_ENDED_BY_A_PERSON: Final = frozenset(
    {WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.CANCELED}
)


@dataclass(frozen=True)
class Recovery:
    """Finds lost workflows, and restarts each from its record in the store.

    A workflow that ends by itself writes its end to the store first. A record that has not ended
    and whose workflow is closed was therefore ended from outside, or its workflow failed.
    """

    clients: Clients
    restart_after: timedelta = RESTART_AFTER

    # The search.

    async def sweep(self, row: FollowUp) -> timedelta:
        """Insert a row for each workflow that may be lost; return the time to the next search."""
        started, left = datetime.now(UTC), False
        if row.key == EVERYTHING:
            await self._find_all_lost()
        elif row.key == RETENTION:
            left = await self._forget_people(started)
        else:
            await self._find_closed(row.at - OVERLAP)
            await self.clients.invitation_starter.queue_abandoned_claims()
        await self.clients.store.outbox.move_watermark(row, started)
        return FORGOTTEN_AGAIN_AFTER if left else SWEEPS[row.key or CLOSED]

    async def _forget_people(self, now: datetime) -> bool:
        """Forget the people whose records ended before the retention period (OPS-9).

        Return whether some are left for lack of time.
        """
        days = self.clients.settings.retention_days
        if days is None:
            return False
        people, clock = self.clients.store.people, asyncio.get_running_loop()
        until = clock.time() + FORGET_FOR.total_seconds()
        for email in await people.forgettable(now - timedelta(days=days)):
            begun = clock.time()
            if begun > until:
                return True
            # Some are still owed money.
            with suppress(Refused):
                await people.forget(email, now, by=ENGINE)
            # On SQLite nobody else has written meanwhile.
            await asyncio.sleep(clock.time() - begun)
        return False

    async def _find_closed(self, since: datetime) -> None:
        """Find the workflows that were closed abnormally since the last search."""
        client = await self.clients.connect()
        query = self._on_queue(f"{_CLOSED} AND CloseTime >= '{since:%Y-%m-%dT%H:%M:%SZ}'")
        closed = [
            execution.id
            async for execution in client.list_workflows(query)
            if self._starts_of(execution.id)
        ]
        await self.clients.store.outbox.add_starts(closed, after=self.restart_after)

    async def _find_all_lost(self) -> None:
        """Find the unfinished records without a running workflow."""
        client = await self.clients.connect()
        listed = client.list_workflows(self._on_queue("ExecutionStatus = 'Running'"))
        running = {execution.id async for execution in listed}
        async for page in self.clients.store.unfinished_workflows():
            lost = [workflow_id for workflow_id in page if workflow_id not in running]
            await self.clients.store.outbox.add_starts(lost, after=self.restart_after)

    def _on_queue(self, query: str) -> str:
        return on_queue(self.clients.settings.task_queue, query)

    # The restart.

    async def start(self, workflow_id: str) -> None:
        """Start the workflow of an unfinished record, unless it runs.

        An unanswered invitation that was ended from outside is revoked, and its seat is free.
        Raises Refused if the workflow failed soon after its start.
        """
        last = await self._last_run(workflow_id)
        if last and last.status is WorkflowExecutionStatus.RUNNING:
            if workflow_id.startswith("invitation/"):
                await self._adopt(last)
            return
        if start := self._starts_of(workflow_id):
            await start(workflow_id, last)

    async def replace(self, workflow_id: str) -> None:
        """End the workflow, and restart it from its record unless that has ended (OPS-9)."""
        client = await self.clients.connect()
        try:
            await client.get_workflow_handle(workflow_id).terminate(REPLACED)
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
        if not workflow_id.startswith("invitation/"):
            await self.start(workflow_id)
            return
        stored = await self.clients.store.invitations.live(workflow_id)
        if stored and stored.started:
            await self._restart_invitation(stored)

    async def _adopt(self, running: WorkflowExecutionDescription) -> None:
        """Bind an unanswered invitation to its running workflow, and make that read the store.

        It may have been restarted without being bound, or lag behind its record after a reset.
        """
        stored = await self.clients.store.invitations.live(running.id)
        if stored is None or not stored.invitation.state.unanswered:
            return
        run_id = _first_run(running)
        if run_id != stored.invitation.run_id:
            claim = await running.memo_value(INVITATION_ID, default=None)
            if claim == stored.invitation_id:
                await self.clients.store.invitations.rebind(stored.invitation_id, run_id)
        client = await self.clients.connect()
        await client.get_workflow_handle(running.id).signal(DIRECTORY_CHANGED)

    def _starts_of(
        self, workflow_id: str
    ) -> Callable[[str, WorkflowExecutionDescription | None], Awaitable[None]] | None:
        """Return the restart for this kind of workflow; None for those without a record."""
        return {
            "invitation": self._start_invitation,
            "refund": self._start_refund,
            "watch": self._start_watch,
            "addon": self._start_order,
            "assignment": self._start_assignment,
            "bulk-invite": self._start_batch,
        }.get(workflow_id.partition("/")[0])

    async def _last_run(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        """Return the last run; None if Temporal has none."""
        client = await self.clients.connect()
        try:
            return await client.get_workflow_handle(workflow_id).describe()
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    async def _start_invitation(
        self, workflow_id: str, closed: WorkflowExecutionDescription | None
    ) -> None:
        stored = await self.clients.store.invitations.live(workflow_id)
        if stored is None or not stored.started:
            return
        own = closed is not None and _first_run(closed) == stored.invitation.run_id
        if own and stored.invitation.state.unanswered:
            note = "Its workflow was ended from outside."
            await self.clients.invitations.revoke_in_store(stored, by=ENGINE, note=note)
            return
        if own:
            _require_restartable(closed)
        await self._restart_invitation(stored)

    async def _restart_invitation(self, stored: StoredInvitation) -> None:
        settlement, refund = stored.invitation.settlement, None
        if settlement and settlement.refund_id:
            refund = await self.clients.store.refunds.plan_of(settlement.refund_id)
        # Another worker may have been faster.
        with suppress(WorkflowAlreadyStartedError):
            await self.clients.invitations.restart(stored.ordered, stored.invitation, refund)

    async def _start_refund(
        self, workflow_id: str, closed: WorkflowExecutionDescription | None
    ) -> None:
        stored = await self.clients.store.refunds.latest(workflow_id.removeprefix("refund/"))
        if not stored.state.finished:
            _require_restartable(closed)
            await self.clients.refunds.restart(stored)

    async def _start_watch(
        self, workflow_id: str, closed: WorkflowExecutionDescription | None
    ) -> None:
        stored = await self.clients.store.refunds.latest(workflow_id.removeprefix("watch/"))
        # A watch that was completed has made its last look-up.
        completed = closed and closed.status is WorkflowExecutionStatus.COMPLETED
        ended = stored.entered_at + LATE_LOOKUP_PERIOD <= datetime.now(UTC)
        if stored.may_arrive_late and not completed and not ended:
            _require_restartable(closed)
            await self.clients.refunds.restart_watch(stored)

    async def _start_order(
        self, workflow_id: str, closed: WorkflowExecutionDescription | None
    ) -> None:
        stored = await self.clients.store.orders.find(workflow_id.rpartition("/")[2])
        # Money of a pending payment is found even if the account was closed meanwhile.
        if stored and (stored.pending or not stored.state.final):
            _require_restartable(closed)
            await self.clients.orders.restart(stored)

    async def _start_assignment(
        self, workflow_id: str, closed: WorkflowExecutionDescription | None
    ) -> None:
        request = await self.clients.store.assignments.waiting_request(
            workflow_id.rpartition("/")[2]
        )
        if request:
            _require_restartable(closed)
            await self.clients.assignments.restart(request)

    async def _start_batch(
        self, workflow_id: str, closed: WorkflowExecutionDescription | None
    ) -> None:
        # One that a person has ended continues when the command is repeated.
        if closed is None or closed.status not in _ENDED_BY_A_PERSON:
            _require_restartable(closed)
            await self.clients.batches.restart(workflow_id.removeprefix("bulk-invite/"))


def _first_run(described: WorkflowExecutionDescription) -> str:
    """Return the id of the first run of the chain."""
    return described.raw_description.workflow_execution_info.first_run_id


def _require_restartable(closed: WorkflowExecutionDescription | None) -> None:
    """Raise Refused if the workflow failed soon after its start: it would fail again."""
    if closed is None or closed.status is not WorkflowExecutionStatus.FAILED:
        return
    assert closed.close_time, "a failed workflow has a close time"
    if closed.close_time - closed.start_time < FAILED_AT_ONCE:
        raise Refused(
            ErrorCode.INVARIANT_BROKEN,
            "The workflow failed soon after its start; the Temporal UI shows why.",
        )
