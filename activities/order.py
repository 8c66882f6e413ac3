"""The side effects of an order: charges and changes of its record (ADD)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.billing import (
    ChargePending,
    ChargeRequest,
    ChargeTooSmall,
    PaymentProvider,
    ProviderCharge,
)
from domain.charge import ChargeState
from domain.error import Refusal, Refused
from domain.journal import ENGINE
from domain.model import Value
from domain.money import Money
from domain.order import Order, product_name


class ChargeOrder(Value):
    """A request to charge the due invoice: credit first, then the payment methods (ADD-4)."""

    order: Order
    """The current record; its open or failed invoice is charged, else a new one is created."""
    at: AwareDatetime


class ChargeOutcome(StrEnum):
    """The outcome of a charge."""

    PAID = "paid"
    DECLINED = "declined"
    PENDING = "pending"
    """The provider has not decided it; a bank debit takes days."""
    ENDED = "ended"
    """The order has ended with its account, and nothing is left to look up."""


class OrderCharged(Value):
    """The result of a charge."""

    order: Order
    """The stored record; the workflow then applies `pay` and `activate`, `renew`, or `decline`."""
    outcome: ChargeOutcome
    failure: str | None = None
    """The provider's reason of the decline."""

    @property
    def paid(self) -> bool:
        """Return whether the invoice is paid."""
        return self.outcome is ChargeOutcome.PAID


class EndTerm(Value):
    """A request to end the term: to reduce the licenses, or to release all of them."""

    order: Order
    at: AwareDatetime
    by: str = ENGINE
    unless_assigned: bool = False
    """True: refuse if licenses are assigned that would be released."""


class VoidOrder(Value):
    """A request to void the invoice of an order that was never paid."""

    order: Order
    at: AwareDatetime
    by: str = ENGINE


class Reduction(Value):
    """Fewer licenses, or none, from the next term on (ADD-6)."""

    quantity: int
    """The quantity of the next term.

    0 cancels the order; the current quantity withdraws a planned reduction.
    """
    release: tuple[str, ...] = ()
    """The normalized addresses of the users who lose their license then."""
    release_all_holders: bool = False
    """True if any holder may lose their license."""


class AmendOrder(Value):
    """A request to add an event to the stored record, possibly while a payment is undecided."""

    order: Order
    event: str
    at: AwareDatetime
    by: str
    note: str | None
    reduction: Reduction | None = None


class RecordOrder(Value):
    """A request to write the current record."""

    order: Order


class OrderDue(Value):
    """The part of the due invoice that payment methods have to pay."""

    invoice: str
    amount: Money
    """The amount that credit does not cover; may be zero."""
    carried: Money | None = None
    """The part of the invoice that the provider cannot charge."""
    methods: tuple[str, ...]
    """The ids of the methods to try, in order; at least one (ADD-4)."""
    billing_customer: str | None

    def charging(self, amount: Money) -> "OrderDue":
        """Return the same invoice of which `amount` is charged, and the rest carried (ADD-4)."""
        return self.model_copy(update={"amount": amount, "carried": self.amount.minus(amount)})


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

    async def keep(self, order: Order) -> Order:
        """Write `order` if its journal is longer; return the stored record.

        The invoices of the stored record are kept, and the letters about the last event are queued.
        """

    async def invoice(self, order: Order, at: datetime) -> Order:
        """Create the due invoice, once, and reserve credit for it; return the record.

        Each term has one invoice: the first amounts to the quote's `due_now`, each renewal to
        `then`. Each try reserves the credit available at that time.
        """

    async def due(self, order: Order) -> OrderDue | None:
        """Return the open part of the due invoice; None once it is paid.

        While a payment is pending its method is the first. A void invoice has no other method: its
        payment is looked up and not repeated.
        """

    async def pending(self, order: Order, due: OrderDue, method: str, at: datetime) -> Order:
        """Record that the provider has not decided the charge."""

    async def paid(
        self,
        order: Order,
        payment: OrderPayment | None,
        at: datetime,
        *,
        carried: Money | None = None,
    ) -> Order:
        """Book the payment and its effects in one transaction, once per invoice (ADD-5).

        The first payment grows the pool. Each payment lists the licenses beside the plan for its
        term and advances the next billing date. `carried` is the amount that neither credit nor
        `payment` pays: the next invoice includes it.
        The payment of a void invoice becomes credit.
        """

    async def declined(self, order: Order, at: datetime) -> Order:
        """Record that every payment method has declined, once per try (ADD-4)."""

    async def term_ended(
        self, order: Order, at: datetime, *, unless_assigned: bool, by: str
    ) -> Order:
        """Reduce the licenses to `quantity_then` or to none (ADD-6).

        If none is left, the open invoice is voided. Raises Refused: `assigned_exceeds_quantity`
        with `holders`, if `unless_assigned` and users would lose their license.
        """

    async def void(self, order: Order, at: datetime, *, by: str) -> Order:
        """Void the open invoice; a reversing entry returns the credit reserved for it."""

    async def amended(self, request: AmendOrder) -> Order:
        """Add the event to the stored record, and a reduction's price and releases.

        The letters about the event are queued. Raises Refused: `assigned_exceeds_quantity` with
        `holders`, if more licenses would stay assigned after the releases than are left.
        """


