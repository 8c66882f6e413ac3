"""Tests of the order's activities: charges and changes (ADD)."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from temporalio.testing import ActivityEnvironment

from activities.billing import ChargeRequest
from activities.order import (
    AmendOrder,
    ChargeOrder,
    ChargeOutcome,
    EndTerm,
    OrderActivities,
    OrderCharged,
    OrderDue,
    OrderPayment,
    RecordOrder,
    Reduction,
)
from domain.error import ErrorCode, Refusal, Refused
from domain.journal import ENGINE, JournalEntry
from domain.license import Sku
from domain.money import Money
from domain.order import BuyLicenses, Order, OrderInvoice, OrderQuote, OrderState, PendingPayment
from tests.activities.provider import FakeProvider

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
BUYER, ANN, BOB = "adam@acme.example", "ann@acme.example", "bob@acme.example"
PRICE = Money(amount=Decimal("150.00"), currency="EUR")
NOTHING = Money(amount=Decimal("0.00"), currency="EUR")
REQUEST = BuyLicenses(
    order_id="or-1",
    account="acme",
    sku=Sku.LARGE_MEETING,
    capacity=500,
    quantity=3,
    cycle="monthly",
    bought_by=BUYER,
)


def an_order(*events: str, state: OrderState = OrderState.PLACED, tries: int = 0) -> Order:
    return Order(
        order_id=REQUEST.order_id,
        workflow_id=REQUEST.workflow_id,
        account=REQUEST.account,
        state=state,
        sku=REQUEST.sku,
        capacity=REQUEST.capacity,
        quantity=REQUEST.quantity,
        cycle=REQUEST.cycle,
        portal=REQUEST.portal,
        bought_by=REQUEST.bought_by,
        quote=OrderQuote(due_now=PRICE, then=PRICE, next_billing_date=date(2026, 8, 1)),
        tries=tries,
        journal=tuple(
            JournalEntry.model_validate(
                {"at": NOW, "event": event, "from": None, "to": state, "by": ENGINE}
            )
            for event in events or ("buy", "place")
        ),
    )


PLACED = an_order()


class FakeOrderStore:
    """An `OrderStore` of one order with one invoice; each step is carried out once."""

    def __init__(self, *methods: str, amount: Money = PRICE, stored: Order | None = PLACED) -> None:
        self.methods = methods
        self.amount = amount
        self.stored = stored
        self.payments: list[OrderPayment | None] = []
        self.carried: Money | None = None
        self.declined_tries: set[int] = set()
        self.ends_before_payment = False

    @property
    def order(self) -> Order:
        assert self.stored is not None
        return self.stored

    async def keep(self, order: Order) -> Order:
        if len(order.journal) > len(self.order.journal):
            self.stored = order.model_copy(update={"invoices": self.order.invoices})
        return self.order

    async def invoice(self, order: Order, at: datetime) -> Order:
        if not self.order.state.final and not self.order.invoices:
            self._set_invoice("open")
        return self.order

    async def due(self, order: Order) -> OrderDue | None:
        [invoice] = self.order.invoices
        if invoice.state == "paid":
            return None
        return OrderDue(
            invoice=invoice.id, amount=self.amount, methods=self.methods, billing_customer="cus_1"
        )

    async def paid(
        self,
        order: Order,
        payment: OrderPayment | None,
        at: datetime,
        *,
        carried: Money | None = None,
    ) -> Order:
        if self.ends_before_payment:
            self.stored = an_order("buy", "place", "end", state=OrderState.ENDED)
        elif self.order.invoices[0].state != "paid":
            self.payments.append(payment)
            self.carried = carried
            self._set_invoice("paid")
        return self.order

    async def declined(self, order: Order, at: datetime) -> Order:
        if order.tries not in self.declined_tries:
            self.declined_tries.add(order.tries)
            self._set_invoice("failed")
        return self.order

    async def pending(self, order: Order, due: OrderDue, method: str, at: datetime) -> Order:
        payment = PendingPayment(
            invoice=due.invoice, method=method, amount=due.amount, since=at, look_up_at=at
        )
        self.stored = self.order.model_copy(update={"pending": payment})
        return self.order

    async def term_ended(
        self, order: Order, at: datetime, *, unless_assigned: bool, by: str
    ) -> Order:
        if unless_assigned:
            raise Refused(ErrorCode.ASSIGNED_EXCEEDS_QUANTITY, "Name the users.", holders=[ANN])
        return self.order

    async def void(self, order: Order, at: datetime, *, by: str) -> Order:
        self._set_invoice("void")
        return self.order

    async def amended(self, request: AmendOrder) -> Order:
        if request.reduction:
            raise Refused(ErrorCode.ASSIGNED_EXCEEDS_QUANTITY, "Name the users.", holders=[ANN])
        return request.order

    def _set_invoice(self, state: str) -> None:
        invoice = OrderInvoice.model_validate(
            {"id": "or-1/1", "amount": PRICE, "state": state, "at": NOW}
        )
        self.stored = self.order.model_copy(update={"invoices": (invoice,)})


async def charge(
    store: FakeOrderStore, provider: FakeProvider, *, attempt: int = 1, order: Order = PLACED
) -> OrderCharged:
    """Charge the order in the given attempt of the activity."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    activities = OrderActivities(store=store, provider=provider)
    return await environment.run(activities.charge_order, ChargeOrder(order=order, at=NOW))


