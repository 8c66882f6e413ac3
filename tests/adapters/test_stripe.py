"""Charges and refunds at Stripe, against a local Stripe server."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import stripe
from starlette.responses import Response

from activities.billing import (
    ChargePending,
    ChargeRequest,
    ChargeTooSmall,
    LookupRefused,
    PaymentProvider,
    RefundRefused,
    RefundRequest,
)
from adapters.stripe import StripeProvider
from adapters.stripe_amount import returnable, stripe_units
from domain.charge import EXAMPLE_CARD, ChargeState
from domain.money import Money
from domain.refund import PartState
from tests.adapters.provider_contract import ProviderContract, charge_of
from tests.stripe_server import API_KEY, StripeServer, answer

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "rf-1/pi_1/1"
CREATE_REFUND = "POST /v1/refunds"
CREATE_CHARGE = "POST /v1/payment_intents"
OUTCOME_UNKNOWN = [
    answer(401, type="invalid_request_error"),
    answer(403, type="invalid_request_error"),
    answer(409, type="invalid_request_error", code="idempotency_key_in_use"),
    answer(429, type="invalid_request_error", code="lock_timeout"),
    answer(400, type="idempotency_error"),
    answer(500, type="api_error"),
    answer(503, type="api_error"),
    Response("<html>", 502),
]
UNKNOWN_CUSTOMER = answer(400, type="invalid_request_error", code="resource_missing")


@dataclass
class StripeWorld:
    """The provider and the Stripe server that it uses."""

    provider: PaymentProvider
    server: StripeServer
    billing_customer: str
    account: str = "globex"
    now: datetime = NOW

    async def paid(self, amount: str, currency: str) -> str:
        money = Money(amount=Decimal(amount), currency=currency)
        return await self.server.paid(stripe_units(money), currency.lower())

    async def method(self, declines: int = 0) -> str:
        return await self.server.card(self.billing_customer, declines)

    async def charge_and_lose_response(self, request: ChargeRequest) -> None:
        self.server.lost_responses = 1
        with pytest.raises(stripe.APIError):
            await self.provider.charge(request)

    async def book(self, payment: str, amount: str) -> None:
        """Skip the record: Stripe records its payments itself."""

    async def settle(self, provider_id: str) -> datetime:
        self.server.set_status(provider_id, "succeeded")
        return self.now


@pytest.fixture
async def world(local_stripe: str) -> AsyncIterator[StripeWorld]:
    async with StripeServer(local_stripe, initial_status="pending") as server:
        provider = StripeProvider(API_KEY, server.url)
        yield StripeWorld(provider, server, await server.customer())
        await provider.close()


def a_refund(
    payment: str,
    amount: str = "10.00",
    *,
    key: str = KEY,
    currency: str = "EUR",
    to_method: str | None = None,
) -> RefundRequest:
    return RefundRequest(
        key=key,
        account="globex",
        payment=payment,
        amount=Money(amount=Decimal(amount), currency=currency),
        to_method=to_method,
        at=NOW,
    )


async def refusal_of(world: StripeWorld, request: RefundRequest) -> str:
    with pytest.raises(RefundRefused) as refused:
        await world.provider.refund(request)
    return str(refused.value)


class TestStripeProvider(ProviderContract):
    """The contract of every provider, kept by Stripe."""


async def test_a_refund_works_without_the_recording_proxy(
    local_stripe: str, world: StripeWorld
) -> None:
    """REF-5: directly against localstripe, so that the proxy hides no fault."""
    provider = StripeProvider(API_KEY, local_stripe)
    request = a_refund(await world.server.paid(3000))
    assert await provider.find_refund(request) is None
    made = await provider.refund(request)
    assert made.state is PartState.SUCCEEDED
    assert await provider.find_refund(request) == made
    assert await provider.refund(request) == made
    assert await provider.look_up(request, made.provider_id) == made
    await provider.close()


async def test_a_charge_is_a_confirmed_off_session_payment_intent(world: StripeWorld) -> None:
    """ADD-4: the customer is not present, and the key is kept in the metadata."""
    request = await charge_of(world, "50.00")
    made = await world.provider.charge(request)
    assert made.provider_id
    assert made.provider_id.startswith("pi_")
    assert world.server.charged == [
        {
            "amount": "5000",
            "currency": "eur",
            "customer": world.billing_customer,
            "payment_method": request.method,
            "description": "Large Meeting 500",
            "metadata[seatflow_key]": request.key,
            "confirm": "true",
            "off_session": "true",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        }
    ]


async def test_yen_are_charged_without_decimals(world: StripeWorld) -> None:
    """ADD-4: Stripe counts zero-decimal currencies in whole units."""
    request = await charge_of(world, "50.00")
    yen = request.model_copy(update={"amount": Money(amount=Decimal(500), currency="JPY")})
    assert (await world.provider.charge(yen)).state is ChargeState.SUCCEEDED
    [request_body] = world.server.charged
    assert (request_body["amount"], request_body["currency"]) == ("500", "jpy")


async def test_an_amount_with_too_many_decimals_is_declined(world: StripeWorld) -> None:
    """ADD-4: nothing is sent to Stripe."""
    declined = await world.provider.charge(await charge_of(world, "0.001"))
    assert (declined.state, declined.failure) == (ChargeState.DECLINED, "amount_too_fine")
    assert world.server.charged == []


async def test_a_charge_whose_response_was_lost_is_made_once(world: StripeWorld) -> None:
    """ADD-4: also after Stripe has forgotten the idempotency key."""
    request = await charge_of(world, "50.00")
    await world.charge_and_lose_response(request)
    world.server.forget_keys()
    assert (await world.provider.charge(request)).state is ChargeState.SUCCEEDED
    assert world.server.requests.count(CREATE_CHARGE) == 1


async def test_a_decline_is_found_after_stripe_has_forgotten_its_key(
    world: StripeWorld,
) -> None:
    """ADD-4: the next try of the same card has another key."""
    request = await charge_of(world, "50.00", declines=1)
    declined = await world.provider.charge(request)
    world.server.forget_keys()
    assert await world.provider.charge(request) == declined
    assert world.server.requests.count(CREATE_CHARGE) == 1


async def test_dinars_are_charged_to_the_last_but_one_digit(world: StripeWorld) -> None:
    """ADD-4: Stripe refuses 5124, the amount of KWD 5.124."""
    request = await charge_of(world, "50.00")
    exact = Money(amount=Decimal("5.124"), currency="KWD")
    declined = await world.provider.charge(request.model_copy(update={"amount": exact}))
    assert (declined.state, declined.failure) == (ChargeState.DECLINED, "amount_too_fine")
    part = world.provider.chargeable(exact)
    charged = await world.provider.charge(request.model_copy(update={"amount": part}))
    assert charged.state is ChargeState.SUCCEEDED
    assert [each["amount"] for each in world.server.charged] == ["5120"]


async def test_dinars_are_refunded_to_the_last_but_one_digit(world: StripeWorld) -> None:
    """QUO-3: Stripe refuses 5124, the amount of KWD 5.124; the rest is credit."""
    payment = await world.server.paid(10000, "kwd")
    assert await refusal_of(world, a_refund(payment, "5.124", currency="KWD")) == "amount_too_fine"
    part = returnable(Money(amount=Decimal("5.124"), currency="KWD"))
    made = await world.provider.refund(a_refund(payment, f"{part.amount:f}", currency="KWD"))
    assert made.state is PartState.PENDING


async def test_a_charge_below_the_minimum_of_the_bank_account_is_no_decline(
    world: StripeWorld,
) -> None:
    """ADD-4: the minimum in the account's currency is unknown here; Stripe says so."""
    request = await charge_of(world, "50.00")
    tiny = Money(amount=Decimal("0.49"), currency="RSD")
    assert world.provider.chargeable(tiny) == tiny
    with pytest.raises(ChargeTooSmall):
        await world.provider.charge(request.model_copy(update={"amount": tiny}))
    assert world.server.intents == []


