"""What every payment provider promises, whichever it is (REF-5).

A provider's tests derive from `ProviderContract` and give it a fixture `world`.
"""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest

from activities.billing import PaymentProvider, RefundRefused, RefundRequest
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
    def now(self) -> datetime:
        """When refunds are requested."""

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


class ProviderContract:
    """The promises of `PaymentProvider`."""

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