def charged_methods(provider: FakeProvider) -> list[str]:
    return [request.method for request in provider.charge_requests]


async def test_the_first_method_that_accepts_pays_the_invoice() -> None:
    """ADD-4: methods are tried in order; the one behind it is not charged."""
    store, provider = FakeOrderStore("card-1", "card-2", "bank"), FakeProvider({"card-1": "stolen"})
    charged = await charge(store, provider)
    assert charged == OrderCharged(order=store.order, outcome=ChargeOutcome.PAID)
    assert charged_methods(provider) == ["card-1", "card-2"]
    assert store.payments == [OrderPayment(method="card-2", provider_id="ch_2", amount=PRICE)]
    assert store.declined_tries == set()


async def test_an_order_that_all_methods_decline_has_the_last_reason() -> None:
    """ADD-4: the decline is recorded, and nothing is booked."""
    store = FakeOrderStore("card-1", "card-2")
    provider = FakeProvider({"card-1": "stolen", "card-2": "expired"})
    charged = await charge(store, provider)
    assert (charged.paid, charged.failure) == (False, "expired")
    assert [invoice.state for invoice in charged.order.invoices] == ["failed"]
    assert store.payments == []


async def test_each_try_of_a_declined_method_is_another_charge() -> None:
    """ADD-4: a repeated key would return the first decline."""
    store, provider = FakeOrderStore("card-1"), FakeProvider({"card-1": "empty"})
    await charge(store, provider)
    provider.declining = {}
    assert (await charge(store, provider, order=an_order(tries=1))).paid
    keys = [request.key for request in provider.charge_requests]
    assert keys == ["or-1/1/0/card-1", "or-1/1/1/card-1"]


async def test_a_charge_has_the_amount_due_and_no_personal_data() -> None:
    """ADD-4: the provider shows the description."""
    provider = FakeProvider()
    await charge(FakeOrderStore("card-1"), provider)
    [request] = provider.charge_requests
    assert (request.account, request.billing_customer) == ("acme", "cus_1")
    assert (request.amount, request.at) == (PRICE, NOW)
    assert request.description == "3 × Large Meeting 500, or-1/1"


async def test_a_retried_charge_is_searched_for_before_it_is_made_again() -> None:
    """ADD-4: the first attempt was charged, and its response was lost."""
    store, provider = FakeOrderStore("card-1"), FakeProvider(lost_responses={"card-1"})
    with pytest.raises(TimeoutError):
        await charge(store, provider)
    assert store.payments == []
    assert provider.searches == []
    assert (await charge(store, provider, attempt=2)).paid
    assert provider.searches == ["or-1/1/0/card-1"]
    assert len(provider.charge_requests) == 1
    assert store.payments == [OrderPayment(method="card-1", provider_id="ch_1", amount=PRICE)]


async def test_a_retry_neither_repeats_a_decline_nor_skips_a_method() -> None:
    """ADD-4: the earlier attempt was declined by one method, and the next response was lost."""
    store = FakeOrderStore("card-1", "card-2")
    provider = FakeProvider({"card-1": "stolen"}, lost_responses={"card-2"})
    with pytest.raises(TimeoutError):
        await charge(store, provider)
    assert (await charge(store, provider, attempt=2)).paid
    assert charged_methods(provider) == ["card-1", "card-2"]
    assert [payment and payment.method for payment in store.payments] == ["card-2"]


async def test_a_retry_without_an_earlier_charge_charges() -> None:
    """ADD-4: the first attempt failed before it reached the provider."""
    store, provider = FakeOrderStore("card-1"), FakeProvider()
    assert (await charge(store, provider, attempt=2)).paid
    assert provider.searches == ["or-1/1/0/card-1"]
    assert charged_methods(provider) == ["card-1"]


async def test_a_charge_without_a_result_is_a_value_and_no_other_method_is_charged() -> None:
    """ADD-4: a bank debit takes days, and no activity fails meanwhile."""
    store, provider = FakeOrderStore("bank", "card-1"), FakeProvider(pending=["bank"])
    charged = await charge(store, provider, attempt=2)
    assert charged.outcome is ChargeOutcome.PENDING
    assert charged.order.pending
    assert (charged.order.pending.method, charged.order.pending.amount) == ("bank", PRICE)
    assert provider.charge_requests == []
    assert store.payments == []


async def test_a_pending_payment_is_looked_up_and_not_repeated() -> None:
    """ADD-4, ADD-5: the second look-up finds it paid."""
    store, provider = FakeOrderStore("bank", "card-1"), FakeProvider()
    await provider.charge(_charge_of_bank())
    provider.pending = ["bank"]
    pending = (await charge(store, provider, attempt=2)).order
    provider.pending = []
    assert (await charge(store, provider, order=pending)).paid
    assert len(provider.charge_requests) == 1
    assert store.payments == [OrderPayment(method="bank", provider_id="ch_1", amount=PRICE)]


