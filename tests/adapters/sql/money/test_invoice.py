"""Invoices are paid through the payment provider, once, with any provider (BLK-2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Protocol

import pytest
from sqlalchemy import select

from activities.billing import ChargeRequest, PaymentProvider, ProviderCharge
from adapters.provider import LedgerProvider
from adapters.sql.database.schema import InvoiceRow, ProviderChargeRow
from adapters.sql.database.transaction import reading
from adapters.stripe import StripeProvider
from clients.invoice import InvoiceClient, charge_request
from domain.error import ErrorCode, Refused, Unavailable
from domain.journal import OPERATOR
from domain.remedy import Changed
from tests.builders.account import NOON, account, directory, eur, user
from tests.builders.invitation import StoreScenario
from tests.builders.refund import ledger_balances
from tests.stripe_server import API_KEY, StripeServer, answer

PAYER = "pia@payer.example"
PAID = [Changed(kind="invoice", id="inv-1")]
UNREACHABLE = "http://127.0.0.1:1"


class Billing(Protocol):
    """An account with an open invoice of 990.00, and its provider."""

    scenario: StoreScenario

    @property
    def provider(self) -> PaymentProvider:
        """The provider under test."""

    @property
    def billing_customer(self) -> str | None:
        """The provider's id of the account, if it has one."""

    async def method(self, declines: int = 0) -> dict[str, object]:
        """Return a payment method that declines its first charges, as a file names it."""

    def lose_the_next_response(self) -> None:
        """Make the provider carry out the next charge without an answer."""

    async def collected(self) -> list[str]:
        """Return the amounts that the provider has collected, in order."""


@dataclass
class LedgerBilling:
    """The built-in provider."""

    scenario: StoreScenario
    billing_customer: str | None = None
    faults: frozenset[str] = frozenset()
    numbers: "count[int]" = field(default_factory=count)

    @property
    def provider(self) -> PaymentProvider:
        return LedgerProvider(self.scenario.engine, 4, self.faults)

    async def method(self, declines: int = 0) -> dict[str, object]:
        return {"id": f"card-{next(self.numbers)}", "kind": "card", "declines": declines}

    def lose_the_next_response(self) -> None:
        self.faults = frozenset({"timeout-after"})

    async def collected(self) -> list[str]:
        async with reading(self.scenario.engine) as session:
            rows = await session.scalars(
                select(ProviderChargeRow).where(ProviderChargeRow.state == "succeeded")
            )
            return [f"{row.amount:.2f}" for row in rows]


@dataclass
class StripeBilling:
    """Stripe, on a local server."""

    scenario: StoreScenario
    server: StripeServer
    provider: StripeProvider
    billing_customer: str | None

    async def method(self, declines: int = 0) -> dict[str, object]:
        card = await self.server.card(str(self.billing_customer), declines)
        return {"id": card, "kind": "card"}

    def lose_the_next_response(self) -> None:
        self.server.lost_responses = 1

    async def collected(self) -> list[str]:
        charged = {each["metadata[seatflow_key]"]: each["amount"] for each in self.server.charged}
        made = len(self.server.intents)
        return [f"{Decimal(amount) / 100:.2f}" for amount in [*charged.values()][-made:] if made]


@pytest.fixture(params=["ledger", "stripe"])
async def billing(
    request: pytest.FixtureRequest, scenario: StoreScenario, local_stripe: str
) -> AsyncIterator[Billing]:
    if request.param == "ledger":
        yield LedgerBilling(scenario)
        return
    async with StripeServer(local_stripe) as server:
        provider = StripeProvider(API_KEY, server.url)
        yield StripeBilling(scenario, server, provider, await server.customer())
        await provider.close()


async def imported(billing: Billing, *declines: int, due: str = "990.00", **more: object) -> None:
    """Import the payer with one method for each number of declines."""
    methods = [await billing.method(number) for number in declines]
    invoice = {"id": "inv-1", "amount_due": due, "due_on": "2026-04-01", "status": "open"}
    payer = account("payer", user(PAYER, "owner"), payment_methods=methods, invoices=[invoice])
    customer = {"billing_customer": billing.billing_customer}
    await billing.scenario.store.directory.import_(directory({**payer, **customer, **more}))
    await billing.scenario.take_signals()


def client_of(billing: Billing) -> InvoiceClient:
    return a_client(billing, billing.provider)


def a_client(billing: Billing, provider: PaymentProvider) -> InvoiceClient:
    return InvoiceClient(billing.scenario.store.invoices, lambda: nullcontext(provider))


