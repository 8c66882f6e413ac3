"""The client of reminders: the schedule, and the runs that it starts."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.change import SqlChanges
from adapters.sql.invitations.reminder import LAST_RUNS, SqlReminders
from clients.workflow_call import (
    START_TIMEOUT,
    TemporalAccess,
    no_worker_answer,
    temporal_errors_as_unavailable,
    workflow_failed,
)
from domain.author import THEMSELVES, Author
from domain.error import ErrorCode, Refused
from domain.journal import OPERATOR
from domain.period import format_duration
from domain.policy import Policy
from domain.reminder import (
    SCHEDULE,
    ReminderRun,
    Reminders,
    ReminderSchedule,
    RemindStale,
    RunFailure,
)
from workflows.reminder import ReminderWorkflow

SCHEDULE_ID: Final = "stale-invitation-reminders"
JITTER: Final = 0.01
"""Fraction of the interval by which a run may start late: 15 minutes of a day."""
SHORTEST_CATCH_UP: Final = timedelta(seconds=10)
"""Shortest catch-up window that the server accepts."""

LONGEST_RUN: Final = timedelta(hours=12)
"""Time after which a run ends, so that a stuck one does not make the schedule skip the next.

Nothing is lost: the next run finds the invitations and inviters that this one has not.
"""
SHARE_OF_INTERVAL: Final = 0.9
"""Part of a shorter interval after which a scheduled run ends."""
SHORTEST_RUN: Final = timedelta(minutes=10)
"""Time that a run has even if its schedule's interval is shorter; runs are skipped meanwhile."""

_FAILURES: Final[Mapping[WorkflowExecutionStatus | None, RunFailure]] = {
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "canceled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
}


