"""One purchase of licenses, from its draft to the end of its last term (ADD)."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal, Self

from pydantic import AwareDatetime, Field

from domain.billing_cycle import BillingDay
from domain.catalog import Catalog
from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry
from domain.license import Sku, require_capacity
from domain.model import Value
from domain.money import Money, rounded
from domain.policy import Policy
from domain.text import OneLine

Cycle = Literal["monthly", "annual"]
Portal = Literal["plans", "account"]
"""`plans` places at once; `account` shows a review that has to be confirmed (ADD-3)."""

RETRY_AFTER = (timedelta(days=1), timedelta(days=3), timedelta(days=5), timedelta(days=7))
"""When a declined payment is tried again, counted from its first failure (ADD-4)."""

MAX_LICENSES_PER_ORDER: Final = 1_000_000
"""Of one order: what is more is a slip of the finger, and more than the ledger can count."""

REVIEW_LAPSED = "review_lapsed"
"""The note of a review that nobody confirmed in time (ADD-3)."""
ENDS_WITH_TERM = "ends_with_term"
"""The note of an order that was cancelled while it is paid for (ADD-6)."""
REDUCED_WITH_TERM = "reduced_with_term"
"""The note of an order that has fewer licenses from the next billing date on (ADD-6)."""
PAYMENT_DECLINED = "payment_declined"
"""The note of an order whose payment was declined for too long (ADD-4, ADD-7)."""
ACCOUNT_CLOSED = "account_closed"
"""The note of an order that ended with its account (SRC-2)."""


class OrderState(StrEnum):
    """Where an order stands; `states/order.py` draws how it moves."""

    DRAFT = "draft"
    REVIEW = "review"
    PLACED = "placed"
    PAID = "paid"
    ACTIVE = "active"
    PAYMENT_FAILED = "payment_failed"
    CANCELLED = "cancelled"
    ENDED = "ended"

    @property
    def final(self) -> bool:
        """Nothing moves it any more."""
        return self in {OrderState.CANCELLED, OrderState.ENDED}


class OrderQuote(Value):
    """What is due now, and at the coming renewal (ADD-4)."""

    due_now: Money
    """That of the purchase; it stays."""
    then: Money
    """For the whole cycle that begins on `next_billing_date`."""
    next_billing_date: date
    """In the account's time zone; moves on with each renewal."""
    prices: Literal["example", "imported"] = "example"
    """Whose: those of the built-in catalogue are an example (ADD-4)."""


class OrderInvoice(Value):
    """One charge of an order: the purchase or a renewal."""

    id: str
    """`<order id>/<number>`, counted from 1."""
    amount: Money
    state: Literal["open", "paid", "failed", "void"]
    """`failed`: declined, and tried again; `void`: given up."""
    at: AwareDatetime


class BuyLicenses(Value):
    """The order that starts a purchase."""

    order_id: str
    account: str
    sku: Sku
    capacity: int | None = None
    quantity: int = Field(ge=1)
    cycle: Cycle
    portal: Portal = "plans"
    bought_by: str
    """The normalized address of the owner or admin who buys (ADD-2)."""
    policy: Policy = Policy()
    awaited_until: AwareDatetime | None = None
    """When whoever asks for it stops waiting for an answer, by their own clock."""

    @property
    def workflow_id(self) -> str:
        """One run for each order."""
        return f"addon/{self.account}/{self.order_id}"


