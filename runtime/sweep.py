"""Seats of invitations that no workflow looks after are given back (INV-15)."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.invitation import SqlInvitations
from domain.journal import ENGINE
from states.invitation import InvitationMachine
from states.lifecycle import after

ABANDONED_AFTER = timedelta(seconds=20)
"""Longer than any command takes between its claim and the answer to its start."""

INVITATION_ID = "invitation_id"
"""The memo that tells for which claim a workflow runs."""

EVERY = timedelta(minutes=1)

_ENDED_FROM_OUTSIDE = (
    "WorkflowType = 'Invitation'"
    " AND ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')"
)

log = logging.getLogger(__name__)


async def settle_unstarted(client: Client, invitations: SqlInvitations) -> None:
    """Bind each abandoned claim to the workflow that runs for it, or release it."""
    for filed in await invitations.unstarted(datetime.now(UTC) - ABANDONED_AFTER):
        handle = client.get_workflow_handle(filed.invitation.workflow_id)
        try:
            described = await handle.describe()
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
            await invitations.release(filed.invitation_id)
        else:
            running = await described.memo_value(INVITATION_ID, default=None)
            if running == filed.invitation_id:
                await invitations.bind(filed.invitation_id, described.run_id)
            else:
                await invitations.release(filed.invitation_id)


async def end_abandoned(client: Client, invitations: SqlInvitations) -> None:
    """Take back each invitation whose workflow was ended from outside, and free its seat.

    A workflow that ends by itself writes its end to the store first, so this finds only
    those that somebody terminated, or that failed.
    """
    async for execution in client.list_workflows(_ENDED_FROM_OUTSIDE):
        invitation_id = await execution.memo_value(INVITATION_ID, default=None)
        filed = await invitations.by_id(invitation_id) if invitation_id else None
        if filed and filed.invitation.state.unanswered and not await _runs(client, execution.id):
            await invitations.end(
                filed.invitation_id,
                after(
                    InvitationMachine,
                    filed.invitation,
                    "revoke",
                    at=datetime.now(UTC),
                    by=ENGINE,
                    note="Its workflow was ended from outside.",
                ),
            )


async def _runs(client: Client, workflow_id: str) -> bool:
    """Whether a run is open: a reset ends one run from outside and goes on in another."""
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.status is WorkflowExecutionStatus.RUNNING


async def sweep_forever(client: Client, invitations: SqlInvitations) -> None:
    """Look for what was abandoned every minute, beside a worker."""
    while True:
        try:
            await settle_unstarted(client, invitations)
            await end_abandoned(client, invitations)
        except Exception:
            # Seats wait for the next round; operators see why.
            log.exception("the sweep failed and tries again in %s", EVERY)
        await asyncio.sleep(EVERY.total_seconds())
