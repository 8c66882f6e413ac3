"""Orders of licenses, from the draft to the end of the last term (ADD)."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal, Self

from pydantic import AwareDatetime, Field

from domain.billing_cycle import BillingDay
from domain.catalog import Catalog
from domain.error import ErrorCode, Refused
from domain.journal import ENGINE, OPERATOR, JournalEntry
from domain.license import Sku, license_name, require_capacity
from domain.model import Value
from domain.money import Money, rounded
from domain.policy import Policy
from domain.text import OneLine

Cycle = Literal["monthly", "annual"]
Portal = Literal["plans", "account"]
"""`plans` places the order at once; `account` shows a review that must be confirmed (ADD-3)."""

RETRY_AFTER = (timedelta(days=1), timedelta(days=3), timedelta(days=5), timedelta(days=7))
"""The retries of a declined payment, counted from its first failure (ADD-4)."""

MAX_LICENSES_PER_ORDER: Final = 1_000_000
"""The maximum quantity of one order; larger amounts would overflow the ledger."""

REVIEW_LAPSED = "review_lapsed"
"""The note of a review that was not confirmed in time (ADD-3)."""
ENDS_WITH_TERM = "ends_with_term"
"""The note of an order that was cancelled while it is paid for (ADD-6)."""
REDUCED_WITH_TERM = "reduced_with_term"
"""The note of an order that has fewer licenses from the next billing date on (ADD-6)."""
REPLACED = "replaced"
"""The note of a review that was cancelled for one with other terms (ADD-3)."""
PAYMENT_DECLINED = "payment_declined"
"""The note of a decline without a reason, and of an end after the last retry (ADD-4, ADD-7)."""
ACCOUNT_CLOSED = "account_closed"
"""The note of an order that ended with its account (SRC-2)."""
PAYMENT_PENDING = "payment_pending"
"""The note of an order while the provider processes its payment; a bank debit takes days."""
CANCELLED_AFTER_PAYMENT = "cancelled_after_payment"
"""The note of an order that was cancelled while its payment was undecided (ADD-6)."""

FIRST_LOOKUP_AFTER = timedelta(minutes=1)
LONGEST_LOOKUP_INTERVAL = timedelta(hours=6)


class OrderState(StrEnum):
    """The state of an order; `states/order.py` declares the transitions."""

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
        """Return true when no transition leaves the state."""
        return self in {OrderState.CANCELLED, OrderState.ENDED}


class OrderQuote(Value):
    """The amounts due now and at the coming renewal (ADD-4)."""

    due_now: Money
    """The amount of the first payment; renewals do not change it."""
    then: Money
    """The amount for the whole cycle that begins on `next_billing_date`, and what is carried."""
    next_billing_date: date
    """A date in the account's time zone; it advances with each renewal."""
    prices: Literal["example", "imported"] = "example"
    """The source of the prices; those of the built-in catalogue are an example (ADD-4)."""


class OrderInvoice(Value):
    """One charge of an order: the purchase or a renewal."""

    id: str
    """`<order id>/<number>`, counted from 1."""
    amount: Money
    state: Literal["open", "paid", "failed", "void"]
    """`failed`: declined, and retried later; `void`: no longer charged."""
    at: AwareDatetime


class PendingPayment(Value):
    """A charge that the provider has accepted and not decided yet."""

    invoice: str
    method: str
    amount: Money
    """The part of the invoice that the method pays."""
    since: AwareDatetime
    look_up_at: AwareDatetime
    """The time of the next look-up."""

    def looked_up(self, at: datetime) -> Self:
        """Return the payment after a look-up; the interval doubles, from a minute to six hours."""
        interval = min(max(at - self.since, FIRST_LOOKUP_AFTER), LONGEST_LOOKUP_INTERVAL)
        return self.model_copy(update={"look_up_at": at + interval})


class BuyLicenses(Value):
    """A purchase as the buyer requests it."""

    order_id: str
    account: str
    sku: Sku
    capacity: int | None = None
    quantity: int = Field(ge=1)
    cycle: Cycle
    portal: Portal = "plans"
    bought_by: str
    """The normalized address of the owner or admin who buys (ADD-2)."""
    author: str | None = None
    """The author of the request, if another one acts for the buyer (OPS-8)."""
    policy: Policy = Policy()
    caller_waits_until: AwareDatetime | None = None
    """The time, by the caller's clock, at which the caller stops waiting for the result."""

    @property
    def workflow_id(self) -> str:
        """Return the workflow id: one workflow for each order."""
        return f"addon/{self.account}/{self.order_id}"