async def pay(billing: Billing) -> list[Changed]:
    return await client_of(billing).pay("payer", "inv-1", by=OPERATOR, at=NOON)


async def pay_outside(billing: Billing, reference: str) -> list[Changed]:
    return await client_of(billing).record_paid_outside(
        "payer", "inv-1", reference, by=OPERATOR, at=NOON
    )


async def row_of(billing: Billing) -> InvoiceRow:
    async with reading(billing.scenario.engine) as session:
        return await session.get_one(InvoiceRow, {"account_id": "payer", "id": "inv-1"})


async def status_of(billing: Billing) -> tuple[str, str]:
    [invoice] = (await billing.scenario.account("payer")).invoices
    return f"{invoice.amount_due:f}", invoice.status


async def refusal_of(billing: Billing) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        await pay(billing)
    return refused.value.code


async def assert_consistent(billing: Billing) -> None:
    assert (await billing.scenario.store.audit()).violations == ()


# The contract with every provider.


async def test_an_invoice_is_collected_once(billing: Billing) -> None:
    """BLK-2: a repetition changes nothing; the row names the payment and its author."""
    await imported(billing, 0)
    assert await pay(billing) == PAID
    assert await pay(billing) == []
    assert await billing.collected() == ["990.00"]
    assert await status_of(billing) == ("0.00", "paid")
    row = await row_of(billing)
    assert row.payment and row.payment.startswith(("ch_", "pi_"))
    assert (row.paid_outside, row.paid_by) == (None, OPERATOR)
    assert await ledger_balances(billing.scenario.engine) == {
        "methods/payer": "EUR -99000",
        "revenue/payer": "EUR 99000",
    }
    await assert_consistent(billing)


async def test_concurrent_requests_collect_once(billing: Billing) -> None:
    """BLK-2: all requests have the key of the account and the invoice."""
    await imported(billing, 0)
    done = await asyncio.gather(*(pay(billing) for _ in range(10)))
    assert sorted(map(len, done)) == [0] * 9 + [1]
    assert await billing.collected() == ["990.00"]
    await assert_consistent(billing)


async def test_a_charge_whose_response_was_lost_is_found(billing: Billing) -> None:
    """BLK-2: it is looked up before anything is charged again."""
    await imported(billing, 0)
    billing.lose_the_next_response()
    assert await pay(billing) == PAID
    assert await billing.collected() == ["990.00"]
    await assert_consistent(billing)


async def test_a_charge_that_was_not_recorded_is_found(billing: Billing) -> None:
    """BLK-2: the process ended in between, and the methods have another order by now."""
    await imported(billing, 0, 0)
    first = (await billing.scenario.account("payer")).payment_methods
    due = await billing.scenario.store.invoices.due("payer", "inv-1")
    assert due
    request = charge_request(due, first[0].id, NOON)
    charge = await billing.provider.charge(request)
    await billing.scenario.store.directory.import_(
        directory(
            account(
                "payer",
                payment_methods=[each.model_dump() for each in reversed(first)],
                billing_customer=billing.billing_customer,
            )
        )
    )
    assert await pay(billing) == PAID
    assert (await row_of(billing)).payment == charge.provider_id
    assert await billing.collected() == ["990.00"]
    await assert_consistent(billing)


async def test_methods_are_tried_in_order_and_each_decline_counts(billing: Billing) -> None:
    """BLK-2, ADD-4: the declined invoice stays open, and the next command charges again."""
    await imported(billing, 2, 1)
    assert await refusal_of(billing) is ErrorCode.PAYMENT_DECLINED
    assert await status_of(billing) == ("990.00", "open")
    assert await billing.scenario.take_signals() == []
    assert await billing.collected() == []
    assert await pay(billing) == PAID
    assert await billing.collected() == ["990.00"]
    await assert_consistent(billing)


async def test_a_reopened_invoice_is_collected_again(billing: Billing) -> None:
    """BLK-2: the second payment is the new open amount."""
    await imported(billing, 0)
    await pay(billing)
    await imported(billing, due="1009.90")
    assert await pay(billing) == PAID
    assert await billing.collected() == ["990.00", "19.90"]
    await assert_consistent(billing)


async def test_an_open_invoice_of_zero_is_paid_without_a_charge(billing: Billing) -> None:
    """BLK-2: an open invoice blocks also when nothing is due."""
    await imported(billing, due="0.00")
    assert await pay(billing) == PAID
    assert await billing.collected() == []
    assert await status_of(billing) == ("0.00", "paid")


