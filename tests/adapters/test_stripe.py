"""Refunds at Stripe, against a server that keeps them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import stripe
from starlette.responses import Response

from activities.billing import PaymentProvider, RefundRefused, RefundRequest
from adapters.stripe import StripeProvider, stripe_units
from domain.money import Money
from domain.refund import PartState
from tests.adapters.provider_contract import ProviderContract
from tests.stripe_server import API_KEY, StripeServer, answer, localstripe

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "rf-1/pi_1/1"
CREATED = "POST /v1/refunds"


@pytest.fixture(scope="session")
async def kept() -> AsyncIterator[str]:
    async with localstripe() as url:
        yield url


@dataclass
class StripeWorld:
    """The provider, and the Stripe that it speaks with."""

    provider: PaymentProvider
    server: StripeServer
    account: str = "globex"
    now: datetime = NOW

    async def paid(self, amount: str, currency: str) -> str:
        money = Money(amount=Decimal(amount), currency=currency)
        return await self.server.paid(stripe_units(money), currency.lower())

    async def settle(self, provider_id: str) -> datetime:
        self.server.say(provider_id, "succeeded")
        return self.now


@pytest.fixture
async def world(kept: str) -> AsyncIterator[StripeWorld]:
    async with StripeServer(kept, made_as="pending") as server:
        provider = StripeProvider(API_KEY, server.url)
        yield StripeWorld(provider, server)
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
    monkeypatch.setattr("adapters.stripe.ALL_AT_ONCE", 2)
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


@pytest.mark.parametrize(
    "told",
    [
        answer(401, type="invalid_request_error"),
        answer(403, type="invalid_request_error"),
        answer(409, type="invalid_request_error", code="idempotency_key_in_use"),
        answer(429, type="invalid_request_error", code="lock_timeout"),
        answer(400, type="idempotency_error"),
        answer(500, type="api_error"),
        answer(503, type="api_error"),
        Response("<html>", 502),
    ],
)
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
    with pytest.raises(RefundRefused):
        stripe_units(Money(amount=Decimal("0.5"), currency="JPY"))
