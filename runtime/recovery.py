"""Recovery of claims and lifecycles that no workflow is running for (INV-15, REF-6, ADD-7)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from clients.invitation_start import INVITATION_ID
from domain.invitation import Invitation, Invite, StoredInvitation
from domain.journal import ENGINE
from runtime.clients import Clients

RESTART_AFTER = timedelta(minutes=1)
"""Time from the close of a workflow to its restart.

The store may lag behind a close, and an invitation restarts its own refund sooner.
"""

INTERVAL = timedelta(minutes=1)

_CLOSED_INVITATIONS = (
    "WorkflowType = 'Invitation'"
    " AND ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Unfinished:
    """A record in the store that has not ended, and the restart of its workflow."""

    workflow_id: str
    since: datetime
    restart: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Recovery:
    """Releases abandoned claims, and restarts workflows that were closed from outside.

    A workflow that ends by itself writes its end to the store first. A record that has not ended
    and whose workflow is closed was therefore terminated by a person, or its workflow failed.
    """

    clients: Clients
    restart_after: timedelta = RESTART_AFTER
    interval: timedelta = INTERVAL

    async def recover_forever(self) -> None:
        """Recover everything once per interval."""
        while True:
            try:
                await self.clients.invitation_starter.recover_claims()
                await self.restart_invitations()
                await self.restart_refunds()
                await self.restart_orders()
                await self.restart_assignments()
            except Exception:
                # The next round retries; operators see the error.
                log.exception("the recovery failed and is retried in %s", self.interval)
            await asyncio.sleep(self.interval.total_seconds())

    async def restart_invitations(self) -> None:
        """Revoke or restart each invitation whose workflow was closed from outside.

        An unanswered one is revoked, and its seat is free. The membership of an accepted one
        stays, and its workflow continues with settlement, data and notices (INV-11).
        """
        client = await self.clients.connect()
        async for execution in client.list_workflows(_CLOSED_INVITATIONS):
            invitation_id = await execution.memo_value(INVITATION_ID, default=None)
            invitations = self.clients.store.invitations
            stored = await invitations.by_id(invitation_id) if invitation_id else None
            if stored and not stored.invitation.state.final:
                await self._recover_invitation(client, execution, stored)

    async def _recover_invitation(
        self, client: Client, execution: WorkflowExecution, stored: StoredInvitation
    ) -> None:
        if stored.invitation.state.unanswered:
            if not await _is_running(client, execution.id):
                note = "Its workflow was ended from outside."
                await self.clients.invitations.revoke_in_store(stored, by=ENGINE, note=note)
        else:
            restart = partial(self._restart_accepted, stored.ordered, stored.invitation)
            await self._restart(client, _Unfinished(execution.id, execution.start_time, restart))

    async def _restart_accepted(self, invite: Invite, invitation: Invitation) -> None:
        settlement, refund = invitation.settlement, None
        if settlement and settlement.refund_id:
            refund = await self.clients.store.refunds.plan_of(settlement.refund_id)
        # Another worker may have been faster.
        with suppress(WorkflowAlreadyStartedError):
            await self.clients.invitations.restart(invite, invitation, refund)

    async def restart_refunds(self) -> None:
        """Restart each open refund whose workflow is closed, or was never started (REF-6)."""
        refunds = self.clients.refunds
        unfinished = [
            _Unfinished(stored.workflow_id, stored.requested_at, partial(refunds.restart, stored))
            for stored in await self.clients.store.refunds.unfinished()
        ]
        await self._restart_all("Refund", unfinished)

    async def restart_orders(self) -> None:
        """Restart each unfinished order whose workflow is closed (ADD-7)."""
        orders = self.clients.orders
        unfinished = [
            _Unfinished(stored.workflow_id, stored.journal[0].at, partial(orders.restart, stored))
            for stored in await self.clients.store.orders.unfinished()
        ]
        await self._restart_all("AddonPurchase", unfinished)

    async def restart_assignments(self) -> None:
        """Restart each assignment in which a user waits and whose workflow is closed (ASG-5)."""
        assignments = self.clients.assignments
        unfinished = [
            _Unfinished(request.workflow_id, requested_at, partial(assignments.restart, request))
            for request, requested_at in await self.clients.store.assignments.unfinished()
        ]
        await self._restart_all("AddonAssignment", unfinished)

    async def _restart_all(self, workflow_type: str, unfinished: Sequence[_Unfinished]) -> None:
        if not unfinished:
            return
        client = await self.clients.connect()
        query = f"WorkflowType = '{workflow_type}' AND ExecutionStatus = 'Running'"
        running = {execution.id async for execution in client.list_workflows(query)}
        for each in unfinished:
            if each.workflow_id not in running:
                await self._restart(client, each)

    async def _restart(self, client: Client, unfinished: _Unfinished) -> None:
        """Restart a workflow that has been closed for long enough; visibility may lag."""
        workflow_id = unfinished.workflow_id
        closed_at = await _closed_at(client, workflow_id, unfinished.since)
        if closed_at and closed_at <= datetime.now(UTC) - self.restart_after:
            log.warning("restarting %s, which was closed from outside", workflow_id)
            await unfinished.restart()


async def _closed_at(client: Client, workflow_id: str, since: datetime) -> datetime | None:
    """Return the close time of the last run; None while it is open, `since` without any run."""
    try:
        described = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as failure:
        if failure.status is not RPCStatusCode.NOT_FOUND:
            raise
        return since
    return described.close_time


async def _is_running(client: Client, workflow_id: str) -> bool:
    """Return whether a run is open: a reset closes one run and continues in another."""
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.status is WorkflowExecutionStatus.RUNNING
