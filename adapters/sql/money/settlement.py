"""The settlement of an account that its owner leaves, in the transaction of the acceptance."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AccountRow, RefundRow, SettlementRow
from adapters.sql.money.credit import apply_automatically
from adapters.sql.money.ledger import balance, post
from domain.acceptance import Closing
from domain.ledger import credit_of, prepaid_of
from domain.refund import RefundPlan
from states.refund import initial_record


async def write_settlement(
    session: AsyncSession, closing: Closing, target: AccountRow, at: datetime, *, by: str
) -> None:
    """Post the ledger entries, and record the settlement and the refund to request (QUO).

    The caller has locked both accounts. `by` has accepted.
    """
    closure, currency = closing.closure, closing.quote.total.currency
    prepaid = await balance(session, prepaid_of(closure.source), currency)
    credit = await balance(session, credit_of(closure.source), currency)
    await post(session, closing.transfers(prepaid, credit), by=by)
    if closing.source_paid:
        session.add(
            SettlementRow(
                invitation_id=closure.invitation_id,
                account_id=closure.source,
                kind=closing.choice,
                quote=closing.quote,
            )
        )
    if closing.refund:
        session.add(_refund_row(closing.refund))
    await apply_automatically(session, target, at)


async def refund_of(session: AsyncSession, invitation_id: str) -> RefundPlan | None:
    """Return the refund that the invitation's acceptance requested, if any."""
    row = await session.scalar(select(RefundRow).where(RefundRow.invitation_id == invitation_id))
    return row.ordered if row else None


def _refund_row(plan: RefundPlan) -> RefundRow:
    record = initial_record(plan)
    return RefundRow(
        refund_id=plan.refund_id,
        invitation_id=plan.invitation_id,
        state=record.state,
        requested_at=plan.requested_at,
        ordered=plan,
        record=record,
    )
