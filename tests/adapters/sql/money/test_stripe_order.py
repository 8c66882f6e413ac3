"""Orders that are charged at Stripe, whose amounts are limited (ADD-4)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import pytest

from adapters.stripe import StripeProvider
from domain.day import begin
from domain.money import Money
from domain.order import Order, OrderState
from tests.builders.account import directory
from tests.builders.invitation import StoreScenario
from tests.builders.order import OrderScenario, an_order
from tests.builders.refund import ledger_balances
from tests.stripe_server import API_KEY, StripeServer

MONTHS = [begin(date(2026, month, 1), "Europe/Berlin") for month in range(4, 9)]
"""The billing dates; the plan's cycles begin on the 1st."""


@dataclass
class StripeOrders:
    """Orders of a firm that pays at Stripe."""

    purchases: OrderScenario
    server: StripeServer
    card: str
    customer: str

    async def buy(self, price: str, currency: str, **account: object) -> Order:
        """Buy one license on a billing date, so that a whole month is due."""
        await self.purchases.import_account(
            currency=currency,
            billing_customer=self.customer,
            payment_methods=[{"id": self.card, "kind": "card"}],
            **account,
        )
        catalog = directory(catalog={"large-meeting": {"500": price}})
        await self.purchases.scenario.store.directory.import_(catalog)
        return await self.purchases.buy(an_order(quantity=1), MONTHS[0])

    async def renew(self, order: Order, at: datetime) -> Order:
        return await self.purchases.pay(order, at)

    @property
    def charged(self) -> list[str]:
        return [each["amount"] for each in self.server.charged]

    async def payments(self, order: Order) -> list[tuple[str, str]]:
        """Return the method and the amount of each payment of the order's present term."""
        account = await self.purchases.scenario.account("firm")
        [line] = [each for each in account.subscriptions if each.id == order.order_id]
        return [(paid.method, f"{paid.amount:f}") for paid in line.payments]

    async def assert_consistent(self) -> None:
        assert (await self.purchases.scenario.store.audit()).violations == ()


@pytest.fixture
async def orders(scenario: StoreScenario, local_stripe: str) -> AsyncIterator[StripeOrders]:
    async with StripeServer(local_stripe) as server:
        provider, customer = StripeProvider(API_KEY, server.url), await server.customer()
        card = await server.card(customer)
        yield StripeOrders(OrderScenario(scenario, provider=provider), server, card, customer)
        await provider.close()


def amounts(order: Order) -> list[tuple[str, str]]:
    return [(f"{invoice.amount.amount:f}", invoice.state) for invoice in order.invoices]


def carried(order: Order) -> str | None:
    return f"{order.carried.amount:f}" if order.carried else None


async def test_a_charge_below_the_minimum_is_carried_to_the_next_invoice(
    orders: StripeOrders,
) -> None:
    """ADD-4, ADD-7: nothing is charged until the sum reaches Stripe's 0.50; the license works."""
    order = await orders.buy("0.20", "EUR")
    assert order.state is OrderState.ACTIVE
    assert await orders.purchases.pool_counts() == (1, 0)
    assert (amounts(order), carried(order)) == ([("0.00", "paid")], "0.20")
    assert f"{order.quote.then.amount:f}" == "0.40"
    order = await orders.renew(order, MONTHS[1])
    assert (carried(order), orders.charged) == ("0.40", [])
    await orders.assert_consistent()
    order = await orders.renew(order, MONTHS[2])
    assert (carried(order), orders.charged) == (None, ["60"])
    assert amounts(order)[-1] == ("0.60", "paid")
    assert f"{order.quote.then.amount:f}" == "0.20"
    # What was carried has been used; only the present month can be refunded.
    assert await orders.payments(order) == [("card", "0.20")]
    assert await ledger_balances(orders.purchases.scenario.engine) == {
        "methods/firm": "EUR -60",
        "prepaid/firm": "EUR 20",
        "revenue/firm": "EUR 40",
    }
    await orders.assert_consistent()


async def test_the_last_digit_of_dinars_is_carried_to_the_next_invoice(
    orders: StripeOrders,
) -> None:
    """ADD-4: of KWD 5.124, Stripe charges 5120; after three months the rests are charged too."""
    order = await orders.buy("5.124", "KWD")
    assert (amounts(order), carried(order)) == ([("5.120", "paid")], "0.004")
    assert await orders.payments(order) == [("card", "5.120")]
    for month in MONTHS[1:3]:
        order = await orders.renew(order, month)
    assert orders.charged == ["5120", "5120", "5130"]
    assert carried(order) == "0.002"
    sent = sum(int(each) for each in orders.charged)
    assert sent + 2 == 3 * 5124
    await orders.assert_consistent()


async def test_credit_pays_what_is_carried_as_well(orders: StripeOrders) -> None:
    """ADD-4: credit is used first; the part that was carried is no part of the present month."""
    order = await orders.buy("0.60", "EUR", credit="0.30")
    assert (amounts(order), carried(order)) == ([("0.30", "paid")], "0.30")
    assert await orders.payments(order) == [("credit", "0.30")]
    order = await orders.renew(order, MONTHS[1])
    assert (carried(order), orders.charged) == (None, ["90"])
    assert await orders.payments(order) == [("card", "0.60")]
    await orders.assert_consistent()


async def test_an_amount_that_stripe_calls_too_small_is_carried(orders: StripeOrders) -> None:
    """ADD-4: the minimum of the bank account's currency is known to Stripe alone."""
    order = await orders.buy("0.30", "RSD")
    assert (carried(order), orders.charged) == ("0.30", ["30"])
    order = await orders.renew(order, MONTHS[1])
    assert (carried(order), orders.charged) == (None, ["30", "60"])
    await orders.assert_consistent()


async def test_a_reduction_keeps_what_is_carried_in_the_next_amount(orders: StripeOrders) -> None:
    """ADD-4, ADD-6: the coming renewal includes it."""
    order = await orders.buy("0.20", "EUR")
    planned = await orders.purchases.plan_reduction(order, 0)
    kept = await orders.purchases.plan_reduction(planned, 1)
    assert kept.quote.then == Money(amount=Decimal("0.40"), currency="EUR")
