"""Refunds at Stripe, against a server that keeps them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import stripe
from starlette.responses import Response

from activities.billing import (
    ChargeRequest,
    ChargeUndecided,
    PaymentProvider,
    RefundRefused,
    RefundRequest,
)
from adapters.stripe import AmountTooPrecise, StripeProvider, stripe_units
from domain.charge import EXAMPLE_CARD, ChargeState
from domain.money import Money
from domain.refund import PartState
from tests.adapters.provider_contract import ProviderContract, charge_of
from tests.stripe_server import API_KEY, StripeServer, answer, localstripe

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "rf-1/pi_1/1"
CREATED = "POST /v1/refunds"
CHARGED = "POST /v1/payment_intents"
UNCLEAR = [
    answer(401, type="invalid_request_error"),
    answer(403, type="invalid_request_error"),
    answer(409, type="invalid_request_error", code="idempotency_key_in_use"),
    answer(429, type="invalid_request_error", code="lock_timeout"),
    answer(400, type="idempotency_error"),
    answer(500, type="api_error"),
    answer(503, type="api_error"),
    Response("<html>", 502),
]
NOBODY = answer(400, type="invalid_request_error", code="resource_missing")


@pytest.fixture(scope="session")
async def kept() -> AsyncIterator[str]:
    async with localstripe() as url:
        yield url


@dataclass
class StripeWorld:
    """The provider, and the Stripe that it speaks with."""

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

    async def lose_the_answer(self, request: ChargeRequest) -> None:
        self.server.answers_lost = 1
        with pytest.raises(stripe.APIError):
            await self.provider.charge(request)

    async def book(self, payment: str, amount: str) -> None:
        """Nothing: Stripe knows its payments by itself."""

    async def settle(self, provider_id: str) -> datetime:
        self.server.say(provider_id, "succeeded")
        return self.now


@pytest.fixture
async def world(kept: str) -> AsyncIterator[StripeWorld]:
    async with StripeServer(kept, made_as="pending") as server:
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


async def refusal(world: StripeWorld, request: RefundRequest) -> str:
    with pytest.raises(RefundRefused) as refused:
        await world.provider.refund(request)
    return str(refused.value)


class TestStripeProvider(ProviderContract):
    """Stripe keeps the promises of every provider."""


async def test_a_stripe_server_is_spoken_with_as_it_is(kept: str, world: StripeWorld) -> None:
    """Without anything in between: what localstripe itself keeps."""
    provider = StripeProvider(API_KEY, kept)
    request = a_refund(await world.server.paid(3000))
    assert await provider.find_refund(request) is None
    made = await provider.refund(request)
    assert made.state is PartState.SUCCEEDED
    assert await provider.find_refund(request) == made
    assert await provider.refund(request) == made
    assert await provider.look_up(request, made.provider_id) == made
    await provider.close()


async def test_a_charge_is_what_stripe_calls_an_off_session_payment(world: StripeWorld) -> None:
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


async def test_yen_are_charged_as_stripe_counts_them(world: StripeWorld) -> None:
    request = await charge_of(world, "50.00")
    yen = request.model_copy(update={"amount": Money(amount=Decimal(500), currency="JPY")})
    assert (await world.provider.charge(yen)).state is ChargeState.SUCCEEDED
    [asked] = world.server.charged
    assert (asked["amount"], asked["currency"]) == ("500", "jpy")


async def test_what_is_finer_than_stripe_counts_is_declined(world: StripeWorld) -> None:
    told = await world.provider.charge(await charge_of(world, "0.001"))
    assert (told.state, told.failure) == (ChargeState.DECLINED, "amount_too_fine")
    assert world.server.charged == []


async def test_a_charge_is_made_once_after_its_answer_was_lost(world: StripeWorld) -> None:
    """Also when Stripe has forgotten its idempotency keys: look up before asking again."""
    request = await charge_of(world, "50.00")
    await world.lose_the_answer(request)
    world.server.forget_keys()
    assert (await world.provider.charge(request)).state is ChargeState.SUCCEEDED
    assert world.server.asked.count(CHARGED) == 1


async def test_a_decline_that_stripe_has_forgotten_is_not_asked_for_again(
    world: StripeWorld,
) -> None:
    """The second try at the same card is another key's."""
    request = await charge_of(world, "50.00", declines=1)
    declined = await world.provider.charge(request)
    world.server.forget_keys()
    assert await world.provider.charge(request) == declined
    assert world.server.asked.count(CHARGED) == 1