async def test_only_recent_charges_of_the_customer_are_listed(
    world: StripeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADD-4: a customer with years of charges costs as many requests as a new one."""
    monkeypatch.setattr("adapters.stripe.PAGE_SIZE", 2)
    first = await charge_of(world, "50.00")
    requests = [first.model_copy(update={"key": f"order-1/{number}"}) for number in range(7)]
    made = [await world.provider.charge(request) for request in requests]
    for intent in world.server.intents:
        world.server.age(intent, timedelta(days=300))
    world.server.requests.clear()
    assert await world.provider.find_charge(requests[0]) == made[0]
    assert world.server.requests == [
        "GET /v1/payment_intents",
        "GET /v1/payment_intents/search",
        f"GET /v1/payment_intents/{made[0].provider_id}",
    ]


@pytest.mark.parametrize("age", [timedelta(), timedelta(minutes=59), timedelta(hours=3)])
async def test_a_charge_is_found_at_every_age(world: StripeWorld, age: timedelta) -> None:
    """ADD-4: the search finds it only later, and in an outdated state."""
    request = await charge_of(world, "50.00")
    made = await world.provider.charge(request)
    assert made.provider_id
    world.server.age(made.provider_id, age)
    assert await world.provider.find_charge(request) == made
    world.server.set_status(made.provider_id, "canceled")
    found = await world.provider.find_charge(request)
    assert found is not None
    assert found.state is ChargeState.DECLINED


async def test_a_charge_is_found_on_later_pages(
    world: StripeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADD-4: the search reads all pages of payment intents."""
    monkeypatch.setattr("adapters.stripe.PAGE_SIZE", 2)
    first = await charge_of(world, "50.00")
    requests = [first.model_copy(update={"key": f"order-1/{number}"}) for number in range(5)]
    made = [await world.provider.charge(request) for request in requests]
    assert [await world.provider.find_charge(request) for request in requests] == made


@pytest.mark.parametrize("status", ["processing", "requires_confirmation"])
async def test_an_undecided_charge_is_not_repeated(world: StripeWorld, status: str) -> None:
    """ADD-4: a bank debit takes days; no other method may be charged meanwhile."""
    request = await charge_of(world, "50.00")
    made = await world.provider.charge(request)
    assert made.provider_id
    world.server.set_status(made.provider_id, status)
    with pytest.raises(ChargePending):
        await world.provider.charge(request)
    with pytest.raises(ChargePending):
        await world.provider.find_charge(request)
    world.server.set_status(made.provider_id, "succeeded")
    assert await world.provider.charge(request) == made
    assert world.server.requests.count(CREATE_CHARGE) == 1


@pytest.mark.parametrize("status", ["requires_action", "requires_payment_method", "canceled"])
async def test_a_charge_that_waits_for_the_customer_is_declined(
    world: StripeWorld, status: str
) -> None:
    """ADD-4: the customer is not present, so the next method is tried."""
    request = await charge_of(world, "50.00")
    made = await world.provider.charge(request)
    assert made.provider_id
    world.server.set_status(made.provider_id, status)
    declined = await world.provider.find_charge(request)
    changed = {"state": ChargeState.DECLINED, "amount": None, "failure": status}
    assert declined == made.model_copy(update=changed)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (answer(402, type="card_error", code="expired_card"), "expired_card"),
        (answer(400, type="invalid_request_error", message="No,\n sorry."), "No, sorry."),
        (
            answer(400, type="invalid_request_error", message="Ask jane@example.com"),
            "Ask j…@example.com",
        ),
    ],
)
async def test_the_reason_of_a_decline_is_one_line_and_masked(
    world: StripeWorld, response: Response, reason: str
) -> None:
    """ADD-4: without a payment intent at Stripe there is no id."""
    request = await charge_of(world, "50.00")
    world.server.answers = [UNKNOWN_CUSTOMER, response]
    declined = await world.provider.charge(request)
    assert (declined.provider_id, declined.failure) == (None, reason)


