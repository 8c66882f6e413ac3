"""What every payment provider promises, whichever it is (ADD-4, REF-5).

A provider's tests derive from `ProviderContract` and give it a fixture `world`.
"""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest

from activities.billing import (
    ChargeRequest,
    PaymentProvider,
    ProviderCharge,
    RefundRefused,
    RefundRequest,
)
from domain.charge import ChargeState
from domain.money import Money
from domain.refund import PartState


class ProviderWorld(Protocol):
    """A provider, an account that pays there, and its time."""

    @property
    def provider(self) -> PaymentProvider:
        """The one that is tried."""

    @property
    def account(self) -> str:
        """The account that pays."""

    @property
    def billing_customer(self) -> str | None:
        """The same account in the provider's words."""

    @property
    def now(self) -> datetime:
        """When charges and refunds are requested."""

    async def method(self, declines: int = 0) -> str:
        """The id of another payment method of the account; it declines its first charges."""

    async def lose_the_answer(self, request: ChargeRequest) -> None:
        """Charge; nobody hears what came of it."""

    async def book(self, payment: str, amount: str) -> None:
        """Write down, as an import does, that the account has paid so much by this charge."""

    async def paid(self, amount: str, currency: str) -> str:
        """The provider's id of a payment that the account has just made."""

    async def settle(self, provider_id: str) -> datetime:
        """Let the refund succeed; the moment at which it has."""


def refund_of(
    world: ProviderWorld, payment: str, amount: str, *, key: str = "rf-1/pay-1/1"
) -> RefundRequest:
    return RefundRequest(
        key=key,
        account=world.account,
        payment=payment,
        amount=Money(amount=Decimal(amount), currency="EUR"),
        at=world.now,
    )


async def charge_of(
    world: ProviderWorld,
    amount: str,
    *,
    method: str | None = None,
    declines: int = 0,
    key: str = "order-1/1/1/card",
) -> ChargeRequest:
    """A charge of a method; without one named, of a new one that declines so many."""
    return ChargeRequest(
        key=key,
        account=world.account,
        method=method or await world.method(declines),
        billing_customer=world.billing_customer,
        amount=Money(amount=Decimal(amount), currency="EUR"),
        description="Large Meeting 500",
        at=world.now,
    )


