"""Disputed payments and returned refunds, which wait for an operator (REF-4, OPS-5)."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import (
    InvoiceRow,
    OrderInvoiceRow,
    OrderRow,
    PaymentRow,
    RefundRow,
    ReversalRow,
)
from adapters.sql.database.transaction import insert_missing, writing
from domain.attention import AttentionCase, case_of_reversal
from domain.error import ErrorCode, Refused
from domain.money import rounded
from domain.refund import PartState
from domain.reversal import Dispute, FailedRefund, Reversal, ReversalKind, ReversalStatus


class SqlReversals:
    """The reversals that the payment provider reports."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def report_dispute(self, dispute: Dispute) -> bool:
        """Keep the dispute, unless a later report is kept; return false for unknown payments."""
        async with writing(self._engine) as session:
            found = await _payer(session, dispute.payments)
            if found is None:
                return False
            account, payment = found
            facts = dispute.model_dump(exclude={"dispute_id", "payments"})
            await _keep(
                session,
                Reversal(
                    reversal_id=dispute.dispute_id,
                    kind=ReversalKind.DISPUTE,
                    account=account,
                    subject=payment,
                    **facts,
                ),
            )
            return True

    async def report_failed_refund(self, failed: FailedRefund) -> bool:
        """Keep a refund that had arrived and came back; return false for all others.

        One that has not arrived becomes `failed` by its next look-up.
        """
        async with writing(self._engine) as session:
            row = await session.get(RefundRow, failed.refund_id)
            parts = row.record.parts if row else ()
            for part in parts:
                returned = part.provider_id == failed.provider_id
                if row and returned and part.state is PartState.SUCCEEDED:
                    await _keep(
                        session,
                        Reversal(
                            reversal_id=failed.provider_id,
                            kind=ReversalKind.REFUND,
                            account=row.ordered.target,
                            subject=failed.refund_id,
                            amount=part.amount,
                            reason=failed.reason,
                            status=ReversalStatus.LOST,
                            since=failed.reported_at,
                            reported_at=failed.reported_at,
                        ),
                    )
                    return True
            return False

    async def close(self, reversal_id: str, by: str, reason: str, at: datetime) -> Reversal:
        """Remove the reversal from the operators' list (OPS-8).

        A later report with another status lists it again. Raises Refused: `not_found`,
        `conflict` for a reversal that is not listed.
        """
        async with writing(self._engine) as session:
            row = await session.get(ReversalRow, reversal_id, with_for_update=True)
            if row is None:
                raise Refused(ErrorCode.NOT_FOUND, f"There is no reversal {reversal_id}.")
            if row.closed_at is not None or row.status == ReversalStatus.WON:
                raise Refused(ErrorCode.CONFLICT, f"{reversal_id} is not open.")
            row.closed_at, row.closed_by, row.closing_reason = at, by, reason
            return _as_reversal(row)


async def reversal_cases(session: AsyncSession) -> AsyncIterator[AttentionCase]:
    """Yield the reversals that no operator has closed, except won disputes."""
    rows = await session.scalars(
        select(ReversalRow).where(
            ReversalRow.closed_at.is_(None), ReversalRow.status != ReversalStatus.WON
        )
    )
    for row in rows:
        yield case_of_reversal(_as_reversal(row))


async def _keep(session: AsyncSession, reversal: Reversal) -> None:
    """Insert the reversal, or replace an earlier report of it."""
    values = {
        **reversal.model_dump(exclude={"account", "amount"}),
        "account_id": reversal.account,
        "currency": reversal.amount.currency,
        "amount": reversal.amount.amount,
    }
    await insert_missing(session, ReversalRow, [values])
    row = await session.get_one(ReversalRow, reversal.reversal_id, with_for_update=True)
    is_late = reversal.reported_at < row.reported_at or (
        reversal.reported_at == row.reported_at and reversal.status is ReversalStatus.OPEN
    )
    if is_late:
        return
    if reversal.status != row.status:
        row.closed_at = row.closed_by = row.closing_reason = None
    # The case stays as old as its first report.
    for name in ("amount", "reason", "status", "answer_by", "reported_at"):
        setattr(row, name, values[name])


async def _payer(session: AsyncSession, payments: Sequence[str]) -> tuple[str, str] | None:
    """Return the account that made the payment, and the id under which it is recorded."""
    imported = select(PaymentRow.account_id, PaymentRow.id).where(PaymentRow.id.in_(payments))
    # The line of an order has the payments of the present term only.
    charged = (
        select(OrderRow.account_id, OrderInvoiceRow.payment)
        .join(OrderRow, OrderRow.order_id == OrderInvoiceRow.order_id)
        .where(OrderInvoiceRow.payment.in_(payments))
    )
    collected = select(InvoiceRow.account_id, InvoiceRow.payment).where(
        InvoiceRow.payment.in_(payments)
    )
    for query in (imported, charged, collected):
        if found := (await session.execute(query.limit(1))).first():
            account, payment = found
            return account, str(payment)
    return None


def _as_reversal(row: ReversalRow) -> Reversal:
    return Reversal(
        reversal_id=row.reversal_id,
        kind=ReversalKind(row.kind),
        account=row.account_id,
        subject=row.subject,
        amount=rounded(row.amount, row.currency),
        reason=row.reason,
        status=ReversalStatus(row.status),
        since=row.since,
        answer_by=row.answer_by,
        reported_at=row.reported_at,
    )
