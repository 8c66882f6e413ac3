"""The invoices of orders, and their ledger entries (ADD-4, ADD-7).

The caller has locked the account.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from activities.order import OrderPayment
from adapters.sql.database.schema import (
    AccountRow,
    OrderInvoiceRow,
    OrderRow,
    PaymentMethodRow,
    PaymentRow,
    SubscriptionRow,
    TransferRow,
)
from adapters.sql.money.credit import apply_automatically
from adapters.sql.money.ledger import as_transfer, balance, post, posted
from domain.billing_cycle import BillingDay
from domain.journal import ENGINE
from domain.ledger import (
    TransferKind,
    credit_of,
    credit_reserved,
    order_paid,
    reversal,
    term_earned,
)
from domain.money import Money, rounded, zero
from domain.order import Order, OrderInvoice, product_name


async def invoices_of(session: AsyncSession, order_id: str) -> Sequence[OrderInvoiceRow]:
    """Return the invoices of an order, sorted by number."""
    rows = await session.scalars(
        select(OrderInvoiceRow)
        .where(OrderInvoiceRow.order_id == order_id)
        .order_by(OrderInvoiceRow.number)
    )
    return rows.all()


def as_invoice(row: OrderInvoiceRow) -> OrderInvoice:
    """Return the invoice as part of the order's record."""
    return OrderInvoice(
        id=row.invoice_id, amount=rounded(row.amount, row.currency), state=row.state, at=row.at
    )


async def due_invoice(session: AsyncSession, row: OrderRow, order: Order) -> OrderInvoiceRow | None:
    """Return the invoice of the next term to be paid, if it exists."""
    found: OrderInvoiceRow | None = await session.scalar(
        select(OrderInvoiceRow).where(
            OrderInvoiceRow.order_id == row.order_id,
            OrderInvoiceRow.period_start == _term_start(row, order),
        )
    )
    return found


async def make_invoice(
    session: AsyncSession, row: OrderRow, order: Order, at: datetime
) -> OrderInvoiceRow:
    """Create the invoice of the next term to be paid."""
    start, end = _term_start(row, order), order.quote.next_billing_date
    amount = order.quote.due_now
    if order.was_paid:
        end = BillingDay(day=row.billing_day, month=row.billing_month).next_after(start)
        amount = order.quote.then
    invoice = OrderInvoiceRow(
        order_id=row.order_id,
        number=len(await invoices_of(session, row.order_id)) + 1,
        period_start=start,
        period_end=end,
        currency=amount.currency,
        amount=amount.amount,
        from_credit=Decimal(0),
        state="open",
        at=at,
    )
    session.add(invoice)
    return invoice


async def reserve_credit(
    session: AsyncSession, invoice: OrderInvoiceRow, order: Order, at: datetime
) -> None:
    """Reserve credit for the invoice, once per try of `order`.

    A repeated activity therefore charges the same amount.
    """
    if invoice.credit_tried is not None and invoice.credit_tried >= order.tries:
        return
    invoice.credit_tried = order.tries
    credit = await balance(session, credit_of(order.account), invoice.currency)
    amount = rounded(min(credit.amount, invoice.amount - invoice.from_credit), invoice.currency)
    if amount.amount:
        invoice.from_credit += amount.amount
        reserved = credit_reserved(order.account, invoice.invoice_id, order.tries, amount, at)
        await post(session, [reserved], by=order.payer)


async def void_invoices(
    session: AsyncSession, account: AccountRow, order_id: str, at: datetime, *, by: str
) -> None:
    """Void the unpaid invoices, and return the credit reserved for them."""
    for invoice in await invoices_of(session, order_id):
        if invoice.state in {"open", "failed"}:
            invoice.state, invoice.from_credit = "void", Decimal(0)
            reserved = await session.scalars(
                select(TransferRow).where(
                    TransferRow.invoice == invoice.invoice_id,
                    TransferRow.kind == TransferKind.APPLIED,
                    TransferRow.debited == credit_of(account.id),
                )
            )
            returned = [reversal(as_transfer(entry), at) for entry in reserved]
            await post(session, returned, by=by)
            await apply_automatically(session, account, at)


