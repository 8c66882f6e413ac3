"""The least workflow that does to the world what an invitation does, and its worker.

Written by hand for the one path on which nothing goes wrong: the same activities, timer and
messages, and the same rows in the store; no machine, nothing that can be asked, nothing checked.
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
from domain.invitation import (
    AcceptInvitation,
    Invitation,
    InvitationState,
    StartInvitation,
)
from domain.journal import ENGINE, INVITEE, JournalEntry
from runtime.process import leave, log_to_stderr, stop_signal
from runtime.settings import load_settings
from runtime.store import FOR_WORKERS, open_store
from runtime.temporal import CORE_LOG, connect
from runtime.wiring import SHARED_WITH_THE_SANDBOX, worker_for
from workflows import search_attribute
from workflows.options import STORE, mail

SHARED = (*SHARED_WITH_THE_SANDBOX, "bench")
"""What the floor's workflow is given as it is: the same as ours, and itself."""


@workflow.defn(name="Invitation")
class Floor:
    """Sends, waits and joins."""

    @workflow.init
    def __init__(self, start: StartInvitation) -> None:
        """Remember who is invited."""
        self._invite = start.invite
        self._pending: Invitation | None = None
        self._completed: Invitation | None = None

    @workflow.run
    async def run(self, start: StartInvitation) -> Invitation:
        """From the first e-mail to the end."""
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
        """Join the account, which completes it and tells everybody."""
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
        self._completed = joined.invitation
        workflow.upsert_search_attributes(
            [search_attribute.LIFECYCLE_STATE.value_set(joined.invitation.state.value)]
        )
        return joined.invitation


def _entry(
    event: str, before: InvitationState | None, after: InvitationState, by: str, at: datetime
) -> JournalEntry:
    return JournalEntry(at=at, event=event, from_state=before, to_state=after, by=by)


async def serve() -> None:
    """Work until the process is asked to stop."""
    stop, settings = stop_signal(), load_settings()
    async with open_store(settings, FOR_WORKERS) as store:
        client = await connect(settings, core_log=CORE_LOG)
        async with worker_for(client, settings, store, workflows=[Floor], shared=SHARED):
            await stop.wait()


def main() -> None:
    """Run the worker."""
    log_to_stderr()
    uvloop.run(serve())
    leave(0)
