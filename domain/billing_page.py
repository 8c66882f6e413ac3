"""The page of an account's orders, invoices and credit, as its admins read it."""

from collections.abc import Iterator
from datetime import date
from typing import Literal

from domain.catalog import Catalog
from domain.credit import CreditEntry
from domain.license import CAPACITIES, Sku
from domain.model import Value
from domain.money import Money, rounded
from domain.order import Order, OrderQuote

ROWS_PER_PAGE = 50


class PlanLine(Value):
    """A live subscription that no order of Seatflow renews: the plan, or an imported add-on."""

    id: str
    product: str
    kind: str
    quantity: int
    cycle: str
    paid: Money
    """The amount paid for the current period."""
    period_end: date
    """The last day of the period is the one before."""
    cancellation_pending: bool


class AccountInvoice(Value):
    """An invoice of the account, which is not one of an order."""

    id: str
    amount: Money
    """The amount that is still open."""
    due_on: date
    status: str
    charges: int
    """The number of charges that have a result."""
    paid_outside: str | None


class Listing(Value):
    """The positions of a list that is read page by page."""

    more: str | None = None
    """The cursor of the next page; None on the last one."""


class OrderListing(Listing):
    """Orders, the newest first."""

    rows: tuple[Order, ...]


class InvoiceListing(Listing):
    """Invoices of the account, the one due first before the others."""

    rows: tuple[AccountInvoice, ...]


class EntryListing(Listing):
    """Entries of credit, the newest first."""

    rows: tuple[CreditEntry, ...]


class ListPrice(Value):
    """The price of one license."""

    sku: Sku
    capacity: int | None
    monthly: Money
    annual: Money


class BillingPage(Value):
    """The money of an account, with one page of each list."""

    account: str
    currency: str
    collection: str
    """`autopay` or `net_terms`: whether credit is applied by itself (CRD-3)."""
    catalog: Catalog
    prices: Literal["example", "imported"]
    lines: tuple[PlanLine, ...]
    orders: OrderListing
    invoices: InvoiceListing
    credit: Money
    """The credit, from which nothing that is owed is taken off (QUO-7)."""
    owed: Money
    """The sum of the open invoices."""
    entries: EntryListing
    changed: AccountInvoice | None = None
    """The invoice that was just paid, in part or in full."""

    def price_list(self) -> Iterator[ListPrice]:
        """Yield the price of each license of the catalogue."""
        sold: list[tuple[Sku, int | None]] = [(Sku.WORKPLACE, None)]
        sold += [
            (sku, capacity) for sku, capacities in CAPACITIES.items() for capacity in capacities
        ]
        for sku, capacity in sold:
            yield ListPrice(
                sku=sku,
                capacity=capacity,
                monthly=rounded(self.catalog.price(sku, capacity, 1, "monthly"), self.currency),
                annual=rounded(self.catalog.price(sku, capacity, 1, "annual"), self.currency),
            )

    def from_credit(self, quote: OrderQuote) -> Money:
        """Return the part of the first payment that the present credit pays (ADD-4)."""
        return min(self.credit, quote.due_now, key=lambda money: money.amount)
