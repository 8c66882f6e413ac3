"""The client of reminders: the schedule, and the runs that it starts."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
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
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.invitations.reminder import SqlReminders
from clients.workflow_call import (
    START_TIMEOUT,
    TemporalAccess,
    no_worker_answer,
    temporal_errors_as_unavailable,
    workflow_failed,
)
from domain.error import ErrorCode, Refused
from domain.period import format_duration
from domain.policy import Policy
from domain.reminder import ReminderRun, Reminders, ReminderSchedule, RemindStale
from workflows.reminder import ReminderWorkflow

SCHEDULE_ID: Final = "stale-invitation-reminders"
JITTER: Final = 0.01
"""Fraction of the interval by which a run may start late: 15 minutes of a day."""
SHORTEST_CATCH_UP: Final = timedelta(seconds=10)
"""Shortest catch-up window that the server accepts."""


@dataclass(frozen=True)
class ReminderClient:
    """Installs the schedule, starts runs, and reads their results.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    reminders: SqlReminders
    policy: Policy

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
        return await self._installed()

    def _schedule(self, every: timedelta) -> Schedule:
        return Schedule(
            action=ScheduleActionStartWorkflow(
                ReminderWorkflow.run,
                RemindStale(by="schedule", quiet_for=self.policy.remind_after),
                id=SCHEDULE_ID,
                task_queue=self.temporal.task_queue,
                static_summary="Remind invitees who have not answered",
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)], jitter=every * JITTER),
            policy=SchedulePolicy(
                # The next run reaches the invitations that a long run has not.
                overlap=ScheduleOverlapPolicy.SKIP,
                # After an outage only the last missed run is started.
                catchup_window=max(every, SHORTEST_CATCH_UP),
            ),
        )

    async def pause(self) -> ReminderSchedule:
        """Pause the schedule until `resume`; may be repeated."""
        with _schedule_errors():
            await (await self._handle()).pause(
                note="Paused by an operator.", rpc_timeout=START_TIMEOUT
            )
        return await self._installed()

    async def resume(self) -> ReminderSchedule:
        """Resume the schedule; missed runs are not started."""
        with _schedule_errors():
            await (await self._handle()).unpause(
                note="Resumed by an operator.", rpc_timeout=START_TIMEOUT
            )
        return await self._installed()

    # The runs.

    async def run(self) -> ReminderRun:
        """Signal every unanswered invitation now, also while another run is in progress.

        Return the run as it ended, or its progress when the wait budget is used up.
        """
        client = await self.temporal.connect()
        with temporal_errors_as_unavailable():
            handle = await client.start_workflow(
                ReminderWorkflow.run,
                RemindStale(by="operator", quiet_for=self.policy.remind_after),
                id=f"{SCHEDULE_ID}/{uuid.uuid4().hex[:16]}",
                task_queue=self.temporal.task_queue,
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
        return Reminders(schedule=schedule, runs=await self.reminders.runs())

    async def _installed(self) -> ReminderSchedule:
        with _schedule_errors():
            described = await (await self._handle()).describe(rpc_timeout=START_TIMEOUT)
        return _schedule_view(described)

    async def _handle(self) -> ScheduleHandle:
        return (await self.temporal.connect()).get_schedule_handle(SCHEDULE_ID)


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