async def test_credit_that_paid_during_the_charge_is_returned(billing: Billing) -> None:
    """CRD-3, BLK-2: the part that the invoice no longer needs becomes credit."""
    await imported(billing, 0, collection="net_terms")
    store = billing.scenario.store
    due = await store.invoices.due("payer", "inv-1")
    assert due
    await imported(billing, collection="net_terms", credit="100.00")
    await store.credits.apply("payer", "inv-1", NOON)
    assert await store.invoices.paid(due, eur("990.00"), "pi_1", by=OPERATOR, at=NOON)
    assert await status_of(billing) == ("0.00", "paid")
    assert (await store.credits.show("payer")).balance == eur("100.00")
    await assert_consistent(billing)


async def test_an_invoice_paid_outside_is_not_charged(billing: Billing) -> None:
    """BLK-2: the row has the reference and its author; a repetition changes nothing."""
    await imported(billing, 0)
    assert await pay_outside(billing, " wire \n 2026-77 ") == PAID
    assert await pay_outside(billing, "again") == []
    assert await pay(billing) == []
    assert await billing.collected() == []
    row = await row_of(billing)
    assert (row.status, row.payment, row.paid_outside, row.paid_by) == (
        "paid",
        None,
        "wire 2026-77",
        OPERATOR,
    )
    assert await ledger_balances(billing.scenario.engine) == {
        "outside/payer": "EUR -99000",
        "revenue/payer": "EUR 99000",
    }
    await imported(billing, due="995.00")
    assert await pay_outside(billing, "wire 2026-78") == PAID
    await assert_consistent(billing)


@pytest.mark.parametrize("reference", ["", "\n", "x" * 201])
async def test_a_payment_outside_needs_a_reference(billing: Billing, reference: str) -> None:
    """BLK-2: without one, nobody could find the payment."""
    await imported(billing, 0)
    with pytest.raises(Refused) as refused:
        await pay_outside(billing, reference)
    assert refused.value.code is ErrorCode.INVALID_INPUT
    assert (await status_of(billing))[1] == "open"


async def test_a_payment_signals_the_owner_s_invitations(billing: Billing) -> None:
    """BLK-4: each payment; a repetition signals nothing."""
    await imported(billing, 0)
    await billing.scenario.send(billing.scenario.new_invite(PAYER))
    for paid in (pay(billing), pay_outside(billing, "wire")):
        assert await paid == PAID
        assert len(await billing.scenario.take_signals()) == 1
        await imported(billing, due="995.00")
    await pay(billing)
    assert await billing.scenario.take_signals() == []


@pytest.mark.parametrize("name", [("payer", "inv-9"), ("nowhere", "inv-1")], ids=str)
async def test_an_unknown_invoice_or_account_is_not_found(
    billing: Billing, name: tuple[str, str]
) -> None:
    """BLK-2: with and without a charge."""
    await imported(billing, 0)
    client = client_of(billing)
    for paid in (
        client.pay(*name, by=OPERATOR, at=NOON),
        client.record_paid_outside(*name, "wire", by=OPERATOR, at=NOON),
    ):
        with pytest.raises(Refused) as refused:
            await paid
        assert refused.value.code is ErrorCode.NOT_FOUND


# Each provider alone.


async def test_an_account_without_methods_pays_by_the_example_card(
    scenario: StoreScenario,
) -> None:
    """ADD-4: at the built-in provider."""
    billing = LedgerBilling(scenario)
    await imported(billing)
    assert await pay(billing) == PAID
    assert await billing.collected() == ["990.00"]


@pytest.fixture
async def at_stripe(scenario: StoreScenario, local_stripe: str) -> AsyncIterator[StripeBilling]:
    async with StripeServer(local_stripe) as server:
        provider = StripeProvider(API_KEY, server.url)
        yield StripeBilling(scenario, server, provider, await server.customer())
        await provider.close()


async def test_an_unreachable_stripe_changes_nothing(at_stripe: StripeBilling) -> None:
    """BLK-2: no request has left, so the outcome is known."""
    await imported(at_stripe, 0)
    before = await at_stripe.scenario.store.directory.export(None)
    for away in (UNREACHABLE, at_stripe.server.url):
        at_stripe.server.failing = answer(503, type="api_error")
        provider = StripeProvider(API_KEY, away)
        client = a_client(at_stripe, provider)
        with pytest.raises(Unavailable, match="The payment provider does not answer") as error:
            await client.pay("payer", "inv-1", by=OPERATOR, at=NOON)
        assert not error.value.outcome_unknown
        await provider.close()
    assert await at_stripe.scenario.store.directory.export(None) == before
    assert (await row_of(at_stripe)).charges == 0
    assert await ledger_balances(at_stripe.scenario.engine) == {}