class Order(Value):
    """The present status of an order, as `order show` prints it and the store keeps it."""

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
    policy: Policy = Policy()
    """The policy of its start; a later change does not affect it."""
    quote: OrderQuote
    invoices: tuple[OrderInvoice, ...] = ()
    note: OneLine | None = None
    """The reason of its end or change, for example `review_lapsed`."""
    quantity_then: int | None = None
    """The reduced quantity from the next billing date on; 0: cancelled (ADD-6)."""
    release: tuple[str, ...] = ()
    """The addresses whose licenses are released when the reduction takes effect."""
    paid_until: AwareDatetime | None = None
    """The end of the paid term; None before the first payment."""
    failed_since: AwareDatetime | None = None
    """The time at which the open payment was first declined; None while none is declined."""
    tries: int = 0
    """The number of declines of the open payment; it also numbers the next try, from 0."""
    pending: PendingPayment | None = None
    """The charge that the provider has not decided yet."""
    carried: Money | None = None
    """The amount of paid invoices that could not be charged; included in the next one (ADD-4)."""
    caller_waits_until: AwareDatetime | None = None
    """The time, by the caller's clock, at which the caller stopped waiting for the result."""
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = ()
    """The updates that are accepted now."""

    @property
    def outcome(self) -> str:
        """Return the note, for refusals."""
        return f" ({self.note.replace('_', ' ')})" if self.note else ""

    @property
    def was_paid(self) -> bool:
        """Return whether any payment has succeeded."""
        return self.paid_until is not None

    @property
    def payer(self) -> str:
        """Return the author of the next payment (OPS-8).

        The purchase, or its confirmation, requests the first one. Retries and renewals are the
        engine's own.
        """
        if self.was_paid or self.tries:
            return ENGINE
        requests = (each.by for each in reversed(self.journal) if each.event in _PURCHASES)
        return next(requests, ENGINE)

    def has_terms_of(self, request: BuyLicenses) -> bool:
        """Return whether `request` has the account, buyer and terms of this order."""
        terms = request.model_dump(exclude={"order_id", "author", "policy", "caller_waits_until"})
        return self.model_dump(include=set(terms)) == terms

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """Return the order after the transition of `entry`; no other method changes the state."""
        changed = self.model_copy(
            update={
                "state": OrderState(entry.to_state),
                "journal": (*self.journal, entry),
                **changes,
            }
        )
        if changed.quantity_then != 0:
            return changed
        # The order is cancelled and ends with its term; its quantity cannot be reduced further.
        allowed = tuple(update for update in changed.allowed if update != "change_quantity")
        return changed.model_copy(update={"allowed": allowed})

    @property
    def next_invoice(self) -> str:
        """Return the id of the unpaid invoice, else of the one that the next payment creates."""
        unpaid = (invoice.id for invoice in self.invoices if invoice.state in {"open", "failed"})
        return next(unpaid, f"{self.order_id}/{len(self.invoices) + 1}")

    @property
    def lapses_at(self) -> datetime | None:
        """Return the end of the review; None in other states (ADD-3)."""
        if self.state is not OrderState.REVIEW:
            return None
        return self.journal[-1].at + self.policy.review_validity

    @property
    def payment_is_booked(self) -> bool:
        """Return whether a payment is booked, and its events are not in the journal yet."""
        unpaid = self.state in {OrderState.PLACED, OrderState.PAYMENT_FAILED}
        return unpaid and self.was_paid and self.failed_since is None

    @property
    def is_renewed(self) -> bool:
        """Return whether the last payment was a renewal."""
        return sum(invoice.state == "paid" for invoice in self.invoices) > 1

    @property
    def payment_is_next(self) -> bool:
        """Return whether the next step is a payment, rather than an end or a reduction."""
        if self.payment_is_booked:
            return False
        # An open invoice is being charged: its result has to be known before the order ends.
        if self.pending or any(invoice.state == "open" for invoice in self.invoices):
            return True
        match self.state:
            case OrderState.PLACED | OrderState.PAID:
                return True
            case OrderState.PAYMENT_FAILED:
                return self.next_try_at() is not None and self.quantity_then != 0
            case _:
                return self.state is OrderState.ACTIVE and self.quantity_then is None

    @property
    def next_step_at(self) -> datetime | None:
        """Return the time of the next step.

        None in a state without a waiting time: the step, if any, is due now.
        """
        if self.pending:
            return self.pending.look_up_at
        match self.state:
            case OrderState.REVIEW:
                return self.lapses_at
            case OrderState.PAYMENT_FAILED:
                return self.next_try_at()
            case OrderState.ACTIVE:
                return self.paid_until
            case _:
                return None

    def next_try_at(self) -> datetime | None:
        """Return the time of the next retry.

        None after the last retry, and while no payment is declined.
        """
        if self.failed_since is None or self.tries > len(RETRY_AFTER):
            return None
        return self.failed_since + RETRY_AFTER[self.tries - 1]