async def test_a_charge_is_found_among_many(
    world: StripeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.stripe.PAGE_SIZE", 2)
    first = await charge_of(world, "50.00")
    requests = [first.model_copy(update={"key": f"order-1/{number}"}) for number in range(5)]
    made = [await world.provider.charge(request) for request in requests]
    assert [await world.provider.find_charge(request) for request in requests] == made


@pytest.mark.parametrize("status", ["processing", "requires_confirmation"])
async def test_what_stripe_has_not_decided_is_unclear_and_not_asked_again(
    world: StripeWorld, status: str
) -> None:
    """A bank has days for a debit; another method must not be charged meanwhile."""
    request = await charge_of(world, "50.00")
    made = await world.provider.charge(request)
    assert made.provider_id
    world.server.say(made.provider_id, status)
    with pytest.raises(ChargeUndecided):
        await world.provider.charge(request)
    with pytest.raises(ChargeUndecided):
        await world.provider.find_charge(request)
    world.server.say(made.provider_id, "succeeded")
    assert await world.provider.charge(request) == made
    assert world.server.asked.count(CHARGED) == 1


@pytest.mark.parametrize("status", ["requires_action", "requires_payment_method", "canceled"])
async def test_what_waits_for_a_person_is_declined(world: StripeWorld, status: str) -> None:
    """ADD-4: nobody is there, and the next method is tried."""
    request = await charge_of(world, "50.00")
    made = await world.provider.charge(request)
    assert made.provider_id
    world.server.say(made.provider_id, status)
    told = await world.provider.find_charge(request)
    assert told == made.model_copy(update={"state": ChargeState.DECLINED, "failure": status})


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (answer(402, type="card_error", code="expired_card"), "expired_card"),
        (answer(400, type="invalid_request_error", message="No,\n sorry."), "No, sorry."),
        (
            answer(400, type="invalid_request_error", message="Ask jane@example.com"),
            "Ask j…@example.com",
        ),
    ],
)
async def test_the_reason_of_a_decline_is_short_and_names_nobody(
    world: StripeWorld, told: Response, reason: str
) -> None:
    """Nothing is kept of it at Stripe here, and so there is no id."""
    request = await charge_of(world, "50.00")
    world.server.answers = [NOBODY, told]
    declined = await world.provider.charge(request)
    assert (declined.provider_id, declined.failure) == (None, reason)


@pytest.mark.parametrize(
    "change",
    [{"billing_customer": None}, {"billing_customer": "cus_unknown"}, {"method": EXAMPLE_CARD}],
)
async def test_whom_stripe_does_not_know_it_does_not_charge(
    world: StripeWorld, change: dict[str, object]
) -> None:
    """ADD-4: the example card is the built-in provider's alone."""
    request = (await charge_of(world, "50.00")).model_copy(update=change)
    assert await world.provider.find_charge(request) is None
    told = await world.provider.charge(request)
    assert told.state is ChargeState.DECLINED
    assert told.failure


@pytest.mark.parametrize("told", UNCLEAR)
async def test_everything_else_is_no_decline(world: StripeWorld, told: Response) -> None:
    """It leaves open whether the charge was made; nothing is tried again in here."""
    request = await charge_of(world, "50.00")
    world.server.answers = [NOBODY, told]
    with pytest.raises(stripe.StripeError):
        await world.provider.charge(request)
    assert len(world.server.asked) == 2
    assert (await world.provider.charge(request)).state is ChargeState.SUCCEEDED


async def test_a_search_that_fails_finds_nothing_out(world: StripeWorld) -> None:
    request = await charge_of(world, "50.00")
    world.server.answers = [answer(400, type="invalid_request_error", code="parameter_unknown")]
    with pytest.raises(stripe.InvalidRequestError):
        await world.provider.charge(request)
    assert CHARGED not in world.server.asked


async def test_a_payment_may_be_a_charge(world: StripeWorld) -> None:
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
async def test_the_state_is_stripe_s_word(
    world: StripeWorld, status: str, reason: str | None, state: PartState
) -> None:
    """REF-2, REF-4."""
    request = a_refund(await world.server.paid(3000))
    made = await world.provider.refund(request)
    world.server.say(made.provider_id, status, reason)
    told = await world.provider.look_up(request, made.provider_id)
    assert (told.state, told.failure) == (state, reason)
    assert await world.provider.refund(request) == told


