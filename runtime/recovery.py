"""What no workflow looks after: seats are given back (INV-15), money and licenses go on."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.invitations.invitation import SqlInvitations
from clients.assignment import LicenseClient
from clients.fairness import caused_by
from clients.invitation_start import INVITATION_ID, settle_unstarted, take_back
from clients.order import OrderClient
from clients.refund import TOLD_WITHIN, RefundClient
from domain.address import masked
from domain.invitation import (
    CarriedInvitation,
    Invite,
    StartInvitation,
    StoredInvitation,
)
from domain.journal import ENGINE
from workflows.invitation import InvitationWorkflow, search_attributes

TAKEN_UP_AFTER = timedelta(minutes=1)
"""So long the store may lag behind an end, and an invitation takes up its refund itself."""

EVERY = timedelta(minutes=1)

_ENDED_FROM_OUTSIDE = (
    "WorkflowType = 'Invitation'"
    " AND ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')"
)

_RUNNING_REFUNDS = "WorkflowType = 'Refund' AND ExecutionStatus = 'Running'"

_RUNNING_PURCHASES = "WorkflowType = 'AddonPurchase' AND ExecutionStatus = 'Running'"

_RUNNING_ASSIGNMENTS = "WorkflowType = 'AddonAssignment' AND ExecutionStatus = 'Running'"

log = logging.getLogger(__name__)


async def take_up_invitations(
    client: Client, invitations: SqlInvitations, refunds: RefundClient
) -> None:
    """See to each invitation whose workflow was ended from outside.

    One that nobody has accepted is taken back, and its seat is free. Of one that was accepted the
    membership stands: it goes on with the settlement, the data, and the news (INV-11).

    A workflow that ends by itself writes its end to the store first, so this finds only
    those that somebody terminated, or that failed.
    """
    async for execution in client.list_workflows(_ENDED_FROM_OUTSIDE):
        invitation_id = await execution.memo_value(INVITATION_ID, default=None)
        stored = await invitations.by_id(invitation_id) if invitation_id else None
        if stored is None or stored.invitation.state.final:
            continue
        if stored.invitation.state.unanswered:
            if not await _runs(client, execution.id):
                note = "Its workflow was ended from outside."
                await take_back(invitations, stored, by=ENGINE, note=note)
        elif stored.ordered and await _is_left_alone(client, execution.id, execution.start_time):
            log.warning("%s was ended from outside and is taken up", execution.id)
            await _go_on(client, stored.ordered, stored, refunds)


async def _go_on(
    client: Client, invite: Invite, stored: StoredInvitation, refunds: RefundClient
) -> None:
    invitation, refund = stored.invitation, None
    if invitation.settlement and invitation.settlement.refund_id:
        refund = await refunds.refunds.order_of(invitation.settlement.refund_id)
    carried = CarriedInvitation(
        invitation=invitation, mail_due=False, mailed_at=None, refund=refund
    )
    # Another worker may be quicker.
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            InvitationWorkflow.run,
            StartInvitation(invite=invite, carried=carried),
            id=invite.workflow_id,
            task_queue=refunds.task_queue,
            search_attributes=search_attributes(invite, invitation),
            memo={INVITATION_ID: stored.invitation_id},
            static_summary=f"{masked(invite.email)} into {invite.account}",
            priority=caused_by(invite.account),
            rpc_timeout=TOLD_WITHIN,
        )


async def take_up_refunds(client: Client, refunds: RefundClient) -> None:
    """Go on with each refund that has not come to rest and whose workflow is gone (REF-6).

    It was ended from outside, or never begun because its invitation was.
    """
    kept = await refunds.refunds.unfinished()
    if not kept:
        return
    running = {execution.id async for execution in client.list_workflows(_RUNNING_REFUNDS)}
    for refund in kept:
        left = refund.workflow_id not in running
        if left and await _is_left_alone(client, refund.workflow_id, refund.requested_at):
            log.warning("%s was ended from outside and is taken up", refund.workflow_id)
            await refunds.take_up(refund)


async def take_up_orders(client: Client, orders: OrderClient) -> None:
    """Go on with each order that is not over and whose workflow is gone (ADD-7)."""
    kept = await orders.orders.unfinished()
    if not kept:
        return
    running = {execution.id async for execution in client.list_workflows(_RUNNING_PURCHASES)}
    for order in kept:
        left = order.workflow_id not in running
        if left and await _is_left_alone(client, order.workflow_id, order.journal[0].at):
            log.warning("%s was ended from outside and is taken up", order.workflow_id)
            await orders.take_up(order)


async def take_up_assignments(client: Client, licenses: LicenseClient) -> None:
    """Go on with each request in which somebody waits and whose workflow is gone (ASG-5)."""
    kept = await licenses.assignments.unfinished()
    if not kept:
        return
    running = {execution.id async for execution in client.list_workflows(_RUNNING_ASSIGNMENTS)}
    for request, requested_at in kept:
        left = request.workflow_id not in running
        if left and await _is_left_alone(client, request.workflow_id, requested_at):
            log.warning("%s was ended from outside and is taken up", request.workflow_id)
            await licenses.take_up(request)


async def _is_left_alone(client: Client, workflow_id: str, since: datetime) -> bool:
    """Whether no run is open, and none has been for a while; visibility may lag."""
    try:
        described = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as failure:
        if failure.status is not RPCStatusCode.NOT_FOUND:
            raise
    else:
        if described.close_time is None:
            return False
        since = described.close_time
    return since <= datetime.now(UTC) - TAKEN_UP_AFTER


async def _runs(client: Client, workflow_id: str) -> bool:
    """Whether a run is open: a reset ends one run from outside and goes on in another."""
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.status is WorkflowExecutionStatus.RUNNING


async def sweep_forever(
    client: Client,
    invitations: SqlInvitations,
    refunds: RefundClient,
    orders: OrderClient,
    licenses: LicenseClient,
) -> None:
    """Look for what was abandoned every minute, beside a worker."""
    while True:
        try:
            await settle_unstarted(client, invitations)
            await take_up_invitations(client, invitations, refunds)
            await take_up_refunds(client, refunds)
            await take_up_orders(client, orders)
            await take_up_assignments(client, licenses)
        except Exception:
            # Seats, money and licenses wait for the next round; operators see why.
            log.exception("the sweep failed and tries again in %s", EVERY)
        await asyncio.sleep(EVERY.total_seconds())