async def pay_invoice(
    session: AsyncSession,
    order: Order,
    invoice: OrderInvoiceRow,
    payment: OrderPayment | None,
    at: datetime,
    *,
    carried: Money | None,
) -> None:
    """Post the payment, and list the licenses for the paid term (ADD-5).

    The payments of the previous term become revenue, and so does what this one pays for it. The
    invoice is reduced by `carried`, which the next one includes.
    """
    await earn_term(session, order, at, by=order.payer)
    if carried:
        invoice.amount -= carried.amount
    amount = rounded(invoice.amount - invoice.from_credit, invoice.currency)
    assert (payment.amount if payment else zero(invoice.currency)) == amount, (
        "the charge is the amount that credit does not pay, and that is not carried"
    )
    if payment:
        paid = order_paid(order.account, invoice.invoice_id, amount, at)
        await post(session, [paid], by=order.payer)
        invoice.payment = payment.provider_id
    invoice.state = "paid"
    arrears = zero(invoice.currency)
    if order.carried:
        arrears = rounded(min(order.carried.amount, invoice.amount), invoice.currency)
    if arrears.amount:
        earned = term_earned(order.account, f"{invoice.invoice_id}/carried", arrears, at)
        await post(session, [earned], by=order.payer)
    line = await order_line(session, order) or await _new_line(session, order)
    line.quantity = order.quantity
    line.period_start, line.period_end = invoice.period_start, invoice.period_end
    await _replace_payments(session, line, invoice, payment, arrears)


async def credit_late_payment(
    session: AsyncSession,
    account: str,
    invoice: OrderInvoiceRow,
    payment: OrderPayment,
    at: datetime,
) -> None:
    """Credit a payment that succeeded after its account was closed; operators see it (OPS-5)."""
    into = credit_of(account)
    entry = order_paid(account, invoice.invoice_id, payment.amount, at, into=into)
    if entry.id not in await posted(session, [entry.id]):
        await post(session, [entry], by=ENGINE)


async def earn_term(session: AsyncSession, order: Order, at: datetime, *, by: str) -> None:
    """Post the payments of the last paid term as revenue."""
    line = await order_line(session, order)
    paid = [each for each in await invoices_of(session, order.order_id) if each.state == "paid"]
    if line is None or not paid:
        return
    amount = rounded(
        sum((payment.amount for payment in line.payments), start=Decimal(0)), paid[-1].currency
    )
    if amount.amount:
        earned = term_earned(order.account, paid[-1].invoice_id, amount, at)
        await post(session, [earned], by=by)


async def order_line(session: AsyncSession, order: Order) -> SubscriptionRow | None:
    """Return the subscription line of the order, which exists once the order was paid."""
    line: SubscriptionRow | None = await session.scalar(
        select(SubscriptionRow)
        .where(SubscriptionRow.account_id == order.account, SubscriptionRow.id == order.order_id)
        .options(selectinload(SubscriptionRow.payments))
    )
    return line


def _term_start(row: OrderRow, order: Order) -> date:
    return order.quote.next_billing_date if order.was_paid else row.bought_on


async def _new_line(session: AsyncSession, order: Order) -> SubscriptionRow:
    last = await session.scalar(
        select(func.max(SubscriptionRow.position)).where(
            SubscriptionRow.account_id == order.account
        )
    )
    line = SubscriptionRow(
        account_id=order.account,
        id=order.order_id,
        position=0 if last is None else last + 1,
        product=product_name(order),
        kind="addon",
        cycle=order.cycle,
        cancellation_pending=False,
        discount=Decimal("0.00"),
        tax=Decimal("0.00"),
        payments=[],
    )
    session.add(line)
    return line


async def _replace_payments(
    session: AsyncSession,
    line: SubscriptionRow,
    invoice: OrderInvoiceRow,
    payment: OrderPayment | None,
    arrears: Money,
) -> None:
    """Replace the payments of the line by those of its new period, without the arrears."""
    for before in list(line.payments):
        line.payments.remove(before)
        await session.delete(before)
    charged = payment.amount.amount if payment else Decimal(0)
    late_by_method = min(arrears.amount, charged)
    late_by_credit = arrears.amount - late_by_method
    credit = rounded(invoice.from_credit - late_by_credit, invoice.currency)
    if credit.amount:
        line.payments.append(
            _new_payment(line, f"{invoice.invoice_id}/credit", "credit", credit.amount)
        )
    if payment:
        method = await session.get(
            PaymentMethodRow, {"account_id": line.account_id, "id": payment.method}
        )
        kind = "bank" if method and method.kind == "bank" else "card"
        line.payments.append(
            _new_payment(line, payment.provider_id, kind, charged - late_by_method)
        )


def _new_payment(line: SubscriptionRow, name: str, method: str, amount: Decimal) -> PaymentRow:
    return PaymentRow(
        account_id=line.account_id,
        id=name,
        position=len(line.payments),
        method=method,
        amount=amount,
        refundable=True,
    )
