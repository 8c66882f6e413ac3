"""The least workflow that does what a pending invitation does to the world, and its worker."""

import uvloop
from temporalio import workflow

from activities.invitation import DeliverInvitation, InvitationActivities
from domain.invitation import StartInvitation
from runtime.process import leave, log_to_stderr, stop_signal
from runtime.settings import load_settings
from runtime.store import open_store
from runtime.temporal import CORE_LOG, connect
from runtime.wiring import SHARED_WITH_THE_SANDBOX, worker_for
from states.invitation import opening
from workflows import search_attribute
from workflows.options import MAIL


@workflow.defn(name="Invitation")
class Floor:
    """One activity, one upsert, one timer; no machine, no record, no answers."""

    @workflow.run
    async def run(self, start: StartInvitation) -> None:
        """Send the e-mail, then only wait."""
        invite, now = start.invite, workflow.now()
        delivered = await workflow.execute_activity_method(
            InvitationActivities.deliver_invitation,
            DeliverInvitation(invite=invite, invitation=opening(invite, run_id="", at=now), at=now),
            **MAIL,
        )
        workflow.upsert_search_attributes(
            [search_attribute.DEADLINE.value_set(delivered.at + invite.policy.ttl)]
        )
        await workflow.sleep(invite.policy.ttl)


async def serve() -> None:
    """Work until the process is asked to stop."""
    stop, settings = stop_signal(), load_settings()
    async with open_store(settings) as store:
        client = await connect(settings, core_log=CORE_LOG)
        shared = (*SHARED_WITH_THE_SANDBOX, "bench")
        async with worker_for(client, settings, store, workflows=[Floor], shared=shared):
            await stop.wait()


def main() -> None:
    """Run the worker."""
    log_to_stderr()
    uvloop.run(serve())
    leave(0)
