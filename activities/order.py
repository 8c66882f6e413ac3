"""What a purchase does to the world: quotes, charges, pools, e-mails."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.billing import ChargeRequest, PaymentProvider, ProviderCharge
from activities.letter import Post, Undeliverable, send_patiently
from domain.charge import ChargeState
from domain.letter.order import OrderParties, order_letters
from domain.model import Value
from domain.money import Money
from domain.order import BuyLicenses, Order, product_name


class OpenOrder(Value):
    """Work out what is due, and keep the draft."""

    order: BuyLicenses
    at: AwareDatetime


class ChargeOrder(Value):
    """Take what is due: credit first, then the payment methods in order (ADD-4)."""

    order: Order
    """As it stands; its last open or failed invoice is charged, or a new one made."""
    at: AwareDatetime


class OrderCharged(Value):
    """What came of it."""

    order: Order
    """The record that is kept: paid, active or payment_failed is for the workflow to take."""
    paid: bool
    """Neither paid nor declined when it has ended meanwhile, with its account."""
    failure: str | None = None
    """Why the payment methods declined, in the provider's words."""


class EndTerm(Value):
    """The term is over: reduce or end what was cancelled, or ended without payment."""

    order: Order
    at: AwareDatetime


class TermEnded(Value):
    """The record that is kept, and who lost a license."""

    order: Order
    released: tuple[str, ...] = ()


class VoidOrder(Value):
    """Give up the invoice of an order that was never paid."""

    order: Order
    at: AwareDatetime


class PlanReduction(Value):
    """Have fewer licenses, or none, from the end of the term on (ADD-6)."""

    order: Order
    quantity: int
    """From then on; 0: cancelled; as many as now: nothing is planned any more."""
    release: tuple[str, ...] = ()
    """The normalized addresses of those who lose their license then."""
    release_everybody: bool = False
    """Whether whoever holds one may lose it."""


class KeepOrder(Value):
    """Keep the order as it stands."""

    order: Order


class TellBuyer(Value):
    """Tell the buyer where the order stands, and holders that their license is gone."""

    order: Order
    released: tuple[str, ...] = ()
    lapses_at: AwareDatetime | None = None
    """When the review lapses that waits to be confirmed."""


class OrderDue(Value):
    """What payment methods have yet to pay of the invoice that is due."""

    invoice: str
    amount: Money
    """What credit does not pay; perhaps nothing."""
    methods: tuple[str, ...]
    """The ids of those to try, in this order; never none (ADD-4)."""
    billing_customer: str | None


class OrderPayment(Value):
    """What a payment method has paid of an invoice."""

    method: str
    provider_id: str
    """The payment that may be refunded."""
    amount: Money


class OrderStore(Protocol):
    """The store, as far as a running purchase needs it.

    Each step takes the order as the workflow knows it, and is taken once, however often it is
    asked for; it returns the record that is kept then. Of an order that has ended meanwhile,
    with its account, each returns that record and does nothing.
    """

    async def quoted(self, order: BuyLicenses, at: datetime) -> Order:
        """The draft with its quote; changes nothing.

        Raises Refused: `invalid_capacity`, `invalid_quantity` (ADD-1), `not_found`,
        `not_authorized`, `target_not_paid` (ADD-2).
        """

    async def open(self, order: BuyLicenses, at: datetime) -> Order:
        """Keep the draft; on repeat the record that is kept. Raises Refused as `quoted`."""

    async def keep(self, order: Order) -> Order:
        """Keep `order` unless it is older than what is kept (a shorter journal); what is kept.

        What its invoices are is the store's to say.
        """

    async def invoice(self, order: Order, at: datetime) -> Order:
        """Make the invoice that is due, once, and reserve credit for it; the record then.

        The first one is the quote's `due_now`; a renewal's is `then`, one for each term. Each
        try of it reserves what credit there is by then.
        """

    async def due(self, order: Order) -> OrderDue | None:
        """What is left of the invoice that `invoice` made for `order`; None once it is paid."""

    async def paid(self, order: Order, payment: OrderPayment | None, at: datetime) -> Order:
        """Book the payment, and all that follows, in one transaction, once per invoice (ADD-5).

        The first one grows the pool; each lists the licenses beside the plan for the term that
        it pays for, and moves the next billing date on. No payment: credit has paid it all.
        """

    async def declined(self, order: Order, at: datetime) -> Order:
        """Every payment method has declined; once per try (ADD-4)."""

    async def term_ended(self, order: Order, at: datetime) -> tuple[Order, tuple[str, ...]]:
        """Reduce the pool to `quantity_then`, or by all of it; who lost a license (ADD-6).

        What is still to be paid is given up when nothing is left.
        """

    async def void(self, order: Order, at: datetime) -> Order:
        """Give up the open invoice; its credit is given back by another entry."""

    async def planned(
        self, order: Order, quantity: int, release: tuple[str, ...], release_everybody: bool
    ) -> Order:
        """The order that has `quantity` licenses from the end of its term on.

        Its `then`, `quantity_then` and `release` say so; nothing is kept yet. Raises Refused:
        `assigned_exceeds_quantity` with `holders`, when more would be assigned than are left
        beside those released.
        """

    async def order_parties(self, order: Order, released: tuple[str, ...]) -> OrderParties:
        """Whom the order concerns, as the directory knows them now."""


