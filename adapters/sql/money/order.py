"""Orders of licenses in the store: their quotes, records, payments and ends (ADD)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from activities.order import AmendOrder, OrderDue, OrderPayment, Reduction
from adapters.sql.database.schema import (
    NO_CAPACITY,
    AccountRow,
    LicensePoolRow,
    OrderInvoiceRow,
    OrderRow,
    SubscriptionRow,
)
from adapters.sql.database.transaction import reading, writing
from adapters.sql.licenses.pool import grow, holders, shrink
from adapters.sql.membership import require_account, require_admin
from adapters.sql.money.catalog import imported_catalog
from adapters.sql.money.ledger import posted
from adapters.sql.money.order_invoice import (
    as_invoice,
    credit_late_payment,
    due_invoice,
    earn_term,
    invoices_of,
    make_invoice,
    order_line,
    pay_invoice,
    reserve_credit,
    void_invoices,
)
from adapters.sql.money.order_letter import queue_order_letters
from adapters.sql.money.payment_method import payment_methods
from adapters.sql.outbox import signal_workflow, start_workflow
from domain.billing_cycle import BillingDay
from domain.catalog import Catalog
from domain.day import begin, day_of
from domain.error import ErrorCode, Refused
from domain.journal import ENGINE
from domain.ledger import TransferKind
from domain.license import Sku
from domain.membership import require_paid
from domain.money import Money, rounded
from domain.order import (
    ACCOUNT_CLOSED,
    PAYMENT_PENDING,
    BuyLicenses,
    Order,
    OrderQuote,
    OrderState,
    PendingPayment,
    PlanTerm,
    billing_day,
    price_of,
    require_releasable,
    require_valid_order,
)
from domain.outbox import ACCOUNT_CLOSED as ACCOUNT_CLOSED_SIGNAL
from states.lifecycle import after
from states.order import OrderMachine, ending_event, initial_record

STARTED_AFTER: Final = timedelta(minutes=1)
"""Time after which the workflow of a new order is started, unless the buyer's command has."""

_PAGE_SIZE: Final = 500

_LIVE: Final = OrderRow.state.not_in([state for state in OrderState if state.final])


