"""Claims whose workflow never started give their seats back (INV-15)."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.invitation import SqlInvitations

ABANDONED_AFTER = timedelta(seconds=20)
"""Longer than any command takes between its claim and the answer to its start."""

INVITATION_ID = "invitation_id"
"""The memo that tells for which claim a workflow runs."""

EVERY = timedelta(minutes=1)

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


async def sweep_forever(client: Client, invitations: SqlInvitations) -> None:
    """Settle abandoned claims every minute, beside a worker."""
    while True:
        try:
            await settle_unstarted(client, invitations)
        except Exception:
            # Seats wait for the next round; operators see why.
            log.exception("the sweep failed and tries again in %s", EVERY)
        await asyncio.sleep(EVERY.total_seconds())