class ProviderContract:
    """The promises of `PaymentProvider`."""

    async def test_a_charge_succeeds_and_is_known_by_its_id(self, world: ProviderWorld) -> None:
        """ADD-4."""
        made = await world.provider.charge(await charge_of(world, "50.00"))
        assert made.provider_id
        assert made == ProviderCharge(
            provider_id=made.provider_id, state=ChargeState.SUCCEEDED, failure=None
        )

    async def test_the_same_key_charges_once(self, world: ProviderWorld) -> None:
        """Also when it is asked again later."""
        request = await charge_of(world, "50.00")
        made = await world.provider.charge(request)
        later = request.model_copy(update={"at": world.now + timedelta(minutes=5)})
        assert await world.provider.charge(later) == made

    async def test_another_key_charges_again(self, world: ProviderWorld) -> None:
        one = await charge_of(world, "50.00")
        other = one.model_copy(update={"key": f"{one.key}/2"})
        first, second = await world.provider.charge(one), await world.provider.charge(other)
        assert first.provider_id != second.provider_id
        assert second.state is ChargeState.SUCCEEDED

    async def test_a_method_declines_its_first_charges_and_then_works(
        self, world: ProviderWorld
    ) -> None:
        """ADD-4: a decline is an answer, and is counted once for each key."""
        first = await charge_of(world, "50.00", declines=2)
        told = []
        for attempt in range(3):
            request = first.model_copy(update={"key": f"{first.key}/{attempt}"})
            told.append(await world.provider.charge(request))
            assert await world.provider.charge(request) == told[-1]
            assert await world.provider.find_charge(request) == told[-1]
        assert [(answer.state, answer.failure) for answer in told] == [
            (ChargeState.DECLINED, "card_declined"),
            (ChargeState.DECLINED, "card_declined"),
            (ChargeState.SUCCEEDED, None),
        ]

    @pytest.mark.parametrize(
        ("declines", "state"), [(0, ChargeState.SUCCEEDED), (1, ChargeState.DECLINED)]
    )
    async def test_a_charge_whose_answer_was_lost_is_found_by_its_key(
        self, world: ProviderWorld, declines: int, state: ChargeState
    ) -> None:
        """Look before asking again: it was made, or declined, all the same."""
        request = await charge_of(world, "50.00", declines=declines)
        assert await world.provider.find_charge(request) is None
        await world.lose_the_answer(request)
        found = await world.provider.find_charge(request)
        assert found is not None
        assert found.state is state
        assert await world.provider.charge(request) == found
        other = request.model_copy(update={"key": f"{request.key}/2"})
        assert await world.provider.find_charge(other) is None

    async def test_ten_requests_at_once_make_one_charge(self, world: ProviderWorld) -> None:
        request = await charge_of(world, "50.00")
        made = await asyncio.gather(*(world.provider.charge(request) for _ in range(10)))
        assert len({charge.provider_id for charge in made}) == 1

    async def test_ten_requests_at_once_count_one_decline(self, world: ProviderWorld) -> None:
        request = await charge_of(world, "50.00", declines=1)
        told = await asyncio.gather(*(world.provider.charge(request) for _ in range(10)))
        assert {answer.state for answer in told} == {ChargeState.DECLINED}
        other = request.model_copy(update={"key": f"{request.key}/2"})
        assert (await world.provider.charge(other)).state is ChargeState.SUCCEEDED

    @pytest.mark.parametrize("amount", ["0.00", "-1.00"])
    async def test_nothing_is_charged_but_more_than_nothing(
        self, world: ProviderWorld, amount: str
    ) -> None:
        request = await charge_of(world, amount)
        assert (await world.provider.charge(request)).state is ChargeState.DECLINED

    async def test_an_unknown_method_declines(self, world: ProviderWorld) -> None:
        """Asking it again would never end otherwise."""
        await world.method()
        request = await charge_of(world, "50.00", method="pm_unknown")
        told = await world.provider.charge(request)
        assert told.state is ChargeState.DECLINED
        assert told.failure

    async def test_what_was_charged_can_be_refunded(self, world: ProviderWorld) -> None:
        """ADD-5, QUO-3: once it is booked it is a payment like any other, and no more than it."""
        charged = await world.provider.charge(await charge_of(world, "50.00"))
        assert charged.provider_id
        await world.book(charged.provider_id, "50.00")
        made = await world.provider.refund(refund_of(world, charged.provider_id, "50.00"))
        assert made.failure is None
        with pytest.raises(RefundRefused):
            await world.provider.refund(
                refund_of(world, charged.provider_id, "0.01", key="rf-2/pay-1/1")
            )

    async def test_a_refund_is_taken_and_known_by_its_id(self, world: ProviderWorld) -> None:
        request = refund_of(world, await world.paid("30.00", "EUR"), "10.00")
        made = await world.provider.refund(request)
        assert made.provider_id
        assert made.state in {PartState.PENDING, PartState.SUCCEEDED}
        assert made.failure is None
        assert (await world.provider.look_up(request, made.provider_id)) == made

    async def test_the_same_key_returns_the_first_refund(self, world: ProviderWorld) -> None:
        """REF-5: also when it is asked again later, and the payment has nothing left."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "30.00")
        first = await world.provider.refund(request)
        later = request.model_copy(update={"at": world.now + timedelta(minutes=5)})
        again = await world.provider.refund(later)
        assert again.provider_id == first.provider_id

    async def test_a_refund_whose_answer_was_lost_is_found_by_its_key(
        self, world: ProviderWorld
    ) -> None:
        """REF-5: look before asking again."""
        payment = await world.paid("30.00", "EUR")
        request = refund_of(world, payment, "10.00")
        assert await world.provider.find_refund(request) is None
        made = await world.provider.refund(request)
        assert await world.provider.find_refund(request) == made
        other = refund_of(world, payment, "10.00", key="rf-2/pay-1/1")
        assert await world.provider.find_refund(other) is None

    async def test_more_than_was_paid_is_refused(self, world: ProviderWorld) -> None:
        """QUO-3."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "30.01")
        with pytest.raises(RefundRefused):
            await world.provider.refund(request)
        assert await world.provider.find_refund(request) is None

    async def test_partial_refunds_never_exceed_the_payment(self, world: ProviderWorld) -> None:
        """The refunds of one payment never add up to more than the payment."""
        payment = await world.paid("30.00", "EUR")
        one, two, three = (
            refund_of(world, payment, amount, key=f"rf-1/pay-1/{number}")
            for number, amount in enumerate(["10.00", "20.00", "0.01"], start=1)
        )
        first, second = await world.provider.refund(one), await world.provider.refund(two)
        assert first.provider_id != second.provider_id
        with pytest.raises(RefundRefused):
            await world.provider.refund(three)

    async def test_an_unknown_payment_is_refused(self, world: ProviderWorld) -> None:
        with pytest.raises(RefundRefused):
            await world.provider.refund(refund_of(world, "pay-unknown", "1.00"))

    async def test_a_settled_refund_has_succeeded(self, world: ProviderWorld) -> None:
        """REF-2: the state is the provider's word, the same whoever asks."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "10.00")
        made = await world.provider.refund(request)
        later = request.model_copy(update={"at": await world.settle(made.provider_id)})
        told = await world.provider.look_up(later, made.provider_id)
        assert told.provider_id == made.provider_id
        assert told.state is PartState.SUCCEEDED
        assert told.failure is None
        assert await world.provider.find_refund(later) == told
        assert await world.provider.refund(later) == told

    async def test_ten_requests_at_once_make_one_refund(self, world: ProviderWorld) -> None:
        """REF-5: a second one would leave nothing for what is refunded afterwards."""
        payment = await world.paid("30.00", "EUR")
        request = refund_of(world, payment, "10.00")
        made = await asyncio.gather(*(world.provider.refund(request) for _ in range(10)))
        assert len({refund.provider_id for refund in made}) == 1
        await world.provider.refund(refund_of(world, payment, "20.00", key="rf-2/pay-1/1"))