_PURCHASES = frozenset({"buy", "confirm"})
"""The events by which a person requests the first payment."""


class ConfirmOrder(Value):
    """The confirmation of a review, which places the order (ADD-3)."""

    by: str = OPERATOR


class CancelOrder(Value):
    """The cancellation: at once if the order was never paid, else with its term (ADD-6)."""

    release_all: bool = False
    """True: the holders lose their licenses at the end of the term."""
    replaced: bool = False
    """True: only a review is cancelled, because one with other terms replaces it (ADD-3)."""
    by: str = OPERATOR


class ChangeQuantity(Value):
    """The reduction of the quantity from the end of the term on (ADD-6)."""

    quantity: int
    release: tuple[str, ...] = ()
    """The normalized addresses of the holders who lose their license then."""
    by: str = OPERATOR


class PlanTerm(Value):
    """The current period of an account's plan."""

    start: date
    end: date
    annual: bool


class StartOrder(Value):
    """The input of one run."""

    order: Order
    """The stored record, or the one carried over from the previous run."""


def billing_day(
    order: "BuyLicenses | Order", on: date, plan: PlanTerm | None, named: int | None
) -> BillingDay:
    """Return the billing day of an order, which never changes (ADD-4).

    Monthly: the account's billing day `named`, else the day on which its plan's period began,
    else the day of the order. Annual: the day on which an annual plan's period ends, else the
    day of the order.
    """
    if order.cycle == "annual":
        return BillingDay.of_year(plan.end if plan and plan.annual else on)
    return BillingDay(day=named or (plan.start if plan else on).day)


def price_of(
    request: BuyLicenses | Order,
    quantity: int,
    catalog: Catalog,
    currency: str,
    share: Fraction = Fraction(1),
) -> Money:
    """Return the price of `quantity` licenses for a `share` of a cycle, rounded once (ADD-4)."""
    full = catalog.price(request.sku, request.capacity, quantity, request.cycle)
    return rounded(Fraction(full) * share, currency)


def parse_cycle(typed: str) -> Cycle:
    """Parse a cycle. Raises `Refused(invalid_cycle)` (ADD-1)."""
    match typed.strip():
        case "monthly":
            return "monthly"
        case "annual":
            return "annual"
    raise Refused(ErrorCode.INVALID_CYCLE, f"Unknown cycle {typed!r}; use monthly or annual.")


def product_name(order: Order) -> str:
    """Return the product name of the order's subscription line."""
    return license_name(order.sku, order.capacity)


def require_valid_order(order: BuyLicenses) -> None:
    """Raise `Refused(invalid_capacity)` or `Refused(invalid_quantity)` (ADD-1)."""
    require_capacity(order.sku, order.capacity)
    if order.quantity > MAX_LICENSES_PER_ORDER:
        raise Refused(
            ErrorCode.INVALID_QUANTITY,
            f"The quantity is too large; an order has at most {MAX_LICENSES_PER_ORDER} licenses.",
        )


def require_releasable(
    holders: Sequence[str], release: Collection[str], *, reserved: int, remaining: int
) -> None:
    """Raise Refused(assigned_exceeds_quantity) if too few licenses would remain (ADD-6).

    `remaining` licenses must suffice for the holders not named in `release`, and for the
    reserved ones.
    """
    kept = [email for email in holders if email not in release]
    excess = len(kept) + reserved - remaining
    if excess > 0:
        raise Refused(
            ErrorCode.ASSIGNED_EXCEEDS_QUANTITY,
            f"{len(holders)} of the licenses are assigned, and {reserved} reserved; "
            "name the users to release.",
            holders=[*holders],
            excess=excess,
        )