class Order(Value):
    """An order as it stands: what `order show` prints and what the store keeps."""

    order_id: str
    workflow_id: str
    account: str
    state: OrderState
    sku: Sku
    capacity: int | None
    quantity: int
    cycle: Cycle
    portal: Portal
    bought_by: str
    quote: OrderQuote
    invoices: tuple[OrderInvoice, ...] = ()
    note: OneLine | None = None
    """For example `review_lapsed`, or that it ends with its term."""
    quantity_then: int | None = None
    """The quantity from the next billing date on, when it was reduced; 0: cancelled (ADD-6)."""
    release: tuple[str, ...] = ()
    """Whose licenses are released when the reduction takes effect."""
    paid_until: AwareDatetime | None = None
    """The end of the term that was paid for; None before the first payment."""
    failed_since: AwareDatetime | None = None
    """When the open payment was first declined; None while none is."""
    tries: int = 0
    """How often the open payment has been declined."""
    awaited_until: AwareDatetime | None = None
    """When whoever asked for it stopped waiting for an answer, by their own clock."""
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = ()
    """The updates that an outsider may send now."""

    @property
    def was_paid(self) -> bool:
        """Whether any payment of it has succeeded."""
        return self.paid_until is not None

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """The order after `entry`: the one way in which it changes state."""
        moved = self.model_copy(
            update={
                "state": OrderState(entry.to_state),
                "journal": (*self.journal, entry),
                **changes,
            }
        )
        if moved.quantity_then != 0:
            return moved
        # Cancelled, and waiting for the end of its term: there is nothing to reduce.
        left = tuple(update for update in moved.allowed if update != "change_quantity")
        return moved.model_copy(update={"allowed": left})

    def next_try_at(self) -> datetime | None:
        """When the declined payment is tried again; None when it is given up, or none is."""
        if self.failed_since is None or self.tries > len(RETRY_AFTER):
            return None
        return self.failed_since + RETRY_AFTER[self.tries - 1]


class ConfirmOrder(Value):
    """Place what was reviewed (ADD-3)."""


class CancelOrder(Value):
    """End it: at once while it was never paid, else with its term (ADD-6)."""

    release_all: bool = False
    """Whether those who hold its licenses may lose them then."""


class ChangeQuantity(Value):
    """Reduce it from the end of the term on (ADD-6)."""

    quantity: int
    release: tuple[str, ...] = ()
    """The normalized addresses of those who lose their license then."""


class PlanTerm(Value):
    """The current period of the plan that an account has."""

    start: date
    end: date
    annual: bool


class StartOrder(Value):
    """The input of one run."""

    order: BuyLicenses
    carried: Order
    """The draft as it was quoted to the buyer, or what the run before hands on."""


def billing_day(
    order: BuyLicenses, on: date, plan: PlanTerm | None, named: int | None
) -> BillingDay:
    """The day on which the order's cycles begin, for good (ADD-4).

    Monthly: the day `named` by the account, else that on which its plan's period began, else
    the day `on` which it is bought. Annual: the end of an annual plan's period, every year,
    else the day on which it is bought.
    """
    if order.cycle == "annual":
        return BillingDay.of_year(plan.end if plan and plan.annual else on)
    return BillingDay(day=named or (plan.start if plan else on).day)


def price_of(
    order: BuyLicenses | Order,
    quantity: int,
    catalog: Catalog,
    currency: str,
    share: Fraction = Fraction(1),
) -> Money:
    """What `share` of a cycle costs for `quantity` licenses, rounded once (ADD-4)."""
    full = catalog.price(order.sku, order.capacity, quantity, order.cycle)
    return rounded(Fraction(full) * share, currency)


def parse_cycle(typed: str) -> Cycle:
    """The cycle that somebody has typed. Raises Refused: `invalid_cycle` (ADD-1)."""
    match typed.strip():
        case "monthly":
            return "monthly"
        case "annual":
            return "annual"
    raise Refused(ErrorCode.INVALID_CYCLE, f"Unknown cycle {typed!r}; use monthly or annual.")


def product_name(order: Order) -> str:
    """What its subscription line is called."""
    return "Workplace" if order.sku is Sku.WORKPLACE else f"Large Meeting {order.capacity}"


def require_valid_order(order: BuyLicenses) -> None:
    """Raises Refused: `invalid_capacity`, `invalid_quantity` (ADD-1)."""
    require_capacity(order.sku, order.capacity)
    if order.quantity > MAX_LICENSES_PER_ORDER:
        raise Refused(
            ErrorCode.INVALID_QUANTITY,
            f"An order is for {MAX_LICENSES_PER_ORDER} licenses at most.",
        )


def require_releasable(
    holders: Sequence[str], release: Collection[str], *, reserved: int, remaining: int
) -> None:
    """Raise Refused(assigned_exceeds_quantity) if too few licenses would remain (ADD-6).

    `remaining` licenses must suffice for the holders not named in `release`, and for the
    reserved ones.
    """
    kept = [email for email in holders if email not in release]
    if len(kept) + reserved > remaining:
        raise Refused(
            ErrorCode.ASSIGNED_EXCEEDS_QUANTITY,
            f"{len(holders)} of the licenses are assigned, and {reserved} reserved; "
            "name the users to release.",
            holders=[*holders],
        )
