"""The typed client of reminders: the schedule that starts runs, and the runs."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
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
from clients.workflow_call import asking_temporal, broken, no_answer
from domain.error import ErrorCode, Refused
from domain.period import format_duration
from domain.policy import Policy
from domain.reminder import ReminderRun, Reminders, ReminderSchedule, RemindStale
from workflows.reminder import StaleInvitationRemindersWorkflow

SCHEDULE_ID: Final = "stale-invitation-reminders"
RPC_WITHIN: Final = timedelta(seconds=8)
JITTER: Final = 0.01
"""The part of the interval by which a run may start late: a quarter of an hour of a day."""
SHORTEST_CATCH_UP: Final = timedelta(seconds=10)
"""The server takes none that is shorter."""


@dataclass(frozen=True)
class ReminderClient:
    """Installs the schedule, starts runs, and tells how they went.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    reminders: SqlReminders
    policy: Policy
    task_queue: str
    wait_seconds: float

    # The schedule.

    async def install(self, every: timedelta) -> ReminderSchedule:
        """Make the schedule, or give it this interval; one that is paused stays so."""
        client = await self.connect()
        schedule = self._schedule(every)
        with asking_temporal():
            try:
                await client.create_schedule(SCHEDULE_ID, schedule, rpc_timeout=RPC_WITHIN)
            except ScheduleAlreadyRunningError:

                def changed(now: ScheduleUpdateInput) -> ScheduleUpdate:
                    kept = now.description.schedule.state
                    return ScheduleUpdate(replace(schedule, state=kept))

                handle = client.get_schedule_handle(SCHEDULE_ID)
                await handle.update(changed, rpc_timeout=RPC_WITHIN)
        return await self._installed()

    def _schedule(self, every: timedelta) -> Schedule:
        return Schedule(
            action=ScheduleActionStartWorkflow(
                StaleInvitationRemindersWorkflow.run,
                RemindStale(by="schedule", quiet_for=self.policy.remind_after),
                id=SCHEDULE_ID,
                task_queue=self.task_queue,
                static_summary="Remind who has been quiet",
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)], jitter=every * JITTER),
            policy=SchedulePolicy(
                # What a run that takes long has left undone, the next one finds.
                overlap=ScheduleOverlapPolicy.SKIP,
                # After an outage the last one is caught up, never one for each that was missed.
                catchup_window=max(every, SHORTEST_CATCH_UP),
            ),
        )

    async def pause(self) -> ReminderSchedule:
        """Start no more runs until `resume`; paused already, nothing."""
        with _of_the_schedule():
            await (await self._handle()).pause(
                note="Paused by an operator.", rpc_timeout=RPC_WITHIN
            )
        return await self._installed()

    async def resume(self) -> ReminderSchedule:
        """Start runs again; those of the meantime are not caught up."""
        with _of_the_schedule():
            await (await self._handle()).unpause(
                note="Resumed by an operator.", rpc_timeout=RPC_WITHIN
            )
        return await self._installed()

    # The runs.

    async def run(self) -> ReminderRun:
        """Ask every invitation that wants an answer now, also beside another run.

        The run as it ended; where that takes longer than a command waits, as it stands.
        """
        client = await self.connect()
        with asking_temporal():
            handle = await client.start_workflow(
                StaleInvitationRemindersWorkflow.run,
                RemindStale(by="operator", quiet_for=self.policy.remind_after),
                id=f"{SCHEDULE_ID}/{uuid.uuid4().hex[:16]}",
                task_queue=self.task_queue,
                static_summary="Remind who has been quiet, asked by an operator",
                rpc_timeout=RPC_WITHIN,
            )
            return await self._ended(handle)

    async def _ended(
        self, handle: WorkflowHandle[StaleInvitationRemindersWorkflow, ReminderRun]
    ) -> ReminderRun:
        try:
            async with asyncio.timeout(self.wait_seconds):
                return await handle.result()
        except WorkflowFailureError as failed:
            raise broken() from failed
        except TimeoutError:
            for run in await self.reminders.runs():
                if run.run_id == handle.first_execution_run_id:
                    return run
            raise no_answer() from None

    async def show(self) -> Reminders:
        """The schedule, its next runs, and the last ones with how many were reminded."""
        try:
            schedule = await self._installed()
        except Refused:
            schedule = None
        return Reminders(schedule=schedule, runs=await self.reminders.runs())

    async def _installed(self) -> ReminderSchedule:
        with _of_the_schedule():
            described = await (await self._handle()).describe(rpc_timeout=RPC_WITHIN)
        return _as_shown(described)

    async def _handle(self) -> ScheduleHandle:
        return (await self.connect()).get_schedule_handle(SCHEDULE_ID)


def _as_shown(described: ScheduleDescription) -> ReminderSchedule:
    spec, paused = described.schedule.spec, described.schedule.state.paused
    return ReminderSchedule(
        every=format_duration(spec.intervals[0].every) if len(spec.intervals) == 1 else None,
        paused=paused,
        next=() if paused else tuple(described.info.next_action_times),
    )


@contextmanager
def _of_the_schedule() -> Iterator[None]:
    """Raises Refused: `not_found`, before there is a schedule; Unavailable."""
    with asking_temporal():
        try:
            yield
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise Refused(
                ErrorCode.NOT_FOUND, "There is no schedule yet: run `seatflow reminders install`."
            ) from None
