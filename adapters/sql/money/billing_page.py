"""The reading of an account's orders, invoices and credit, one page of each list."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import selectinload

from adapters.sql.database.schema import (
    AccountRow,
    InvoiceRow,
    OrderRow,
    SubscriptionRow,
    TransferRow,
)
from adapters.sql.database.transaction import number_of, reading
from adapters.sql.membership import require_account
from adapters.sql.money.catalog import imported_catalog
from adapters.sql.money.credit import balances_owed
from adapters.sql.money.ledger import as_transfer, balance
from domain.billing_page import (
    ROWS_PER_PAGE,
    AccountInvoice,
    BillingPage,
    EntryListing,
    InvoiceListing,
    OrderListing,
    PlanLine,
)
from domain.catalog import Catalog
from domain.credit import Credit
from domain.day import day_of
from domain.ledger import credit_of
from domain.money import Money, rounded, total
from domain.order import OrderState

_FINAL: Final = [state.value for state in OrderState if state.final]


class SqlBillingPages:
    """The reader of the pages of orders and credit."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        account: str,
        *,
        ended: bool = False,
        paid: bool = False,
        orders_after: str | None = None,
        invoices_after: str | None = None,
        entries_after: str | None = None,
        changed: str | None = None,
    ) -> BillingPage:
        """Return the page: the live orders or those that have `ended`, open invoices or `paid`.

        Each list begins after its cursor; an unknown cursor is ignored. `changed` is the id of an
        invoice to return as well. Raises Refused: `not_found`.
        """
        async with reading(self._engine) as session:
            row = await require_account(session, account)
            catalog = await imported_catalog(session)
            return BillingPage(
                account=row.id,
                currency=row.currency,
                collection=row.collection,
                catalog=catalog or Catalog(),
                prices="imported" if catalog else "example",
                lines=await _lines(session, row),
                orders=await _orders(session, row, orders_after, ended=ended),
                invoices=await _invoices(session, row, invoices_after, paid=paid),
                credit=await balance(session, credit_of(row.id), row.currency),
                owed=await _owed(session, row),
                entries=await _entries(session, row, entries_after),
                changed=await _changed(session, row, changed),
            )


async def _lines(session: AsyncSession, account: AccountRow) -> tuple[PlanLine, ...]:
    """Return the live subscriptions that are not of an order, the plan first."""
    ordered = select(OrderRow.order_id).where(OrderRow.account_id == account.id)
    rows = await session.scalars(
        select(SubscriptionRow)
        .where(
            SubscriptionRow.account_id == account.id,
            SubscriptionRow.ended.is_(None),
            SubscriptionRow.id.not_in(ordered),
        )
        .options(selectinload(SubscriptionRow.payments))
        .order_by(SubscriptionRow.kind.desc(), SubscriptionRow.position)
        .limit(ROWS_PER_PAGE)
    )
    return tuple(
        PlanLine(
            id=row.id,
            product=row.product,
            kind=row.kind,
            quantity=row.quantity,
            cycle=row.cycle,
            paid=total(
                (rounded(each.amount, account.currency) for each in row.payments),
                account.currency,
            ),
            period_end=_day(row.paid_until, account.time_zone),
            cancellation_pending=row.cancellation_pending,
        )
        for row in rows
    )


def _day(instant: date, time_zone: str) -> date:
    return day_of(instant, time_zone) if isinstance(instant, datetime) else instant


async def _orders(
    session: AsyncSession, account: AccountRow, after: str | None, *, ended: bool
) -> OrderListing:
    query = select(OrderRow).where(OrderRow.account_id == account.id)
    final = OrderRow.state.in_(_FINAL)
    query = query.where(final if ended else ~final)
    last = await session.get(OrderRow, after) if after else None
    if last and last.account_id == account.id:
        position = tuple_(OrderRow.opened_at, OrderRow.order_id)
        query = query.where(position < (last.opened_at, last.order_id))
    query = query.order_by(OrderRow.opened_at.desc(), OrderRow.order_id.desc())
    rows = (await session.scalars(query.limit(ROWS_PER_PAGE + 1))).all()
    shown = rows[:ROWS_PER_PAGE]
    return OrderListing(
        rows=tuple(row.record for row in shown),
        more=shown[-1].order_id if len(rows) > len(shown) else None,
    )


async def _invoices(
    session: AsyncSession, account: AccountRow, after: str | None, *, paid: bool
) -> InvoiceListing:
    query = select(InvoiceRow).where(
        InvoiceRow.account_id == account.id, InvoiceRow.status == ("paid" if paid else "open")
    )
    last = await session.get(InvoiceRow, (account.id, after)) if after else None
    if last:
        position = tuple_(InvoiceRow.due_on, InvoiceRow.position)
        query = query.where(position > (last.due_on, last.position))
    query = query.order_by(InvoiceRow.due_on, InvoiceRow.position)
    rows = (await session.scalars(query.limit(ROWS_PER_PAGE + 1))).all()
    shown = rows[:ROWS_PER_PAGE]
    return InvoiceListing(
        rows=tuple(_invoice(row, account.currency) for row in shown),
        more=shown[-1].id if len(rows) > len(shown) else None,
    )


def _invoice(row: InvoiceRow, currency: str) -> AccountInvoice:
    return AccountInvoice(
        id=row.id,
        amount=rounded(row.amount_due, currency),
        due_on=row.due_on,
        status=row.status,
        charges=row.charges,
        paid_outside=row.paid_outside,
    )


async def _changed(
    session: AsyncSession, account: AccountRow, invoice: str | None
) -> AccountInvoice | None:
    row = await session.get(InvoiceRow, (account.id, invoice)) if invoice else None
    return _invoice(row, account.currency) if row else None


async def _owed(session: AsyncSession, account: AccountRow) -> Money:
    owed = await balances_owed(session, [account.id])
    return rounded(owed.get(account.id, Decimal(0)), account.currency)


async def _entries(session: AsyncSession, account: AccountRow, after: str | None) -> EntryListing:
    credit = credit_of(account.id)
    query = select(TransferRow).where(
        or_(TransferRow.debited == credit, TransferRow.credited == credit),
        TransferRow.currency == account.currency,
    )
    if (number := number_of(after)) is not None:
        query = query.where(TransferRow.number < number)
    query = query.order_by(TransferRow.number.desc())
    rows: Sequence[TransferRow] = (await session.scalars(query.limit(ROWS_PER_PAGE + 1))).all()
    shown = rows[:ROWS_PER_PAGE]
    none = rounded(Decimal(0), account.currency)
    entries = Credit.of(account.id, none, none, [as_transfer(row) for row in shown]).entries
    return EntryListing(
        rows=entries, more=str(shown[-1].number) if len(rows) > len(shown) else None
    )
