"""One run of reminders: every stale invitation is asked, every inviter told once (REM)."""

from contextlib import suppress
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.reminder import (
        AwaitReminders,
        NotifyInviters,
        ReminderActivities,
        SignalStaleInvitations,
    )
    from domain.reminder import ReminderRun, RemindStale
    from workflows.options import DIGEST, REMIND, STORE


@workflow.defn(name="StaleInvitationReminders")
class ReminderWorkflow:
    """Asks; whether it is time for a reminder each invitation decides by its own clock.

    So a run that is late, doubled or repeated reminds nobody too often. However many
    invitations there are, the history has the same few steps: the pages that an activity
    goes through are in its heartbeats.
    """

    @workflow.init
    def __init__(self, order: RemindStale) -> None:
        """Begin with nobody asked."""
        self._order = order
        self._run = ReminderRun(
            run_id=workflow.info().first_execution_run_id, started_at=workflow.now(), by=order.by
        )
        self._show("asks the invitations")

    @workflow.run
    async def run(self, order: RemindStale) -> ReminderRun:
        """Ask, wait a while for the reminders, tell the inviters."""
        await self._keep()
        await self._ask()
        await self._keep()
        await self._wait()
        await self._tell()
        self._run = self._run.model_copy(update={"ended_at": workflow.now()})
        await self._keep()
        self._show("has ended")
        return self._run

    async def _ask(self) -> None:
        # An operator asks all: their clocks may have been moved on.
        everyone = self._order.by == "operator"
        asked = await workflow.execute_activity_method(
            ReminderActivities.signal_stale_invitations,
            SignalStaleInvitations(
                run_id=self._run.run_id, quiet_before=None if everyone else self._quiet_before
            ),
            **REMIND | ActivityConfig(summary="Ask whether it is time for a reminder"),
        )
        self._run = self._run.model_copy(update={"found": asked.found})

    async def _wait(self) -> None:
        self._show("waits for the reminders")
        sent = await workflow.execute_activity_method(
            ReminderActivities.await_reminders,
            AwaitReminders(run_id=self._run.run_id, asked=self._run.found),
            **REMIND | ActivityConfig(summary="Wait for the reminders"),
        )
        self._run = self._run.model_copy(update={"reminded": sent.reminded})

    async def _tell(self) -> None:
        self._show("tells the inviters")
        # Given up some time, so that the next run is not skipped; a worker's log says why.
        with suppress(ActivityError):
            told = await workflow.execute_activity_method(
                ReminderActivities.notify_inviters,
                NotifyInviters(
                    run_id=self._run.run_id,
                    quiet_before=self._quiet_before,
                    quiet_for=self._order.quiet_for,
                ),
                **DIGEST | ActivityConfig(summary="Send each inviter a digest"),
            )
            self._run = self._run.model_copy(update={"digests": told.digests})

    @property
    def _quiet_before(self) -> datetime:
        return self._run.started_at - self._order.quiet_for

    async def _keep(self) -> None:
        await workflow.execute_activity_method(
            ReminderActivities.record_reminder_run,
            self._run,
            **STORE | ActivityConfig(summary="Keep the run"),
        )

    def _show(self, doing: str) -> None:
        run = self._run
        workflow.set_current_details(
            f"**{doing}**\n\n- **Started by:** {run.by}\n- **Asked:** {run.found}\n"
            f"- **Reminded:** {run.reminded}\n- **Inviters told:** {run.digests}"
        )
