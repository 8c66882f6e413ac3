"""The workflow of one run of reminders: invitees are reminded, inviters get a digest (REM)."""

from datetime import datetime

from temporalio import workflow
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.reminder import (
        AwaitReminders,
        NotifyInviters,
        ReminderActivities,
        SignalStaleInvitations,
    )
    from domain.address import mask_all
    from domain.reminder import SCHEDULE, ReminderRun, RemindStale
    from domain.text import code_span
    from workflows.options import REMIND, STORE


@workflow.defn(name="StaleInvitationReminders")
class ReminderWorkflow:
    """One run: signals each stale invitation, which decides itself if a reminder is due.

    A late or repeated run therefore reminds nobody too often. The history has the same few
    steps for any number of invitations: an activity keeps its page in its heartbeat.
    """

    @workflow.init
    def __init__(self, request: RemindStale) -> None:
        """Start with no invitation signaled."""
        self._request = request
        self._run = ReminderRun(
            run_id=workflow.info().first_execution_run_id, started_at=workflow.now(), by=request.by
        )
        self._publish("signaling the invitations")

    @workflow.run
    async def run(self, request: RemindStale) -> ReminderRun:
        """Signal the invitations, wait for their reminders, queue the digests."""
        await self._record()
        await self._signal_invitations()
        await self._record()
        await self._await_reminders()
        await self._notify_inviters()
        self._run = self._run.model_copy(update={"ended_at": workflow.now()})
        await self._record()
        self._publish("completed")
        return self._run

    async def _signal_invitations(self) -> None:
        # A run by an operator signals all invitations: their clocks may be ahead of this one.
        by_operator = self._request.by != SCHEDULE
        signaled = await workflow.execute_activity_method(
            ReminderActivities.signal_stale_invitations,
            SignalStaleInvitations(
                run_id=self._run.run_id, quiet_before=None if by_operator else self._quiet_before
            ),
            **REMIND | ActivityConfig(summary="Signal the stale invitations"),
        )
        self._run = self._run.model_copy(update={"found": signaled.found})

    async def _await_reminders(self) -> None:
        self._publish("waiting for the reminders")
        sent = await workflow.execute_activity_method(
            ReminderActivities.await_reminders,
            AwaitReminders(run_id=self._run.run_id, signaled=self._run.found),
            **REMIND | ActivityConfig(summary="Wait for the reminders"),
        )
        self._run = self._run.model_copy(update={"reminded": sent.reminded})

    async def _notify_inviters(self) -> None:
        self._publish("queueing the digests")
        notified = await workflow.execute_activity_method(
            ReminderActivities.notify_inviters,
            NotifyInviters(
                run_id=self._run.run_id,
                quiet_before=self._quiet_before,
                quiet_for=self._request.quiet_for,
            ),
            **REMIND | ActivityConfig(summary="Queue a digest to each inviter"),
        )
        self._run = self._run.model_copy(update={"digests": notified.digests})

    @property
    def _quiet_before(self) -> datetime:
        return self._run.started_at - self._request.quiet_for

    async def _record(self) -> None:
        await workflow.execute_activity_method(
            ReminderActivities.record_reminder_run,
            self._run,
            **STORE | ActivityConfig(summary="Write the run"),
        )

    def _publish(self, step: str) -> None:
        run = self._run
        workflow.set_current_details(
            f"**{step}**\n\n- **Started by:** {code_span(mask_all(run.by))}\n"
            f"- **Signaled:** {run.found}\n"
            f"- **Reminded:** {run.reminded}\n- **Digests:** {run.digests}"
        )