@pytest.mark.parametrize(
    "change",
    [{"billing_customer": None}, {"billing_customer": "cus_unknown"}, {"method": EXAMPLE_CARD}],
)
async def test_an_unknown_customer_or_method_is_declined(
    world: StripeWorld, change: dict[str, object]
) -> None:
    """ADD-4: the example card exists at the built-in provider only."""
    request = (await charge_of(world, "50.00")).model_copy(update=change)
    assert await world.provider.find_charge(request) is None
    declined = await world.provider.charge(request)
    assert declined.state is ChargeState.DECLINED
    assert declined.failure


@pytest.mark.parametrize("response", OUTCOME_UNKNOWN)
async def test_other_errors_leave_the_charge_undecided(
    world: StripeWorld, response: Response
) -> None:
    """ADD-4: the charge may have been made; the adapter itself does not retry."""
    request = await charge_of(world, "50.00")
    world.server.answers = [UNKNOWN_CUSTOMER, response]
    with pytest.raises(stripe.StripeError):
        await world.provider.charge(request)
    assert len(world.server.requests) == 2
    assert (await world.provider.charge(request)).state is ChargeState.SUCCEEDED


async def test_a_failed_search_creates_no_charge(world: StripeWorld) -> None:
    """ADD-4: without the search a charge could be made twice."""
    request = await charge_of(world, "50.00")
    world.server.answers = [answer(400, type="invalid_request_error", code="parameter_unknown")]
    with pytest.raises(stripe.InvalidRequestError):
        await world.provider.charge(request)
    assert CREATE_CHARGE not in world.server.requests