@dataclass(frozen=True)
class OrderActivities:
    """The side effects of the `AddonPurchase` workflow."""

    store: OrderStore
    provider: PaymentProvider
    post: Post

    @activity.defn
    async def open_order(self, order: OpenOrder) -> Order:
        """Keep the draft, with what is due as of now."""
        return await self.store.open(order.order, order.at)

    @activity.defn
    async def charge_order(self, order: ChargeOrder) -> OrderCharged:
        """Take what is due, once: credit first, then the methods in order (ADD-4).

        An attempt after an unclear one asks for the same as that: whatever the order has come
        to since, its tries are those that it was asked with.
        """
        wanted = order.order
        kept = await self.store.invoice(wanted, order.at)
        if kept.state.final:
            return OrderCharged(order=kept, paid=False)
        due = await self.store.due(wanted)
        if due is None:
            return OrderCharged(order=kept, paid=True)
        if not due.amount.amount:
            return OrderCharged(order=await self.store.paid(wanted, None, order.at), paid=True)
        failure: str | None = None
        for method in due.methods:
            charge = await self._charged(_charge_request(wanted, due, method, order.at))
            if charge.state is ChargeState.SUCCEEDED:
                return await self._booked(order, due, method, charge)
            failure = charge.failure
        declined = await self.store.declined(wanted, order.at)
        return OrderCharged(order=declined, paid=False, failure=failure)

    async def _charged(self, request: ChargeRequest) -> ProviderCharge:
        """After an unclear answer look before asking again."""
        found = None
        if activity.info().attempt > 1:
            found = await self.provider.find_charge(request)
        return found or await self.provider.charge(request)

    async def _booked(
        self, order: ChargeOrder, due: OrderDue, method: str, charge: ProviderCharge
    ) -> OrderCharged:
        assert charge.provider_id, "what was paid has an id"
        payment = OrderPayment(method=method, provider_id=charge.provider_id, amount=due.amount)
        kept = await self.store.paid(order.order, payment, order.at)
        return OrderCharged(order=kept, paid=not kept.state.final)

    @activity.defn
    async def keep_order(self, order: KeepOrder) -> Order:
        """Keep the order; what is kept then."""
        return await self.store.keep(order.order)

    @activity.defn
    async def plan_reduction(self, order: PlanReduction) -> Order:
        """See who would lose a license, and what is due from then on (ADD-6)."""
        return await self.store.planned(
            order.order, order.quantity, order.release, order.release_everybody
        )

    @activity.defn
    async def end_term(self, order: EndTerm) -> TermEnded:
        """Take back what is not paid for any more (ADD-6, ADD-7)."""
        ended, released = await self.store.term_ended(order.order, order.at)
        return TermEnded(order=ended, released=released)

    @activity.defn
    async def void_order(self, order: VoidOrder) -> Order:
        """Give up what is still to be paid."""
        return await self.store.void(order.order, order.at)

    @activity.defn
    async def tell_buyer(self, order: TellBuyer) -> None:
        """Tell the buyer where it stands, and holders that their license is gone (TXT-2)."""
        parties = await self.store.order_parties(order.order, order.released)
        for letter in order_letters(order.order, parties, lapses_at=order.lapses_at):
            try:
                await send_patiently(self.post, letter)
            except Undeliverable as refused:
                activity.logger.warning("letter %s was refused: %s", letter.event, refused)


def _charge_request(order: Order, due: OrderDue, method: str, at: datetime) -> ChargeRequest:
    """Each try of each method is a request of its own."""
    return ChargeRequest(
        key=f"{due.invoice}/{order.tries}/{method}",
        account=order.account,
        billing_customer=due.billing_customer,
        method=method,
        amount=due.amount,
        description=f"{order.quantity} × {product_name(order)}, {due.invoice}",
        at=at,
    )