async def test_after_a_lost_answer_the_refund_is_found(world: StripeWorld) -> None:
    """REF-5: look up before asking again; it was carried out all the same."""
    request = a_refund(await world.server.paid(3000))
    world.server.answers_lost = 1
    with pytest.raises(stripe.APIError):
        await world.provider.refund(request)
    found = await world.provider.find_refund(request)
    assert found is not None
    assert await world.provider.refund(request) == found
    assert world.server.asked.count(CREATED) == 1


async def test_a_key_that_stripe_has_forgotten_still_makes_one_refund(world: StripeWorld) -> None:
    """REF-5: Stripe forgets its idempotency keys after a day."""
    request = a_refund(await world.server.paid(3000))
    made = await world.provider.refund(request)
    world.server.forget_keys()
    assert await world.provider.refund(request) == made
    assert world.server.asked.count(CREATED) == 1


async def test_a_refund_is_found_among_many(
    world: StripeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.stripe.PAGE_SIZE", 2)
    payment = await world.server.paid(3000)
    requests = [a_refund(payment, "1.00", key=f"rf-{number}/{payment}/1") for number in range(5)]
    made = [await world.provider.refund(request) for request in requests]
    assert [await world.provider.find_refund(request) for request in requests] == made


async def test_what_has_been_refunded_by_others_is_refused_with_stripe_s_code(
    world: StripeWorld,
) -> None:
    payment = await world.server.paid(3000)
    await world.provider.refund(a_refund(payment, "30.00"))
    assert await refusal(world, a_refund(payment, key="rf-2/pi_1/1")) == "charge_already_refunded"


async def test_an_unknown_payment_intent_is_refused(world: StripeWorld) -> None:
    assert await world.provider.find_refund(a_refund("pi_unknown")) is None
    assert await refusal(world, a_refund("pi_unknown"))


async def test_another_method_is_refused_without_asking(world: StripeWorld) -> None:
    """REF-4: Stripe returns money to where it came from only."""
    request = a_refund(await world.server.paid(3000), to_method="card-2")
    assert await refusal(world, request) == "another_method_not_supported"
    assert world.server.asked == []


async def test_a_payment_in_another_currency_is_refused_before_anything_is_made(
    world: StripeWorld,
) -> None:
    """A refund at Stripe is a mere number: 10.00 EUR would have been 1000 yen."""
    payment = await world.server.paid(3000, "jpy")
    assert await refusal(world, a_refund(payment)) == "currency_mismatch"
    assert CREATED not in world.server.asked


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (answer(402, type="card_error", code="card_declined"), "card_declined"),
        (answer(400, type="invalid_request_error", message="No,\n sorry."), "No, sorry."),
        (
            answer(400, type="invalid_request_error", message="Ask jane@example.com"),
            "Ask j…@example.com",
        ),
    ],
)
async def test_the_reason_of_a_refusal_is_short_and_names_nobody(
    world: StripeWorld, told: Response, reason: str
) -> None:
    payment = await world.server.paid(3000)
    # After the search and the look at the payment's currency.
    world.server.answers = [answer(404, type="invalid_request_error"), told]
    assert await refusal(world, a_refund(payment)) == reason


@pytest.mark.parametrize("told", UNCLEAR)
async def test_everything_else_is_no_refusal_and_may_go_otherwise(
    world: StripeWorld, told: Response
) -> None:
    """REF-5: it leaves open whether the refund was made; nothing is tried again in here."""
    payment = await world.server.paid(3000)
    world.server.answers = [answer(404, type="invalid_request_error"), told]
    with pytest.raises(stripe.StripeError):
        await world.provider.refund(a_refund(payment))
    assert len(world.server.asked) == 2
    assert (await world.provider.refund(a_refund(payment))).state is PartState.PENDING


async def test_nobody_listening_is_no_refusal() -> None:
    provider = StripeProvider(API_KEY, "http://127.0.0.1:1")
    with pytest.raises(stripe.APIConnectionError):
        await provider.refund(a_refund("pi_1"))
    await provider.close()


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        # Stripe docs, "Supported currencies": minor units, zero-decimal, special cases.
        ("10.00", "USD", 1000),
        ("500", "JPY", 500),
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        ("5.120", "KWD", 5120),
        # Stripe lists it among the others, though it is written without decimals.
        ("5", "RSD", 500),
    ],
)
def test_amounts_are_counted_as_stripe_counts(amount: str, currency: str, units: int) -> None:
    assert stripe_units(Money(amount=Decimal(amount), currency=currency)) == units


def test_what_is_finer_than_stripe_counts_is_refused() -> None:
    with pytest.raises(AmountTooPrecise):
        stripe_units(Money(amount=Decimal("0.5"), currency="JPY"))