async def test_a_payment_may_be_a_stripe_charge(world: StripeWorld) -> None:
    """REF-5: payments of older integrations are charges, not payment intents."""
    request = a_refund(await world.server.paid(3000, charge=True))
    made = await world.provider.refund(request)
    assert await world.provider.find_refund(request) == made


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        # Stripe API reference, Refunds: status and failure_reason.
        ("pending", None, PartState.PENDING),
        ("requires_action", None, PartState.REQUIRES_ACTION),
        ("succeeded", None, PartState.SUCCEEDED),
        ("failed", "expired_or_canceled_card", PartState.FAILED),
        ("failed", "lost_or_stolen_card", PartState.FAILED),
        ("failed", "declined", PartState.FAILED),
        ("canceled", None, PartState.CANCELED),
    ],
)
async def test_a_refund_has_the_state_that_stripe_reports(
    world: StripeWorld, status: str, reason: str | None, state: PartState
) -> None:
    """REF-2, REF-4: every status of Stripe's Refund object."""
    request = a_refund(await world.server.paid(3000))
    made = await world.provider.refund(request)
    world.server.set_status(made.provider_id, status, reason)
    found = await world.provider.look_up(request, made.provider_id)
    assert (found.state, found.failure) == (state, reason)
    assert await world.provider.refund(request) == found


@pytest.mark.parametrize("status", [401, 403])
async def test_a_revoked_key_is_an_answer_to_a_look_up_and_none_to_a_request(
    world: StripeWorld, status: int
) -> None:
    """OPS-3, REF-5: a person sees it, and the request is neither refused nor given up."""
    request = a_refund(await world.server.paid(3000))
    made = await world.provider.refund(request)
    world.server.failing = answer(status, type="invalid_request_error")
    with pytest.raises(LookupRefused, match="api_key_refused"):
        await world.provider.look_up(request, made.provider_id)
    with pytest.raises(stripe.StripeError):
        await world.provider.refund(request)


async def test_a_refund_whose_response_was_lost_is_made_once(world: StripeWorld) -> None:
    """REF-5: it is found by its key and not created again."""
    request = a_refund(await world.server.paid(3000))
    world.server.lost_responses = 1
    with pytest.raises(stripe.APIError):
        await world.provider.refund(request)
    found = await world.provider.find_refund(request)
    assert found is not None
    assert await world.provider.refund(request) == found
    assert world.server.requests.count(CREATE_REFUND) == 1


