"""The side effects of an order: quotes, charges, pools, letters (ADD)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.billing import ChargeRequest, PaymentProvider, ProviderCharge
from activities.letter import Mailer, send_or_log
from domain.charge import ChargeState
from domain.letter.order import OrderParties, order_letters
from domain.model import Value
from domain.money import Money
from domain.order import BuyLicenses, Order, product_name


class OpenOrder(Value):
    """A request to quote the order and write its draft."""

    order: BuyLicenses
    at: AwareDatetime


class ChargeOrder(Value):
    """A request to charge the due invoice: credit first, then the payment methods (ADD-4)."""

    order: Order
    """The current record; its open or failed invoice is charged, else a new one is created."""
    at: AwareDatetime


class OrderCharged(Value):
    """The result of a charge."""

    order: Order
    """The stored record; the workflow then applies `pay` and `activate`, `renew`, or `decline`."""
    paid: bool
    """False, without a `failure`, if the order has ended with its account meanwhile."""
    failure: str | None = None
    """The provider's reason of the decline."""


class EndTerm(Value):
    """A request to end the term: to reduce the licenses, or to release all of them."""

    order: Order
    at: AwareDatetime


class TermEnded(Value):
    """The stored record, and the users who lost a license."""

    order: Order
    released: tuple[str, ...] = ()


class VoidOrder(Value):
    """A request to void the invoice of an order that was never paid."""

    order: Order
    at: AwareDatetime


class PlanReduction(Value):
    """A request to plan fewer licenses, or none, from the next term on (ADD-6)."""

    order: Order
    quantity: int
    """The quantity of the next term.

    0 cancels the order; the current quantity withdraws a planned reduction.
    """
    release: tuple[str, ...] = ()
    """The normalized addresses of the users who lose their license then."""
    release_all_holders: bool = False
    """True if any holder may lose their license."""


class RecordOrder(Value):
    """A request to write the current record."""

    order: Order


class NotifyBuyer(Value):
    """A request to notify the buyer of the state, and holders of their released licenses."""

    kind: Literal["order"] = "order"
    order: Order
    released: tuple[str, ...] = ()
    lapses_at: AwareDatetime | None = None
    """The end of the review, while the order is in review."""


class OrderDue(Value):
    """The part of the due invoice that payment methods have to pay."""

    invoice: str
    amount: Money
    """The amount that credit does not cover; may be zero."""
    methods: tuple[str, ...]
    """The ids of the methods to try, in order; at least one (ADD-4)."""
    billing_customer: str | None


class OrderPayment(Value):
    """The payment of an invoice by a payment method."""

    method: str
    provider_id: str
    """The provider's id of the payment."""
    amount: Money


class OrderStore(Protocol):
    """The part of the store that a running order uses.

    Each step gets the workflow's record, is carried out once in spite of retries, and returns
    the stored record. If the order has ended with its account meanwhile, a step changes nothing.
    """

    async def quoted(self, order: BuyLicenses, at: datetime) -> Order:
        """Return the draft with its quote; change nothing.

        Raises Refused: `invalid_capacity`, `invalid_quantity` (ADD-1), `not_found`,
        `not_authorized`, `target_not_paid` (ADD-2).
        """

    async def open(self, order: BuyLicenses, at: datetime) -> Order:
        """Write the draft; on repeat return the stored record. Raises Refused as `quoted`."""

    async def keep(self, order: Order) -> Order:
        """Write `order`, unless the stored record is newer (a longer journal); return the stored.

        The invoices of the stored record are kept.
        """

    async def invoice(self, order: Order, at: datetime) -> Order:
        """Create the due invoice, once, and reserve credit for it; return the record.

        Each term has one invoice: the first amounts to the quote's `due_now`, each renewal to
        `then`. Each try reserves the credit available at that time.
        """

    async def due(self, order: Order) -> OrderDue | None:
        """Return the open part of the due invoice; None once it is paid."""

    async def paid(self, order: Order, payment: OrderPayment | None, at: datetime) -> Order:
        """Book the payment and its effects in one transaction, once per invoice (ADD-5).

        The first payment grows the pool. Each payment lists the licenses beside the plan for its
        term and advances the next billing date. Without `payment`, credit has paid the invoice.
        """

    async def declined(self, order: Order, at: datetime) -> Order:
        """Record that every payment method has declined, once per try (ADD-4)."""

    async def term_ended(self, order: Order, at: datetime) -> tuple[Order, tuple[str, ...]]:
        """Reduce the licenses to `quantity_then` or to none; return the users who lost one (ADD-6).

        If none is left, the open invoice is voided.
        """

    async def void(self, order: Order, at: datetime) -> Order:
        """Void the open invoice; a reversing entry returns the credit reserved for it."""

    async def planned(
        self, order: Order, quantity: int, release: tuple[str, ...], release_all_holders: bool
    ) -> Order:
        """Return the order with `quantity` licenses from its next term on; change nothing.

        Its `then`, `quantity_then` and `release` are set. Raises Refused:
        `assigned_exceeds_quantity` with `holders`, if more licenses would stay assigned after
        the releases.
        """

    async def order_parties(self, order: Order, released: tuple[str, ...]) -> OrderParties:
        """Return the people whom the order concerns, as the directory has them now."""


