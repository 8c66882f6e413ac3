"""Baseline: the smallest workflow with the side effects of an invitation, and its worker.

It supports only the path without failures. It has the same activities, timer and update and writes
the same rows. It has no state machine, no queries and no checks.
"""

from datetime import datetime

import uvloop
from temporalio import workflow
from temporalio.workflow import ActivityConfig

from activities.invitation import (
    DeliverInvitation,
    InvitationActivities,
    JoinAccount,
)
from domain.error import unless_refused
from domain.invitation import (
    AcceptInvitation,
    Invitation,
    InvitationState,
    StartInvitation,
)
from domain.journal import ENGINE, INVITEE, JournalEntry
from runtime.process import exit_process, log_to_stderr, stop_signal
from runtime.settings import load_settings
from runtime.store import WORKER_BUSY_SECONDS, open_store
from runtime.temporal import CORE_LOG, connect
from runtime.wiring import PASSTHROUGH_MODULES, worker_for
from workflows import search_attribute
from workflows.options import STORE, mail

PASSED_THROUGH = (*PASSTHROUGH_MODULES, "bench")
"""Modules that the sandbox passes through: the same as Seatflow's, and this package."""


@workflow.defn(name="Invitation")
class BaselineWorkflow:
    """An invitation that is sent, awaited and accepted."""

    @workflow.init
    def __init__(self, start: StartInvitation) -> None:
        """Store the input for the update."""
        self._invite = start.invite
        self._pending: Invitation | None = None
        self._completed: Invitation | None = None

    @workflow.run
    async def run(self, start: StartInvitation) -> Invitation:
        """Send the e-mail and wait for the acceptance."""
        invite, now = start.invite, workflow.now()
        sent = Invitation(
            workflow_id=invite.workflow_id,
            run_id=workflow.info().run_id,
            account=invite.account,
            email=invite.email,
            state=InvitationState.SENT,
            license=invite.license,
            invited_by=invite.invited_by,
            journal=(_entry("invite", None, InvitationState.SENT, invite.invited_by, now),),
        )
        delivered = await workflow.execute_activity_method(
            InvitationActivities.deliver_invitation,
            DeliverInvitation(invite=invite, invitation=sent, at=now),
            **mail("Send e-mail 1"),
        )
        deadline = delivered.at + invite.policy.ttl
        self._pending = sent.with_entry(
            _entry("deliver", sent.state, InvitationState.PENDING, ENGINE, delivered.at),
            expires_at=deadline,
        )
        workflow.upsert_search_attributes(
            [
                search_attribute.LIFECYCLE_STATE.value_set(InvitationState.PENDING.value),
                search_attribute.DEADLINE.value_set(deadline),
                search_attribute.QUIET_SINCE.value_set(delivered.at),
            ]
        )
        await workflow.wait_condition(
            lambda: self._completed is not None,
            timeout=invite.policy.ttl,
            timeout_summary="Deadline",
        )
        assert self._completed is not None
        return self._completed

    @workflow.update
    async def accept(self, answer: AcceptInvitation) -> Invitation:
        """Commit the membership, which completes the invitation and notifies the admins."""
        await workflow.wait_condition(lambda: self._pending is not None)
        assert self._pending is not None
        joined = await workflow.execute_activity_method(
            InvitationActivities.join_account,
            JoinAccount(
                invite=self._invite,
                invitation=self._pending.with_entry(
                    _entry(
                        "accept",
                        self._pending.state,
                        InvitationState.ACCEPTED,
                        INVITEE,
                        workflow.now(),
                    )
                ),
                choice=answer.choice,
            ),
            **STORE | ActivityConfig(summary="Commit membership"),
        )
        self._completed = unless_refused(joined).invitation
        workflow.upsert_search_attributes(
            [search_attribute.LIFECYCLE_STATE.value_set(self._completed.state.value)]
        )
        return self._completed


def _entry(
    event: str, before: InvitationState | None, after: InvitationState, by: str, at: datetime
) -> JournalEntry:
    return JournalEntry(at=at, event=event, from_state=before, to_state=after, by=by)


async def serve() -> None:
    """Run the worker until a stop signal arrives."""
    stop, settings = stop_signal(), load_settings()
    async with open_store(settings, WORKER_BUSY_SECONDS) as store:
        client = await connect(settings, core_log=CORE_LOG)
        async with worker_for(
            client, settings, store, workflows=[BaselineWorkflow], shared=PASSED_THROUGH
        ):
            await stop.wait()


def main() -> None:
    """Run the worker process."""
    log_to_stderr()
    uvloop.run(serve())
    exit_process(0)