class SqlOrders:
    """The `OrderStore`, and queries for orders."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def quoted(self, order: BuyLicenses, at: datetime) -> Order:
        """Return the draft with its quote; change nothing.

        Raises Refused: `invalid_capacity`, `invalid_quantity` (ADD-1), `not_found`,
        `not_authorized`, `target_not_paid` (ADD-2).
        """
        async with reading(self._engine) as session:
            account = await require_account(session, order.account)
            return (await _draft(session, account, order, at)).record

    async def open(self, order: BuyLicenses, at: datetime) -> Order:
        """Store the draft with the start of its workflow, once; return the stored record.

        Raises Refused as `quoted`.
        """
        async with writing(self._engine) as session:
            account = await require_account(session, order.account, lock=True)
            row = await session.get(OrderRow, order.order_id)
            if row is None:
                draft = await _draft(session, account, order, at)
                row = _new_row(draft, at)
                session.add(row)
                await start_workflow(
                    session, row.record.workflow_id, account.id, at, after=STARTED_AFTER
                )
            return row.record

    async def restore(self, draft: Order) -> None:
        """Store a draft that a restored database lacks, as its workflow has it (OPS-6).

        Raises Refused: `not_found` (no such account), `conflict` (an order that has begun).
        """
        at = draft.journal[0].at
        async with writing(self._engine) as session:
            account = await require_account(session, draft.account, lock=True)
            if await session.get(OrderRow, draft.order_id):
                return
            if draft.state is not OrderState.DRAFT:
                raise Refused(ErrorCode.CONFLICT, "Temporal no longer has its first steps.")
            on, billing = await _first_term(session, account, draft, at)
            session.add(_new_row(_Draft(draft, on, billing), at))

    async def is_paid(self, invoice_id: str) -> bool:
        """Return whether a payment of the invoice is posted, also of one that was void."""
        payment = f"{TransferKind.PAYMENT}/order/{invoice_id}"
        async with reading(self._engine) as session:
            return bool(await posted(session, [payment]))

    async def charges(self) -> AsyncIterator[list[tuple[str, str, str]]]:
        """Yield pages of the invoices that a payment method has paid.

        Each is given as the account, the invoice's id and the provider's id of the payment.
        """
        last = ("", 0)
        while True:
            query = (
                select(OrderRow.account_id, OrderInvoiceRow)
                .join(OrderRow, OrderRow.order_id == OrderInvoiceRow.order_id)
                .where(
                    OrderInvoiceRow.payment.is_not(None),
                    tuple_(OrderInvoiceRow.order_id, OrderInvoiceRow.number) > last,
                )
                .order_by(OrderInvoiceRow.order_id, OrderInvoiceRow.number)
                .limit(_PAGE_SIZE)
            )
            async with reading(self._engine) as session:
                rows = (await session.execute(query)).all()
            yield [(account, row.invoice_id, row.payment or "") for account, row in rows]
            if len(rows) < _PAGE_SIZE:
                return
            last = (rows[-1][1].order_id, rows[-1][1].number)

    async def keep(self, order: Order) -> Order:
        """Store `order` if its journal is longer, with its letters; return the stored record."""
        async with writing(self._engine) as session:
            account, row = await _lock_order(session, order)
            known = len(row.record.journal)
            if not row.record.state.final and len(order.journal) > known:
                await _store_record(session, row, order)
                released = row.released if row.reduced_after == known else ()
                await queue_order_letters(session, account, row, released)
            return row.record

    async def invoice(self, order: Order, at: datetime) -> Order:
        """Create the due invoice, once, and reserve credit for it; return the record."""
        async with writing(self._engine) as session:
            _, row = await _lock_order(session, order)
            if row.record.state.final:
                return row.record
            invoice = await due_invoice(session, row, order)
            invoice = invoice or await make_invoice(session, row, order, at)
            if invoice.state != "paid":
                if row.record.tries <= order.tries:
                    # Until its result is known the order must not end.
                    invoice.state = "open"
                await reserve_credit(session, invoice, order, at)
            await _store_record(session, row, _newer_record(row, order))
            return row.record

    async def due(self, order: Order) -> OrderDue | None:
        """Return the open amount of the due invoice of `order`; None once it is paid."""
        async with reading(self._engine) as session:
            account, row = await _require_order(session, order.order_id)
            invoice, pending = await due_invoice(session, row, order), row.record.pending
            if invoice is None or invoice.state == "paid":
                return None
            methods = [each.id for each in await payment_methods(session, account.id)]
            amount = rounded(invoice.amount - invoice.from_credit, invoice.currency)
            if invoice.state == "void":
                if pending is None:
                    return None
                methods, amount = [pending.method], pending.amount
            elif pending:
                # Those before it have declined.
                methods = [pending.method, *_behind(pending.method, methods)]
            return OrderDue(
                invoice=invoice.invoice_id,
                amount=amount,
                methods=tuple(methods),
                billing_customer=account.billing_customer,
            )

    async def pending(self, order: Order, due: OrderDue, method: str, at: datetime) -> Order:
        """Record that the provider has not decided the charge, with the next look-up."""
        async with writing(self._engine) as session:
            _, row = await _lock_order(session, order)
            record = _newer_record(row, order)
            payment = record.pending
            if payment is None or (payment.invoice, payment.method) != (due.invoice, method):
                payment = PendingPayment(
                    invoice=due.invoice, method=method, amount=due.amount, since=at, look_up_at=at
                )
            cancelled = record.state.final or record.quantity_then == 0
            note = record.note if cancelled else PAYMENT_PENDING
            await _store_record(session, row, record, pending=payment.looked_up(at), note=note)
            return row.record

    async def paid(
        self,
        order: Order,
        payment: OrderPayment | None,
        at: datetime,
        *,
        carried: Money | None = None,
    ) -> Order:
        """Book the payment and its effects, once per invoice; the next one includes `carried`."""
        async with writing(self._engine) as session:
            account, row = await _lock_order(session, order)
            invoice = await due_invoice(session, row, order)
            if invoice is None or invoice.state == "paid":
                return row.record
            if invoice.state == "void":
                if payment:
                    await credit_late_payment(session, account.id, invoice, payment, at)
                row.record = row.record.model_copy(update={"pending": None})
                return row.record
            record = _newer_record(row, order)
            await pay_invoice(session, record, invoice, payment, at, carried=carried)
            if not record.was_paid:
                await grow(session, *_pool_of(record), quantity=record.quantity, at=at)
            quote = record.quote.model_copy(update={"next_billing_date": invoice.period_end})
            record = record.model_copy(
                update={"carried": carried if carried and carried.amount else None}
            )
            await _store_record(
                session,
                row,
                record,
                paid_until=begin(invoice.period_end, account.time_zone),
                # A reduction that was planned during the payment takes effect with its end.
                quote=await _reprice(
                    session, record, record.quantity_then or record.quantity, quote
                ),
                tries=0,
                failed_since=None,
                pending=None,
            )
            return row.record

    async def declined(self, order: Order, at: datetime) -> Order:
        """Record that every payment method has declined, once per try (ADD-4)."""
        async with writing(self._engine) as session:
            _, row = await _lock_order(session, order)
            invoice = await due_invoice(session, row, order)
            unpaid = invoice is not None and invoice.state in {"open", "failed"}
            if invoice and unpaid and row.record.tries <= order.tries:
                invoice.state = "failed"
                record = _newer_record(row, order)
                since = record.failed_since or at
                await _store_record(
                    session,
                    row,
                    record,
                    tries=order.tries + 1,
                    failed_since=since,
                    pending=None,
                )
            elif row.record.state.final:
                row.record = row.record.model_copy(update={"pending": None})
            return row.record

    async def term_ended(
        self, order: Order, at: datetime, *, unless_assigned: bool = False, by: str = ENGINE
    ) -> Order:
        """Reduce the pool at the end of a term; `keep` notifies the released users (ADD-6)."""
        async with writing(self._engine) as session:
            account, row = await _lock_order(session, order)
            if row.record.state.final or row.reduced_after == len(order.journal):
                return row.record
            record, left = _newer_record(row, order), order.quantity_then or 0
            if unless_assigned:
                await _require_releasable(session, order, left, order.release)
            released = await shrink(
                session,
                *_pool_of(record),
                quantity=record.quantity - left,
                release=order.release,
                at=at,
            )
            line = await order_line(session, record)
            if not left:
                await void_invoices(session, account, row.order_id, at, by=by)
                await earn_term(session, record, at, by=by)
            _reduce_line(line, left)
            row.reduced_after, row.released = len(order.journal), tuple(released)
            quantity = left or record.quantity
            await _store_record(
                session, row, record, quantity=quantity, quantity_then=None, release=()
            )
            return row.record

    async def void(self, order: Order, at: datetime, *, by: str = ENGINE) -> Order:
        """Void the open invoice, and return the credit reserved for it."""
        async with writing(self._engine) as session:
            account, row = await _lock_order(session, order)
            if not row.record.state.final:
                await void_invoices(session, account, row.order_id, at, by=by)
                await _store_record(session, row, _newer_record(row, order))
            return row.record

    async def amended(self, request: AmendOrder) -> Order:
        """Add the event to the stored record, once, with its letters (ADD-6)."""
        async with writing(self._engine) as session:
            account, row = await _lock_order(session, request.order)
            if len(row.record.journal) != len(request.order.journal):
                # A retry, or the order has ended with its account.
                return row.record
            record, note = row.record, request.note
            if request.reduction:
                changes = await _reduced(session, record, request.reduction)
                record = record.model_copy(update={**changes, "note": note})
            record = after(
                OrderMachine, record, request.event, at=request.at, by=request.by, note=note
            )
            await _store_record(session, row, record)
            await queue_order_letters(session, account, row)
            return row.record

    async def latest(self, order_id: str) -> Order:
        """Return the stored order. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            _, row = await _require_order(session, order_id)
            return row.record

    async def listed(self, account: str) -> list[Order]:
        """Return all orders of an account, the oldest first. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            await require_account(session, account)
            rows = await session.scalars(
                select(OrderRow)
                .where(OrderRow.account_id == account)
                .order_by(OrderRow.opened_at, OrderRow.order_id)
            )
            return [row.record for row in rows]

    async def unreported(self, account: str) -> list[Order]:
        """Return the orders that their buyers have not seen yet, the oldest first."""
        query = (
            select(OrderRow)
            .where(OrderRow.account_id == account, OrderRow.reported_at.is_(None))
            .order_by(OrderRow.opened_at, OrderRow.order_id)
        )
        async with reading(self._engine) as session:
            return [row.record for row in await session.scalars(query)]

    async def report(self, order_id: str, at: datetime) -> None:
        """Record that the buyer has seen the order; a repeated request is then a new order."""
        query = update(OrderRow).where(OrderRow.order_id == order_id)
        async with writing(self._engine) as session:
            await session.execute(query.values(reported_at=at))

    async def find(self, order_id: str) -> Order | None:
        """Return the stored order, if any."""
        async with reading(self._engine) as session:
            row = await session.get(OrderRow, order_id)
            return row.record if row else None


async def end_orders(session: AsyncSession, account: AccountRow, at: datetime) -> list[Order]:
    """End the orders of an account that closes, and signal their workflows (SRC-2).

    Reserved credit is returned. Return the paid orders, whose licenses are still in the pools.
    """
    ended: list[Order] = []
    for row in await _live_orders(session, account.id):
        if row.record.was_paid:
            ended.append(row.record)
        await void_invoices(session, account, row.order_id, at, by=ENGINE)
        noted = row.record.model_copy(update={"note": ACCOUNT_CLOSED})
        event = ending_event(noted)
        closed = after(OrderMachine, noted, event, at=at, by=ENGINE, note=ACCOUNT_CLOSED)
        await _store_record(session, row, closed)
        await queue_order_letters(session, account, row)
        signal_workflow(
            session, closed.workflow_id, ACCOUNT_CLOSED_SIGNAL, account=account.id, at=at
        )
    return ended


async def release_licenses(session: AsyncSession, orders: Sequence[Order], at: datetime) -> None:
    """Remove the licenses of these orders from the pools."""
    for order in orders:
        await shrink(session, *_pool_of(order), quantity=order.quantity, release=(), at=at)


@dataclass(frozen=True)
class _Draft:
    """An order that is not stored yet, with the days from which its terms are computed."""

    record: Order
    bought_on: date
    billing: BillingDay


async def _draft(
    session: AsyncSession, account: AccountRow, order: BuyLicenses, at: datetime
) -> _Draft:
    require_valid_order(order)
    await require_admin(session, account.id, order.bought_by)
    require_paid(account)
    on, billing = await _first_term(session, account, order, at)
    term = billing.term(on)
    catalog, prices = await _catalog(session)
    quote = OrderQuote(
        due_now=price_of(order, order.quantity, catalog, account.currency, term.share),
        then=price_of(order, order.quantity, catalog, account.currency),
        next_billing_date=term.end,
        prices=prices,
    )
    return _Draft(initial_record(order, quote, at=at), on, billing)


async def _first_term(
    session: AsyncSession, account: AccountRow, order: BuyLicenses | Order, at: datetime
) -> tuple[date, BillingDay]:
    """Return the first day of the order, and its billing day."""
    on, plan = day_of(at, account.time_zone), await _plan_term(session, account)
    return on, billing_day(order, on, plan, account.billing_day)


def _new_row(draft: _Draft, at: datetime) -> OrderRow:
    return OrderRow(
        order_id=draft.record.order_id,
        account_id=draft.record.account,
        state=draft.record.state,
        opened_at=at,
        bought_on=draft.bought_on,
        billing_day=draft.billing.day,
        billing_month=draft.billing.month,
        record=draft.record,
    )


async def _plan_term(session: AsyncSession, account: AccountRow) -> PlanTerm | None:
    line = await session.scalar(
        select(SubscriptionRow)
        .where(
            SubscriptionRow.account_id == account.id,
            SubscriptionRow.kind == "plan",
            SubscriptionRow.ended.is_(None),
        )
        .order_by(SubscriptionRow.position)
        .limit(1)
    )
    if line is None:
        return None
    return PlanTerm(
        start=_day(line.period_start, account.time_zone),
        end=_day(line.paid_until, account.time_zone),
        annual=line.cycle == "annual",
    )


def _day(instant: date, time_zone: str) -> date:
    return day_of(instant, time_zone) if isinstance(instant, datetime) else instant


async def _reprice(
    session: AsyncSession, order: Order, quantity: int, quote: OrderQuote
) -> OrderQuote:
    """Return the quote with the price of `quantity` licenses from the next billing date on."""
    catalog, prices = await _catalog(session)
    then = price_of(order, quantity, catalog, quote.due_now.currency)
    if order.carried:
        then += order.carried
    return quote.model_copy(update={"then": then, "prices": prices})


async def _catalog(session: AsyncSession) -> tuple[Catalog, Literal["example", "imported"]]:
    imported = await imported_catalog(session)
    return (imported, "imported") if imported else (Catalog(), "example")


async def _require_order(session: AsyncSession, order_id: str) -> tuple[AccountRow, OrderRow]:
    row = await session.get(OrderRow, order_id)
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"There is no order {order_id}.")
    return await session.get_one(AccountRow, row.account_id), row


async def _lock_order(session: AsyncSession, order: Order) -> tuple[AccountRow, OrderRow]:
    """Lock the account of the order, which covers the order."""
    await require_account(session, order.account, lock=True)
    return await _require_order(session, order.order_id)


async def _live_orders(session: AsyncSession, account: str) -> Sequence[OrderRow]:
    rows = await session.scalars(
        select(OrderRow).where(OrderRow.account_id == account, _LIVE).order_by(OrderRow.order_id)
    )
    return rows.all()


def _newer_record(row: OrderRow, order: Order) -> Order:
    """Return the newer record: that of the store or that of the workflow."""
    return order if len(order.journal) > len(row.record.journal) else row.record


async def _store_record(
    session: AsyncSession, row: OrderRow, record: Order, **changes: object
) -> None:
    """Store the record with its present invoices."""
    invoices = tuple(as_invoice(each) for each in await invoices_of(session, row.order_id))
    row.record = record.model_copy(update={"invoices": invoices, **changes})
    row.state = row.record.state


def _pool_of(order: Order) -> tuple[str, Sku, int]:
    return order.account, order.sku, order.capacity or NO_CAPACITY


def _behind(method: str, methods: Sequence[str]) -> Sequence[str]:
    """Return the methods that are tried after this one; all, if it is no longer listed."""
    return methods[methods.index(method) + 1 :] if method in methods else methods


def _reduce_line(line: SubscriptionRow | None, left: int) -> None:
    if line is None:
        return
    if left:
        line.quantity = left
    else:
        line.ended = line.paid_until


async def _reduced(session: AsyncSession, order: Order, reduction: Reduction) -> dict[str, object]:
    """Return the changes of a reduction: the next quantity, its price and the releases."""
    quantity = reduction.quantity
    if order.was_paid and not reduction.release_all_holders:
        await _require_releasable(session, order, quantity, reduction.release)
    fewer = quantity < order.quantity
    return {
        "quantity_then": quantity if fewer else None,
        "release": reduction.release if fewer else (),
        "quote": await _reprice(session, order, quantity, order.quote),
    }


async def _require_releasable(
    session: AsyncSession, order: Order, quantity: int, release: Sequence[str]
) -> None:
    """Check a reduction together with the planned reductions of the same pool (ADD-6)."""
    name, sku, capacity = _pool_of(order)
    pool = await session.get(LicensePoolRow, (name, sku, capacity))
    if pool is None or quantity >= order.quantity:
        return
    fewer, released = order.quantity - quantity, set(release)
    for row in await _live_orders(session, name):
        other = row.record
        same = (other.sku, other.capacity) == (order.sku, order.capacity)
        if same and other.order_id != order.order_id and other.quantity_then is not None:
            fewer += other.quantity - other.quantity_then
            released.update(other.release)
    require_releasable(
        await holders(session, name, sku, capacity),
        released,
        reserved=pool.reserved,
        remaining=pool.bought - fewer,
    )