@dataclass(frozen=True)
class ReminderClient:
    """Installs the schedule, starts runs, and reads their results.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    reminders: SqlReminders
    policy: Policy
    changes: SqlChanges
    author: Author = THEMSELVES

    # The schedule.

    async def install(self, every: timedelta) -> ReminderSchedule:
        """Install the schedule, or change its interval; a paused schedule stays paused."""
        client = await self.temporal.connect()
        schedule = self._schedule(every)
        with temporal_errors_as_unavailable():
            try:
                await client.create_schedule(SCHEDULE_ID, schedule, rpc_timeout=START_TIMEOUT)
            except ScheduleAlreadyRunningError:

                def changed(installed: ScheduleUpdateInput) -> ScheduleUpdate:
                    state = installed.description.schedule.state
                    return ScheduleUpdate(replace(schedule, state=state))

                handle = client.get_schedule_handle(SCHEDULE_ID)
                await handle.update(changed, rpc_timeout=START_TIMEOUT)
        await self._record("reminders install")
        return await self._installed()

    def _schedule(self, every: timedelta) -> Schedule:
        return Schedule(
            action=ScheduleActionStartWorkflow(
                ReminderWorkflow.run,
                RemindStale(by=SCHEDULE, quiet_for=self.policy.remind_after),
                id=SCHEDULE_ID,
                task_queue=self.temporal.task_queue,
                execution_timeout=max(min(LONGEST_RUN, every * SHARE_OF_INTERVAL), SHORTEST_RUN),
                static_summary="Remind invitees who have not answered",
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)], jitter=every * JITTER),
            policy=SchedulePolicy(
                # A run that is skipped is not missed: the one in progress reminds, or times out.
                overlap=ScheduleOverlapPolicy.SKIP,
                # After an outage only the last missed run is started.
                catchup_window=max(every, SHORTEST_CATCH_UP),
            ),
        )

    async def pause(self) -> ReminderSchedule:
        """Pause the schedule until `resume`; may be repeated."""
        with _schedule_errors():
            await (await self._handle()).pause(
                note=f"Paused by {self.author.name}.", rpc_timeout=START_TIMEOUT
            )
        await self._record("reminders pause")
        return await self._installed()

    async def resume(self) -> ReminderSchedule:
        """Resume the schedule; missed runs are not started."""
        with _schedule_errors():
            await (await self._handle()).unpause(
                note=f"Resumed by {self.author.name}.", rpc_timeout=START_TIMEOUT
            )
        await self._record("reminders resume")
        return await self._installed()

    async def _record(self, action: str) -> None:
        """Record who has changed the schedule (OPS-8)."""
        at = datetime.now(UTC)
        await self.changes.record(action, SCHEDULE_ID, by=self.author.name, at=at)

    # The runs.

    async def run(self) -> ReminderRun:
        """Signal every unanswered invitation now, also while another run is in progress.

        Return the run as it ended, or its progress when the wait budget is used up.
        """
        client = await self.temporal.connect()
        with temporal_errors_as_unavailable():
            handle = await client.start_workflow(
                ReminderWorkflow.run,
                RemindStale(by=self.author.name, quiet_for=self.policy.remind_after),
                id=f"{SCHEDULE_ID}/{uuid.uuid4().hex[:16]}",
                task_queue=self.temporal.task_queue,
                execution_timeout=LONGEST_RUN,
                static_summary="Remind invitees who have not answered, by an operator",
                rpc_timeout=START_TIMEOUT,
            )
            return await self._ended(handle)

    async def _ended(self, handle: WorkflowHandle[ReminderWorkflow, ReminderRun]) -> ReminderRun:
        try:
            async with asyncio.timeout(self.temporal.wait_seconds):
                return await handle.result()
        except WorkflowFailureError as failed:
            raise workflow_failed() from failed
        except TimeoutError:
            for run in await self.reminders.runs():
                if run.run_id == handle.first_execution_run_id:
                    return run
            raise no_worker_answer() from None

    async def show(self) -> Reminders:
        """Return the schedule, its next runs, and the last runs with their numbers of reminders."""
        try:
            schedule = await self._installed()
        except Refused:
            schedule = None
        return Reminders(schedule=schedule, runs=await self._last_runs())

    async def _last_runs(self) -> tuple[ReminderRun, ...]:
        """Return the last runs, newest first, also those that ended without a record."""
        runs = {run.run_id: run for run in await self.reminders.runs()}
        async for failed in self._failed_runs():
            recorded = runs.get(failed.run_id)
            if recorded is None or recorded.ended_at is None:
                ended = {"ended_at": failed.ended_at, "failure": failed.failure}
                runs[failed.run_id] = (recorded or failed).model_copy(update=ended)
        newest = sorted(runs.values(), key=lambda run: run.started_at, reverse=True)
        return tuple(newest[:LAST_RUNS])

    async def _failed_runs(self) -> AsyncIterator[ReminderRun]:
        """Yield the last runs that ended without completing, as Temporal keeps them."""
        queue = self.temporal.task_queue.replace("'", "''")
        statuses = "'TimedOut', 'Failed', 'Canceled', 'Terminated'"
        client = await self.temporal.connect()
        with temporal_errors_as_unavailable():
            async for found in client.list_workflows(
                "WorkflowType = 'StaleInvitationReminders'"
                f" AND TaskQueue = '{queue}' AND ExecutionStatus IN ({statuses})",
                limit=LAST_RUNS,
                rpc_timeout=START_TIMEOUT,
            ):
                yield _failed_run(found)

    async def _installed(self) -> ReminderSchedule:
        with _schedule_errors():
            described = await (await self._handle()).describe(rpc_timeout=START_TIMEOUT)
        return _schedule_view(described)

    async def _handle(self) -> ScheduleHandle:
        return (await self.temporal.connect()).get_schedule_handle(SCHEDULE_ID)


def _failed_run(found: WorkflowExecution) -> ReminderRun:
    return ReminderRun(
        run_id=found.run_id,
        started_at=found.start_time,
        ended_at=found.close_time,
        # An operator's run has a slash after the prefix.
        by=OPERATOR if found.id.startswith(f"{SCHEDULE_ID}/") else SCHEDULE,
        failure=_FAILURES[found.status],
    )


def _schedule_view(described: ScheduleDescription) -> ReminderSchedule:
    spec, paused = described.schedule.spec, described.schedule.state.paused
    return ReminderSchedule(
        every=format_duration(spec.intervals[0].every) if len(spec.intervals) == 1 else None,
        paused=paused,
        next=() if paused else tuple(described.info.next_action_times),
    )


@contextmanager
def _schedule_errors() -> Iterator[None]:
    """Raise Refused (`not_found`) while no schedule is installed, or Unavailable."""
    with temporal_errors_as_unavailable():
        try:
            yield
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise Refused(
                ErrorCode.NOT_FOUND, "There is no schedule yet: run `seatflow reminders install`."
            ) from None