@dataclass(frozen=True)
class OrderActivities:
    """The activities of the `AddonPurchase` workflow."""

    store: OrderStore
    provider: PaymentProvider

    @activity.defn
    async def charge_order(self, request: ChargeOrder) -> OrderCharged:
        """Charge the due invoice, once: credit first, then the methods in order (ADD-4).

        A retry after an unknown outcome, and the look-up of a pending payment, send the same
        requests: their keys depend on the order in the input, not on the stored one.
        """
        order, at = request.order, request.at
        stored = await self.store.invoice(order, at)
        if stored.state.final and not order.pending:
            return OrderCharged(order=stored, outcome=ChargeOutcome.ENDED)
        due = await self.store.due(order)
        if due is None:
            return OrderCharged(order=stored, outcome=ChargeOutcome.PAID)
        pending = order.pending
        charged = pending.amount if pending else self.provider.chargeable(due.amount)
        if not charged.amount:
            return await self._carry(request, due)
        due = due.charging(charged)
        try:
            return await self._charge_methods(request, due, may_charge=not stored.state.final)
        except ChargeTooSmall:
            return await self._carry(request, due)

    async def _carry(self, request: ChargeOrder, due: OrderDue) -> OrderCharged:
        """Pay the invoice without a charge; the next one includes what credit does not cover."""
        carried = due.amount + due.carried if due.carried else due.amount
        paid = await self.store.paid(request.order, None, request.at, carried=carried)
        return OrderCharged(order=paid, outcome=ChargeOutcome.PAID)

    async def _charge_methods(
        self, request: ChargeOrder, due: OrderDue, *, may_charge: bool
    ) -> OrderCharged:
        order, at, failure = request.order, request.at, None
        for method in due.methods:
            requested = charge_request(order, due, method, at)
            try:
                charge = await self._charge(
                    requested, is_repeated=order.pending is not None, may_charge=may_charge
                )
            except ChargePending:
                pending = await self.store.pending(order, due, method, at)
                return OrderCharged(order=pending, outcome=ChargeOutcome.PENDING)
            if charge and charge.state is ChargeState.SUCCEEDED:
                return await self._book(request, due, method, charge)
            failure = charge.failure if charge else failure
        declined = await self.store.declined(order, at)
        outcome = ChargeOutcome.ENDED if declined.state.final else ChargeOutcome.DECLINED
        return OrderCharged(order=declined, outcome=outcome, failure=failure)

    async def _charge(
        self, request: ChargeRequest, *, is_repeated: bool, may_charge: bool
    ) -> ProviderCharge | None:
        """Charge once; a repeated request first searches for the charge (ADD-5)."""
        found = None
        if is_repeated or activity.info().attempt > 1:
            found = await self.provider.find_charge(request)
        if found is None and may_charge:
            return await self.provider.charge(request)
        return found

    async def _book(
        self, request: ChargeOrder, due: OrderDue, method: str, charge: ProviderCharge
    ) -> OrderCharged:
        assert charge.provider_id, "a successful charge has an id"
        payment = OrderPayment(method=method, provider_id=charge.provider_id, amount=due.amount)
        stored = await self.store.paid(request.order, payment, request.at, carried=due.carried)
        outcome = ChargeOutcome.ENDED if stored.state.final else ChargeOutcome.PAID
        return OrderCharged(order=stored, outcome=outcome)

    @activity.defn
    async def record_order(self, request: RecordOrder) -> Order:
        """Write the record; return the stored one."""
        return await self.store.keep(request.order)

    @activity.defn
    async def amend_order(self, request: AmendOrder) -> Order | Refusal:
        """Add an event to the stored record; return the stored record."""
        try:
            return await self.store.amended(request)
        except Refused as refused:
            return Refusal.of(refused)

    @activity.defn
    async def end_term(self, request: EndTerm) -> Order | Refusal:
        """Release the licenses that are no longer paid (ADD-6, ADD-7)."""
        try:
            return await self.store.term_ended(
                request.order, request.at, unless_assigned=request.unless_assigned, by=request.by
            )
        except Refused as refused:
            return Refusal.of(refused)

    @activity.defn
    async def void_order(self, request: VoidOrder) -> Order:
        """Void the open invoice."""
        return await self.store.void(request.order, request.at, by=request.by)


def charge_request(order: Order, due: OrderDue, method: str, at: datetime) -> ChargeRequest:
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
