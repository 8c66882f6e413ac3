"""Checks of orders, their invoices and their ledger entries (AUD)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from sqlalchemy import Text, case, cast, exists, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from adapters.sql.audit.check import Check
from adapters.sql.database.schema import (
    AccountRow,
    OrderInvoiceRow,
    OrderRow,
    SubscriptionRow,
    TransferRow,
)
from adapters.sql.money.order_invoice import as_invoice, invoices_of
from domain.audit import Violation
from domain.ledger import prepaid_of
from domain.order import OrderState

_WORKING: Final = OrderRow.state.in_([OrderState.PAID, OrderState.ACTIVE])
_LIVE: Final = OrderRow.state.not_in([state for state in OrderState if state.final])
_ITS_INVOICE: Final = OrderInvoiceRow.order_id == OrderRow.order_id
_LATER: Final = aliased(OrderInvoiceRow)

_INVOICE_ID: Final = OrderInvoiceRow.order_id + "/" + cast(OrderInvoiceRow.number, Text)
_ZERO: Final = Decimal(0)
_COMPARED: Final = union_all(
    select(TransferRow.invoice.label("invoice"), TransferRow.amount).where(
        TransferRow.invoice.is_not(None), TransferRow.credited.startswith(prepaid_of(""))
    ),
    select(TransferRow.invoice, -TransferRow.amount).where(
        TransferRow.invoice.is_not(None), TransferRow.debited.startswith(prepaid_of(""))
    ),
    select(
        _INVOICE_ID,
        -case(
            (OrderInvoiceRow.state == "paid", OrderInvoiceRow.amount),
            else_=OrderInvoiceRow.from_credit,
        ),
    ).where(OrderInvoiceRow.state != "void"),
).subquery()

ORDER_CHECKS: Final = (
    Check(
        "AUD",
        "the order is active, but was never paid",
        select(OrderRow.order_id).where(
            _WORKING,
            ~exists().where(_ITS_INVOICE, OrderInvoiceRow.state == "paid").correlate(OrderRow),
        ),
    ),
    Check(
        "ADD-5",
        "the order is active, but not listed beside the plan",
        select(OrderRow.order_id).where(
            _WORKING,
            ~exists()
            .where(
                SubscriptionRow.account_id == OrderRow.account_id,
                SubscriptionRow.id == OrderRow.order_id,
                SubscriptionRow.ended.is_(None),
            )
            .correlate(OrderRow),
        ),
    ),
    Check(
        "ADD-7",
        "an invoice of the order is not paid, and there is a later one",
        select(OrderInvoiceRow.order_id).where(
            OrderInvoiceRow.state != "paid",
            exists()
            .where(
                _LATER.order_id == OrderInvoiceRow.order_id,
                _LATER.number > OrderInvoiceRow.number,
            )
            .correlate(OrderInvoiceRow),
        ),
    ),
    Check(
        "ADD-6",
        "the order has ended, but one of its invoices is still open",
        select(OrderRow.order_id)
        .join(OrderInvoiceRow, _ITS_INVOICE)
        .where(~_LIVE, OrderInvoiceRow.state.in_(["open", "failed"])),
    ),
    Check(
        "CRD-4",
        "an invoice of the live order is in another currency than its account has",
        select(OrderInvoiceRow.order_id)
        .distinct()
        .join(OrderRow, _ITS_INVOICE)
        .join(AccountRow, AccountRow.id == OrderRow.account_id)
        .where(_LIVE, OrderInvoiceRow.currency != AccountRow.currency),
    ),
    Check(
        "SRC-2",
        "the account is closed, but has a live order",
        select(OrderRow.order_id)
        .join(AccountRow, AccountRow.id == OrderRow.account_id)
        .where(_LIVE, AccountRow.state == "closed"),
    ),
    Check(
        "CRD-4",
        "the amount paid of the invoice differs from the ledger",
        select(_COMPARED.c.invoice)
        .group_by(_COMPARED.c.invoice)
        .having(func.sum(_COMPARED.c.amount) != _ZERO),
    ),
)


async def order_violations(session: AsyncSession) -> list[Violation]:
    """Compare the records of orders with their rows and invoices."""
    return [
        Violation(
            rule="AUD",
            subject=row.order_id,
            message="its record differs from its invoices",
        )
        for row in await session.scalars(select(OrderRow).order_by(OrderRow.order_id))
        if not _agree(row, await invoices_of(session, row.order_id))
    ]


def _agree(row: OrderRow, invoices: Sequence[OrderInvoiceRow]) -> bool:
    record = row.record
    paid = [each.period_end for each in invoices if each.state == "paid"]
    return (
        record.state == row.state
        and record.account == row.account_id
        and record.invoices == tuple(as_invoice(each) for each in invoices)
        and record.was_paid == bool(paid)
        and paid[-1:] in ([], [record.quote.next_billing_date])
    )