@dataclass(frozen=True)
class OrderActivities:
    """The activities of the `AddonPurchase` workflow."""

    store: OrderStore
    provider: PaymentProvider
    mailer: Mailer

    @activity.defn
    async def open_order(self, request: OpenOrder) -> Order:
        """Write the draft with its quote."""
        return await self.store.open(request.order, request.at)

    @activity.defn
    async def charge_order(self, request: ChargeOrder) -> OrderCharged:
        """Charge the due invoice, once: credit first, then the methods in order (ADD-4).

        A retry after an unknown outcome sends the same requests: their keys depend on the order
        in the input, not on the stored one.
        """
        order, at = request.order, request.at
        stored = await self.store.invoice(order, at)
        if stored.state.final:
            return OrderCharged(order=stored, paid=False)
        due = await self.store.due(order)
        if due is None:
            return OrderCharged(order=stored, paid=True)
        if not due.amount.amount:
            return OrderCharged(order=await self.store.paid(order, None, at), paid=True)
        failure: str | None = None
        for method in due.methods:
            charge = await self._charge(_charge_request(order, due, method, at))
            if charge.state is ChargeState.SUCCEEDED:
                return await self._book(request, due, method, charge)
            failure = charge.failure
        declined = await self.store.declined(order, at)
        return OrderCharged(order=declined, paid=False, failure=failure)

    async def _charge(self, request: ChargeRequest) -> ProviderCharge:
        """Charge once; a retry of the activity first searches for the charge (ADD-5)."""
        found = None
        if activity.info().attempt > 1:
            found = await self.provider.find_charge(request)
        return found or await self.provider.charge(request)

    async def _book(
        self, request: ChargeOrder, due: OrderDue, method: str, charge: ProviderCharge
    ) -> OrderCharged:
        assert charge.provider_id, "a successful charge has an id"
        payment = OrderPayment(method=method, provider_id=charge.provider_id, amount=due.amount)
        stored = await self.store.paid(request.order, payment, request.at)
        return OrderCharged(order=stored, paid=not stored.state.final)

    @activity.defn
    async def record_order(self, request: RecordOrder) -> Order:
        """Write the record; return the stored one."""
        return await self.store.keep(request.order)

    @activity.defn
    async def plan_reduction(self, request: PlanReduction) -> Order:
        """Return the order with the planned quantity, price and releases (ADD-6)."""
        return await self.store.planned(
            request.order, request.quantity, request.release, request.release_all_holders
        )

    @activity.defn
    async def end_term(self, request: EndTerm) -> TermEnded:
        """Release the licenses that are no longer paid (ADD-6, ADD-7)."""
        ended, released = await self.store.term_ended(request.order, request.at)
        return TermEnded(order=ended, released=released)

    @activity.defn
    async def void_order(self, request: VoidOrder) -> Order:
        """Void the open invoice."""
        return await self.store.void(request.order, request.at)

    @activity.defn
    async def notify_buyer(self, request: NotifyBuyer) -> None:
        """Notify the buyer of the state, and holders of their released licenses (TXT-2)."""
        parties = await self.store.order_parties(request.order, request.released)
        for letter in order_letters(request.order, parties, lapses_at=request.lapses_at):
            await send_or_log(self.mailer, letter)


def _charge_request(order: Order, due: OrderDue, method: str, at: datetime) -> ChargeRequest:
    """Return the request to charge one method in one try, with its own key."""
    return ChargeRequest(
        key=f"{due.invoice}/{order.tries}/{method}",
        account=order.account,
        billing_customer=due.billing_customer,
        method=method,
        amount=due.amount,
        description=f"{order.quantity} × {product_name(order)}, {due.invoice}",
        at=at,
    )
