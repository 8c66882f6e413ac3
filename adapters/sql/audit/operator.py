"""Checks of the operators' list: reversals and divergences (AUD)."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import (
    DivergenceRow,
    InvoiceRow,
    OrderInvoiceRow,
    OrderRow,
    PaymentRow,
    RefundRow,
    ReversalRow,
)
from domain.audit import Violation
from domain.reconciliation import DivergenceKind
from domain.refund import PartState
from domain.reversal import ReversalKind, ReversalStatus


async def operator_violations(session: AsyncSession) -> list[Violation]:
    """Compare reversals with what they reverse, and divergences with their keys."""
    return [
        *[found async for found in _reversal_violations(session)],
        *[found async for found in _divergence_violations(session)],
    ]


async def _reversal_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    payers = await _payers(session)
    rows = await session.execute(
        select(ReversalRow, RefundRow)
        .outerjoin(RefundRow, RefundRow.refund_id == ReversalRow.subject)
        .order_by(ReversalRow.reversal_id)
    )
    for row, refund in rows:
        of_subject = (
            _is_returned(row, refund)
            if row.kind == ReversalKind.REFUND
            else refund is None and _is_disputed(row, payers)
        )
        if not of_subject or (row.closed_at is None) != (row.closing_reason is None):
            yield Violation(
                rule="OPS-5",
                subject=row.reversal_id,
                message="the reversal differs from the payment or refund that it reverses",
            )


def _is_returned(row: ReversalRow, refund: RefundRow | None) -> bool:
    """Return whether the reversal is of a part of the refund that has arrived (REF-4)."""
    return (
        refund is not None
        and row.account_id == refund.ordered.target
        and row.status == ReversalStatus.LOST
        and row.answer_by is None
        and any(
            part.state is PartState.SUCCEEDED
            and (part.provider_id, part.amount.amount, part.amount.currency)
            == (row.reversal_id, row.amount, row.currency)
            for part in refund.record.parts
        )
    )


def _is_disputed(row: ReversalRow, payers: Mapping[str, set[str]]) -> bool:
    """Return whether the account has made the payment; an import removes those of earlier terms."""
    return row.account_id in payers.get(row.subject, {row.account_id})


async def _payers(session: AsyncSession) -> Mapping[str, set[str]]:
    """Return the accounts that have made each disputed payment, as far as it is known."""
    disputed = select(ReversalRow.subject).where(ReversalRow.kind == ReversalKind.DISPUTE)
    payers = defaultdict[str, set[str]](set)
    for query in (
        select(PaymentRow.id, PaymentRow.account_id).where(PaymentRow.id.in_(disputed)),
        select(OrderInvoiceRow.payment, OrderRow.account_id)
        .join(OrderRow, OrderRow.order_id == OrderInvoiceRow.order_id)
        .where(OrderInvoiceRow.payment.in_(disputed)),
        select(InvoiceRow.payment, InvoiceRow.account_id).where(InvoiceRow.payment.in_(disputed)),
    ):
        for payment, account in await session.execute(query):
            payers[str(payment)].add(account)
    return payers


async def _divergence_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare each divergence with its key, `KIND/SUBJECT/RUN`, and its message (OPS-6)."""
    for row in await session.scalars(select(DivergenceRow).order_by(DivergenceRow.number)):
        kind, _, rest = row.key.partition("/")
        workflow, _, id = row.subject.partition("/")
        names_account = workflow in {"invitation", "addon"}
        if (
            kind not in {*DivergenceKind}
            or not rest.startswith(f"{row.subject}/")
            or not row.message.startswith(f"{kind}: ")
            or (names_account and not id.startswith(f"{row.account_id}/"))
        ):
            yield Violation(
                rule="OPS-6", subject=row.key, message="the divergence differs from its key"
            )
