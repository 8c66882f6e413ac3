"""The workflow ids of all records that have not ended, for recovery."""

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import JSON, Executable, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import LONG
from adapters.sql.database.schema import (
    AssignmentRow,
    BatchPersonRow,
    InvitationRow,
    OrderRow,
    RefundRow,
)
from adapters.sql.database.transaction import reading
from domain.assignment import AssignmentState, assignment_workflow
from domain.order import OrderState
from domain.refund import RefundState

PAGE_SIZE: Final = 1_000


async def unfinished_workflows(engine: AsyncEngine) -> AsyncIterator[list[str]]:
    """Yield pages of workflow ids: invitations, refunds, orders, assignments and batches."""
    for query, workflow_id in _QUERIES:
        # The caller works between two pages.
        async with reading(engine, LONG) as session:
            rows = await session.stream(query.execution_options(yield_per=PAGE_SIZE))
            async for page in rows.partitions():
                yield [workflow_id.format(*row) for row in page]


_QUERIES: Final[tuple[tuple[Executable, str], ...]] = (
    (
        select(InvitationRow.account_id, InvitationRow.invitee_key).where(
            InvitationRow.ended_at.is_(None), InvitationRow.run_id.is_not(None)
        ),
        "invitation/{}/{}",
    ),
    (
        select(RefundRow.refund_id).where(
            RefundRow.state.not_in([state for state in RefundState if state.finished])
        ),
        "refund/{}",
    ),
    # Closed refunds are watched for a late success (REF-4).
    (select(RefundRow.refund_id).where(RefundRow.state == RefundState.CLOSED), "watch/{}"),
    (
        select(OrderRow.account_id, OrderRow.order_id).where(
            or_(
                OrderRow.state.not_in([state for state in OrderState if state.final]),
                type_coerce(OrderRow.record, JSON)["pending", "invoice"].as_string().is_not(None),
            )
        ),
        "addon/{}/{}",
    ),
    (
        select(AssignmentRow.account_id, AssignmentRow.request_id)
        .where(AssignmentRow.state == AssignmentState.WAITING)
        .distinct(),
        assignment_workflow("{}", "{}"),
    ),
    (
        select(BatchPersonRow.batch_id).where(BatchPersonRow.result.is_(None)).distinct(),
        "bulk-invite/{}",
    ),
)
"""The unfinished records of each kind, and the form of their workflow ids."""