async def test_a_refund_is_found_after_stripe_has_forgotten_its_key(world: StripeWorld) -> None:
    """REF-5: Stripe forgets idempotency keys after a day."""
    request = a_refund(await world.server.paid(3000))
    made = await world.provider.refund(request)
    world.server.forget_keys()
    assert await world.provider.refund(request) == made
    assert world.server.requests.count(CREATE_REFUND) == 1


async def test_a_refund_is_found_on_later_pages(
    world: StripeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REF-5: the search reads all pages of refunds."""
    monkeypatch.setattr("adapters.stripe.PAGE_SIZE", 2)
    payment = await world.server.paid(3000)
    requests = [a_refund(payment, "1.00", key=f"rf-{number}/{payment}/1") for number in range(5)]
    made = [await world.provider.refund(request) for request in requests]
    assert [await world.provider.find_refund(request) for request in requests] == made


async def test_a_payment_refunded_elsewhere_is_refused_with_stripe_s_code(
    world: StripeWorld,
) -> None:
    """REF-4: an operator reads Stripe's reason."""
    payment = await world.server.paid(3000)
    await world.provider.refund(a_refund(payment, "30.00"))
    assert (
        await refusal_of(world, a_refund(payment, key="rf-2/pi_1/1")) == "charge_already_refunded"
    )


async def test_an_unknown_payment_intent_is_refused(world: StripeWorld) -> None:
    """REF-5: it has no refunds and none can be made."""
    assert await world.provider.find_refund(a_refund("pi_unknown")) is None
    assert await refusal_of(world, a_refund("pi_unknown"))


async def test_another_method_is_refused_without_a_request(world: StripeWorld) -> None:
    """REF-4: Stripe refunds to the original method only."""
    request = a_refund(await world.server.paid(3000), to_method="card-2")
    assert await refusal_of(world, request) == "another_method_not_supported"
    assert world.server.requests == []


async def test_a_payment_in_another_currency_is_refused_before_the_refund(
    world: StripeWorld,
) -> None:
    """QUO-3: Stripe's refund has no currency: 10.00 EUR would have become 1000 yen."""
    payment = await world.server.paid(3000, "jpy")
    assert await refusal_of(world, a_refund(payment)) == "currency_mismatch"
    assert CREATE_REFUND not in world.server.requests


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (answer(402, type="card_error", code="card_declined"), "card_declined"),
        (answer(400, type="invalid_request_error", message="No,\n sorry."), "No, sorry."),
        (
            answer(400, type="invalid_request_error", message="Ask jane@example.com"),
            "Ask j…@example.com",
        ),
    ],
)
async def test_the_reason_of_a_refusal_is_one_line_and_masked(
    world: StripeWorld, response: Response, reason: str
) -> None:
    """REF-4: the reason is shown to operators."""
    payment = await world.server.paid(3000)
    # The responses to the search for the refund, and to the request of the payment's currency.
    world.server.answers = [answer(404, type="invalid_request_error"), response]
    assert await refusal_of(world, a_refund(payment)) == reason


@pytest.mark.parametrize("response", OUTCOME_UNKNOWN)
async def test_other_errors_leave_the_refund_undecided(
    world: StripeWorld, response: Response
) -> None:
    """REF-5: the refund may have been made; the adapter itself does not retry."""
    payment = await world.server.paid(3000)
    world.server.answers = [answer(404, type="invalid_request_error"), response]
    with pytest.raises(stripe.StripeError):
        await world.provider.refund(a_refund(payment))
    assert len(world.server.requests) == 2
    assert (await world.provider.refund(a_refund(payment))).state is PartState.PENDING


async def test_an_unreachable_stripe_is_no_refusal() -> None:
    """REF-5: a connection error is retried."""
    provider = StripeProvider(API_KEY, "http://127.0.0.1:1")
    with pytest.raises(stripe.APIConnectionError):
        await provider.refund(a_refund("pi_1"))
    await provider.close()