async def test_the_outcome_of_a_charge_without_an_answer_is_unknown(
    at_stripe: StripeBilling,
) -> None:
    """BLK-2: Stripe fails after the charge; the repetition finds it."""
    await imported(at_stripe, 0)
    server = at_stripe.server

    class FailingAfterwards(StripeProvider):
        async def charge(self, request: ChargeRequest) -> ProviderCharge:
            server.failing = answer(503, type="api_error")
            return await super().charge(request)

    failing = FailingAfterwards(API_KEY, server.url)
    client = a_client(at_stripe, failing)
    with pytest.raises(Unavailable) as error:
        await client.pay("payer", "inv-1", by=OPERATOR, at=NOON)
    assert error.value.outcome_unknown
    await failing.close()
    server.failing = None
    assert await status_of(at_stripe) == ("990.00", "open")
    assert await pay(at_stripe) == PAID
    assert await at_stripe.collected() == ["990.00"]


async def test_an_undecided_bank_debit_leaves_the_invoice_open(at_stripe: StripeBilling) -> None:
    """BLK-2: the next command finds its result."""
    await imported(at_stripe, 0)
    at_stripe.server.initial_charge_status = "processing"
    for _ in range(2):
        assert await refusal_of(at_stripe) is ErrorCode.CONFLICT
    assert await status_of(at_stripe) == ("990.00", "open")
    at_stripe.server.set_status(at_stripe.server.intents[0], "succeeded")
    assert await pay(at_stripe) == PAID
    assert len(at_stripe.server.intents) == 1


async def test_an_account_unknown_to_stripe_cannot_pay(at_stripe: StripeBilling) -> None:
    """BLK-2: there is no method to charge, and the invoice stays open."""
    await imported(at_stripe, 0, billing_customer=None)
    assert await refusal_of(at_stripe) is ErrorCode.PAYMENT_DECLINED
    assert await status_of(at_stripe) == ("990.00", "open")


async def test_an_amount_that_stripe_cannot_charge_stays_open(at_stripe: StripeBilling) -> None:
    """BLK-2: the refusal names the command for a payment elsewhere."""
    await imported(at_stripe, 0, due="0.30")
    with pytest.raises(Refused, match=r"cannot charge 0\.30 EUR.*--paid-outside") as refused:
        await pay(at_stripe)
    assert refused.value.code is ErrorCode.CONFLICT
    assert await status_of(at_stripe) == ("0.30", "open")
    assert at_stripe.server.intents == []


async def test_an_invoice_id_may_have_any_characters(at_stripe: StripeBilling) -> None:
    """BLK-2: the key is sent in a header."""
    invoice = {"id": "Rechnung №7", "amount_due": "9.90", "due_on": "2026-04-01"}
    await imported(at_stripe, 0, invoices=[invoice])
    paid = await client_of(at_stripe).pay("payer", "Rechnung №7", by=OPERATOR, at=NOON)
    assert paid == [Changed(kind="invoice", id="Rechnung №7")]


# The comparison with the provider.


async def test_charges_are_found_by_their_key(billing: Billing) -> None:
    """OPS-6: also if the store has lost the results of earlier charges of the invoice."""
    await imported(billing, 0)
    invoices = billing.scenario.store.invoices
    assert [page async for page in invoices.charges()] == [[]]
    key = "invoice/payer/inv-1/2"
    assert not await invoices.is_booked(key)
    due = await invoices.charged(key)
    assert due
    assert (due.key, due.amount) == (key, eur("990.00"))
    assert await invoices.paid(due, eur("1000.00"), "pi_1", by=OPERATOR, at=NOON)
    assert not await invoices.paid(due, eur("1000.00"), "pi_1", by=OPERATOR, at=NOON)
    assert await invoices.is_booked(key)
    assert [page async for page in invoices.charges()] == [[("payer", "inv-1", "pi_1")]]
    assert (await billing.scenario.store.credits.show("payer")).balance == eur("10.00")
    assert await invoices.charged("invoice/payer/inv-9/0") is None
    await assert_consistent(billing)