def _charge_of_bank() -> ChargeRequest:
    return ChargeRequest(
        key="or-1/1/0/bank", account="acme", method="bank", amount=PRICE, description="", at=NOW
    )


async def test_a_refused_change_is_a_value() -> None:
    """ADD-6: a refusal is no failed activity."""
    activities = the_activities(FakeOrderStore())
    request = AmendOrder(
        order=PLACED, event="cancel", at=NOW, by=BUYER, note=None, reduction=Reduction(quantity=0)
    )
    amended = await ActivityEnvironment().run(activities.amend_order, request)
    end = EndTerm(order=PLACED, at=NOW, unless_assigned=True)
    ended = await ActivityEnvironment().run(activities.end_term, end)
    for refusal in (amended, ended):
        assert isinstance(refusal, Refusal)
        assert refusal.code is ErrorCode.ASSIGNED_EXCEEDS_QUANTITY
        assert refusal.details == {"holders": [ANN]}


async def test_an_invoice_that_credit_covers_charges_no_method() -> None:
    """ADD-4: credit first."""
    store, provider = FakeOrderStore("card-1", amount=NOTHING), FakeProvider()
    assert (await charge(store, provider)).paid
    assert store.payments == [None]
    assert provider.charge_requests == []


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


async def test_the_part_that_cannot_be_charged_is_carried() -> None:
    """ADD-4: the payment and the carried amount add up to the invoice."""
    store = FakeOrderStore("card")
    provider = FakeProvider()
    provider.chargeable = lambda amount: min(amount, eur("149.90"), key=lambda each: each.amount)
    charged = await charge(store, provider)
    assert charged.paid
    assert [payment and payment.amount for payment in store.payments] == [eur("149.90")]
    assert store.carried == eur("0.10")


async def test_an_amount_below_the_minimum_is_carried_and_not_charged() -> None:
    """ADD-4: the license does not end because of it."""
    store = FakeOrderStore("card", "bank")
    provider = FakeProvider()
    provider.chargeable = lambda amount: eur("0.00")
    assert (await charge(store, provider)).paid
    assert (store.payments, store.carried) == ([None], PRICE)
    assert provider.charge_requests == []


async def test_an_amount_that_the_provider_calls_too_small_is_carried_in_full() -> None:
    """ADD-4: no other method can pay it either."""
    store = FakeOrderStore("card", "bank")
    provider = FakeProvider()
    provider.chargeable = lambda amount: eur("0.35")
    provider.too_small = True
    assert (await charge(store, provider)).paid
    assert (store.payments, store.carried) == ([None], PRICE)
    assert charged_methods(provider) == ["card"]


async def test_a_pending_payment_is_booked_with_its_own_amount() -> None:
    """ADD-4: a minimum that has changed meanwhile does not apply to it."""
    store = FakeOrderStore("bank")
    provider = FakeProvider()
    payment = PendingPayment(
        invoice="or-1/1", method="bank", amount=eur("149.90"), since=NOW, look_up_at=NOW
    )
    provider.chargeable = lambda amount: eur("0.00")
    charged = await charge(store, provider, order=PLACED.model_copy(update={"pending": payment}))
    assert charged.paid
    assert [each and each.amount for each in store.payments] == [eur("149.90")]
    assert store.carried == eur("0.10")


async def test_an_invoice_that_an_earlier_attempt_paid_is_not_charged_again() -> None:
    """ADD-5: the activity crashed after the payment was booked."""
    store, provider = FakeOrderStore("card-1"), FakeProvider()
    await charge(store, provider)
    assert (await charge(store, provider, attempt=2)).paid
    assert len(provider.charge_requests) == len(store.payments) == 1


async def test_an_order_that_has_ended_with_its_account_is_not_charged() -> None:
    """SRC-2: it is neither paid nor declined."""
    ended = an_order("buy", "place", "end", state=OrderState.ENDED)
    store, provider = FakeOrderStore("card-1", stored=ended), FakeProvider()
    assert await charge(store, provider) == OrderCharged(order=ended, outcome=ChargeOutcome.ENDED)
    assert provider.charge_requests == []


async def test_an_order_that_ends_during_its_charge_is_not_paid() -> None:
    """SRC-2: the store books nothing for a closed account."""
    store, provider = FakeOrderStore("card-1"), FakeProvider()
    store.ends_before_payment = True
    charged = await charge(store, provider)
    assert (charged.paid, charged.failure) == (False, None)
    assert charged.order.state is OrderState.ENDED
    assert store.payments == []


def the_activities(store: FakeOrderStore) -> OrderActivities:
    return OrderActivities(store=store, provider=FakeProvider())


async def test_a_late_record_of_an_order_replaces_no_newer_one() -> None:
    """A retried activity returns the stored record."""
    newer = an_order("buy", "place", "pay", state=OrderState.PAID)
    activities = the_activities(FakeOrderStore(stored=newer))
    kept = await ActivityEnvironment().run(activities.record_order, RecordOrder(order=PLACED))
    assert kept == newer
