"""Checks of orders, their invoices and their ledger entries (AUD)."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from sqlalchemy import Text, case, cast, exists, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, selectinload

from adapters.sql.audit.check import Check
from adapters.sql.audit.journal import is_complete
from adapters.sql.audit.provider import STRIPE_PAYMENT
from adapters.sql.database.schema import (
    NO_CAPACITY,
    AccountRow,
    LicensePoolRow,
    OrderInvoiceRow,
    OrderRow,
    SubscriptionRow,
    TransferRow,
)
from adapters.sql.money.order_invoice import as_invoice, invoices_of
from domain.audit import Violation
from domain.author import is_author
from domain.billing_cycle import BillingDay
from domain.ledger import TransferKind, prepaid_of
from domain.order import OrderState, product_name
from states.order import OrderMachine

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
    """Compare the records of orders with their rows, invoices, lines and pools."""
    orders = (await session.scalars(select(OrderRow).order_by(OrderRow.order_id))).all()
    lines = {(line.account_id, line.id): line for line in await _order_lines(session)}
    listed = [(row, lines.pop((row.account_id, row.order_id), None)) for row in orders]
    arrears = await _arrears(session)
    return [
        *[found for row, line in listed async for found in _errors(session, row, line, arrears)],
        *[found async for found in _pool_violations(session, listed)],
    ]


async def _order_lines(session: AsyncSession) -> Sequence[SubscriptionRow]:
    lines = await session.scalars(
        select(SubscriptionRow)
        .join(OrderRow, OrderRow.order_id == SubscriptionRow.id)
        .options(selectinload(SubscriptionRow.payments))
    )
    return lines.all()


async def _errors(
    session: AsyncSession,
    row: OrderRow,
    line: SubscriptionRow | None,
    arrears: Mapping[str, Decimal],
) -> AsyncIterator[Violation]:
    invoices = await invoices_of(session, row.order_id)
    if not _agree(row, invoices):
        yield Violation(
            rule="AUD",
            subject=row.order_id,
            message="its record differs from its row or its invoices",
        )
    if not _are_terms(row, invoices):
        yield Violation(
            rule="ADD-4", subject=row.order_id, message="its invoices are not those of its terms"
        )
    if not _is_listed(row, line, [each for each in invoices if each.state == "paid"], arrears):
        yield Violation(
            rule="ADD-5",
            subject=row.order_id,
            message="it is not listed beside the plan as it was paid",
        )


def _agree(row: OrderRow, invoices: Sequence[OrderInvoiceRow]) -> bool:
    record = row.record
    paid = [each.period_end for each in invoices if each.state == "paid"]
    return (
        is_complete(OrderMachine, record)
        and record.order_id == row.order_id
        and record.state == row.state
        and record.account == row.account_id
        and record.workflow_id == f"addon/{row.account_id}/{row.order_id}"
        and record.journal[0].at == row.opened_at
        and is_author(record.journal[0].by, record.bought_by)
        and record.invoices == tuple(as_invoice(each) for each in invoices)
        and record.was_paid == bool(paid)
        and (record.tries > 0) == (record.failed_since is not None)
        and record.quote.due_now.currency == record.quote.then.currency
        and paid[-1:] in ([], [record.quote.next_billing_date])
        and (not record.paid_until or _is_on(record.paid_until, record.quote.next_billing_date))
    )


def _is_on(moment: datetime, day: date) -> bool:
    """Return whether the day begins at the moment in some time zone; the account may change it."""
    midnight = datetime.combine(day, time(), UTC)
    return midnight - timedelta(hours=14) <= moment <= midnight + timedelta(hours=12)


def _are_terms(row: OrderRow, invoices: Sequence[OrderInvoiceRow]) -> bool:
    """Return whether the paid terms follow each other, and the first has the quoted price."""
    due_now, paid = row.record.quote.due_now, [each for each in invoices if each.state == "paid"]
    billing = BillingDay(day=row.billing_day, month=row.billing_month)
    return (
        [each.number for each in invoices] == [*range(1, len(invoices) + 1)]
        and all(each.currency == due_now.currency for each in invoices)
        and all(_is_quoted(each, due_now.amount) for each in invoices[:1])
        and all(each.period_start == row.bought_on for each in invoices[:1])
        and all(one.period_end == next_.period_start for one, next_ in pairwise(paid))
        and all(each.period_end == billing.next_after(each.period_start) for each in invoices)
        and all(
            (each.payment is not None) == (each.from_credit < each.amount and each.state == "paid")
            for each in invoices
        )
        and (row.billing_month is None) == (row.record.cycle == "monthly")
    )


def _is_quoted(invoice: OrderInvoiceRow, due: Decimal) -> bool:
    """Return whether the amount is due, less what Stripe cannot charge and the next one includes.

    An invoice without a payment may be of Stripe as well.
    """
    may_carry = invoice.state == "paid" and (
        invoice.payment is None or invoice.payment.startswith(STRIPE_PAYMENT)
    )
    return invoice.amount == due or (may_carry and invoice.amount < due)


def _is_listed(
    row: OrderRow,
    line: SubscriptionRow | None,
    paid: Sequence[OrderInvoiceRow],
    arrears: Mapping[str, Decimal],
) -> bool:
    """Return whether the line beside the plan is that of the last paid term."""
    if line is None or not paid:
        return line is None and not paid
    record, last = row.record, paid[-1]
    # The licenses end in the transaction before the one that ends the order.
    is_ending = row.reduced_after == len(record.journal)
    as_ended = (line.ended is not None) == record.state.final
    return (
        (as_ended or is_ending)
        and line.kind == "addon"
        and line.product == product_name(record)
        and line.cycle == record.cycle
        and line.quantity == record.quantity
        and (line.period_start, line.paid_until) == (last.period_start, last.period_end)
        and not line.cancellation_pending
        and {(each.id, each.amount) for each in line.payments if each.amount}
        == {payment for payment in _payments(last, arrears) if payment[1]}
    )


def _payments(
    invoice: OrderInvoiceRow, arrears: Mapping[str, Decimal]
) -> Iterator[tuple[str, Decimal]]:
    """Yield the payments of the term by id and amount: credit, and a payment method.

    What the invoice pays for earlier terms is not among them, first of the payment method.
    """
    late = arrears.get(invoice.invoice_id, _ZERO)
    charged = invoice.amount - invoice.from_credit
    late_by_method = min(late, charged)
    yield f"{invoice.invoice_id}/credit", invoice.from_credit - (late - late_by_method)
    if invoice.payment:
        yield invoice.payment, charged - late_by_method


async def _arrears(session: AsyncSession) -> Mapping[str, Decimal]:
    """Return what invoices have paid for earlier terms, by invoice."""
    start, end = f"{TransferKind.EARNED}/order/", "/carried"
    entries = await session.execute(
        select(TransferRow.id, TransferRow.amount).where(
            TransferRow.id.startswith(start), TransferRow.id.endswith(end)
        )
    )
    return {id.removeprefix(start).removesuffix(end): amount for id, amount in entries}


async def _pool_violations(
    session: AsyncSession, listed: Iterable[tuple[OrderRow, SubscriptionRow | None]]
) -> AsyncIterator[Violation]:
    """Compare each pool with the licenses that its import named and its orders have bought."""
    bought = Counter[tuple[str, str, int]]()
    for row, line in listed:
        if line and line.ended is None:
            order = row.record
            bought[row.account_id, order.sku.value, order.capacity or NO_CAPACITY] += order.quantity
    pools = await session.scalars(
        select(LicensePoolRow).order_by(
            LicensePoolRow.account_id, LicensePoolRow.sku, LicensePoolRow.capacity
        )
    )
    for pool in pools:
        ordered = bought.pop((pool.account_id, pool.sku, pool.capacity), 0)
        if pool.bought != pool.bought_named + ordered:
            yield _wrong_pool(pool.account_id)
    for account, _, _ in sorted(bought):
        yield _wrong_pool(account)


def _wrong_pool(account: str) -> Violation:
    return Violation(
        rule="ADD-5",
        subject=account,
        message="a pool has more or fewer licenses than were imported and bought",
    )
