"""The contract of every payment provider, as tests (ADD-4, REF-5).

A provider's tests derive from `ProviderContract` and provide the fixture `world`.
"""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest

from activities.billing import (
    ChargeRequest,
    LookupRefused,
    PaymentProvider,
    ProviderCharge,
    RefundRefused,
    RefundRequest,
)
from domain.charge import ChargeState
from domain.money import Money
from domain.refund import PartState


class ProviderWorld(Protocol):
    """A provider, an account with payments there, and the current time."""

    @property
    def provider(self) -> PaymentProvider:
        """Return the provider under test."""

    @property
    def account(self) -> str:
        """Return the id of the paying account."""

    @property
    def billing_customer(self) -> str | None:
        """Return the provider's id of that account, if it has one."""

    @property
    def now(self) -> datetime:
        """Return the time at which charges and refunds are requested."""

    async def method(self, declines: int = 0) -> str:
        """Add a payment method that declines its first charges; return its id."""

    async def charge_and_lose_response(self, request: ChargeRequest) -> None:
        """Charge, and lose the response."""

    async def book(self, payment: str, amount: str) -> None:
        """Record the charge as a payment of the account, as an import does."""

    async def paid(self, amount: str, currency: str) -> str:
        """Make a payment of the account; return the provider's id of it."""

    async def settle(self, provider_id: str) -> datetime:
        """Complete the refund; return the time at which it has succeeded."""


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
    """Return a charge of `method`, or of a new one that declines its first `declines` charges."""
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
    """Tests of the contract of `PaymentProvider`."""

    @pytest.mark.parametrize(
        ("amount", "currency"), [("50.00", "EUR"), ("0.01", "EUR"), ("5.124", "KWD"), ("1", "JPY")]
    )
    def test_the_chargeable_part_of_an_amount_is_chargeable_in_full(
        self, world: ProviderWorld, amount: str, currency: str
    ) -> None:
        """ADD-4: it is at most the amount, in its currency, and does not shrink again."""
        whole = Money(amount=Decimal(amount), currency=currency)
        part = world.provider.chargeable(whole)
        assert part.currency == currency
        assert 0 <= part.amount <= whole.amount
        assert world.provider.chargeable(part) == part

    async def test_the_chargeable_part_is_charged(self, world: ProviderWorld) -> None:
        """ADD-4: the smallest amount that is chargeable is no decline."""
        cents = (Money(amount=Decimal(number) / 100, currency="EUR") for number in range(1, 101))
        smallest = next(each for each in cents if world.provider.chargeable(each).amount)
        request = await charge_of(world, f"{smallest.amount:f}")
        assert (await world.provider.charge(request)).state is ChargeState.SUCCEEDED

    async def test_a_charge_succeeds_and_has_an_id(self, world: ProviderWorld) -> None:
        """ADD-4: a succeeded charge has the provider's id, its amount and no failure."""
        made = await world.provider.charge(await charge_of(world, "50.00"))
        assert made.provider_id
        assert made == ProviderCharge(
            provider_id=made.provider_id,
            state=ChargeState.SUCCEEDED,
            amount=Money(amount=Decimal("50.00"), currency="EUR"),
            failure=None,
        )

    async def test_the_same_key_charges_once(self, world: ProviderWorld) -> None:
        """ADD-4: a repeated key returns the first charge, also at a later time."""
        request = await charge_of(world, "50.00")
        made = await world.provider.charge(request)
        later = request.model_copy(update={"at": world.now + timedelta(minutes=5)})
        assert await world.provider.charge(later) == made

    async def test_another_key_charges_again(self, world: ProviderWorld) -> None:
        """ADD-4: the key, not the amount or the method, identifies a charge."""
        one = await charge_of(world, "50.00")
        other = one.model_copy(update={"key": f"{one.key}/2"})
        first, second = await world.provider.charge(one), await world.provider.charge(other)
        assert first.provider_id != second.provider_id
        assert second.state is ChargeState.SUCCEEDED

    async def test_a_method_declines_its_first_charges_and_then_succeeds(
        self, world: ProviderWorld
    ) -> None:
        """ADD-4: a decline is a result and counts once for each key."""
        first = await charge_of(world, "50.00", declines=2)
        results = []
        for attempt in range(3):
            request = first.model_copy(update={"key": f"{first.key}/{attempt}"})
            results.append(await world.provider.charge(request))
            assert await world.provider.charge(request) == results[-1]
            assert await world.provider.find_charge(request) == results[-1]
        assert [(result.state, result.failure) for result in results] == [
            (ChargeState.DECLINED, "card_declined"),
            (ChargeState.DECLINED, "card_declined"),
            (ChargeState.SUCCEEDED, None),
        ]

    @pytest.mark.parametrize(
        ("declines", "state"), [(0, ChargeState.SUCCEEDED), (1, ChargeState.DECLINED)]
    )
    async def test_a_charge_whose_response_was_lost_is_found_by_its_key(
        self, world: ProviderWorld, declines: int, state: ChargeState
    ) -> None:
        """ADD-4: the charge was made or declined although its response was lost."""
        request = await charge_of(world, "50.00", declines=declines)
        assert await world.provider.find_charge(request) is None
        await world.charge_and_lose_response(request)
        found = await world.provider.find_charge(request)
        assert found is not None
        assert found.state is state
        assert await world.provider.charge(request) == found
        other = request.model_copy(update={"key": f"{request.key}/2"})
        assert await world.provider.find_charge(other) is None

    async def test_ten_concurrent_requests_make_one_charge(self, world: ProviderWorld) -> None:
        """ADD-4: concurrent requests with one key charge once."""
        request = await charge_of(world, "50.00")
        made = await asyncio.gather(*(world.provider.charge(request) for _ in range(10)))
        assert len({charge.provider_id for charge in made}) == 1

    async def test_ten_concurrent_requests_count_one_decline(self, world: ProviderWorld) -> None:
        """ADD-4: concurrent requests with one key count as one decline."""
        request = await charge_of(world, "50.00", declines=1)
        results = await asyncio.gather(*(world.provider.charge(request) for _ in range(10)))
        assert {result.state for result in results} == {ChargeState.DECLINED}
        other = request.model_copy(update={"key": f"{request.key}/2"})
        assert (await world.provider.charge(other)).state is ChargeState.SUCCEEDED

    @pytest.mark.parametrize("amount", ["0.00", "-1.00"])
    async def test_an_amount_that_is_not_positive_is_declined(
        self, world: ProviderWorld, amount: str
    ) -> None:
        """ADD-4: only positive amounts are charged."""
        request = await charge_of(world, amount)
        assert (await world.provider.charge(request)).state is ChargeState.DECLINED

    async def test_an_unknown_method_is_declined(self, world: ProviderWorld) -> None:
        """ADD-4: an error instead would be retried forever."""
        await world.method()
        request = await charge_of(world, "50.00", method="pm_unknown")
        charge = await world.provider.charge(request)
        assert charge.state is ChargeState.DECLINED
        assert charge.failure

    async def test_a_charge_can_be_refunded(self, world: ProviderWorld) -> None:
        """ADD-5, QUO-3: a recorded charge can be refunded up to its amount, as any payment."""
        charged = await world.provider.charge(await charge_of(world, "50.00"))
        assert charged.provider_id
        await world.book(charged.provider_id, "50.00")
        made = await world.provider.refund(refund_of(world, charged.provider_id, "50.00"))
        assert made.failure is None
        with pytest.raises(RefundRefused):
            await world.provider.refund(
                refund_of(world, charged.provider_id, "0.01", key="rf-2/pay-1/1")
            )

    async def test_a_refund_is_accepted_and_has_an_id(self, world: ProviderWorld) -> None:
        """REF-2: an accepted refund is pending or succeeded and can be looked up by its id."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "10.00")
        made = await world.provider.refund(request)
        assert made.provider_id
        assert made.state in {PartState.PENDING, PartState.SUCCEEDED}
        assert made.failure is None
        assert (await world.provider.look_up(request, made.provider_id)) == made

    async def test_the_same_key_returns_the_first_refund(self, world: ProviderWorld) -> None:
        """REF-5: also at a later time, when nothing of the payment is left to refund."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "30.00")
        first = await world.provider.refund(request)
        later = request.model_copy(update={"at": world.now + timedelta(minutes=5)})
        again = await world.provider.refund(later)
        assert again.provider_id == first.provider_id

    async def test_a_refund_whose_response_was_lost_is_found_by_its_key(
        self, world: ProviderWorld
    ) -> None:
        """REF-5: the refund is searched for before it is requested again."""
        payment = await world.paid("30.00", "EUR")
        request = refund_of(world, payment, "10.00")
        assert await world.provider.find_refund(request) is None
        made = await world.provider.refund(request)
        assert await world.provider.find_refund(request) == made
        other = refund_of(world, payment, "10.00", key="rf-2/pay-1/1")
        assert await world.provider.find_refund(other) is None

    async def test_more_than_was_paid_is_refused(self, world: ProviderWorld) -> None:
        """QUO-3: no refund exceeds its payment."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "30.01")
        with pytest.raises(RefundRefused):
            await world.provider.refund(request)
        assert await world.provider.find_refund(request) is None

    async def test_partial_refunds_never_exceed_the_payment(self, world: ProviderWorld) -> None:
        """QUO-3: the refunds of one payment together do not exceed it."""
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
        """REF-5: it is refused as permanent, not retried."""
        with pytest.raises(RefundRefused):
            await world.provider.refund(refund_of(world, "pay-unknown", "1.00"))

    async def test_an_unknown_refund_has_no_status(self, world: ProviderWorld) -> None:
        """REF-2, OPS-3: a look-up never guesses, and a person sees the answer."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "30.00")
        with pytest.raises(LookupRefused, match="unknown_refund"):
            await world.provider.look_up(request, "re_nothing")

    async def test_a_settled_refund_has_succeeded(self, world: ProviderWorld) -> None:
        """REF-2: all three methods return the provider's state."""
        request = refund_of(world, await world.paid("30.00", "EUR"), "10.00")
        made = await world.provider.refund(request)
        later = request.model_copy(update={"at": await world.settle(made.provider_id)})
        found = await world.provider.look_up(later, made.provider_id)
        assert found.provider_id == made.provider_id
        assert found.state is PartState.SUCCEEDED
        assert found.failure is None
        assert await world.provider.find_refund(later) == found
        assert await world.provider.refund(later) == found

    async def test_ten_concurrent_requests_make_one_refund(self, world: ProviderWorld) -> None:
        """REF-5: a second refund would leave too little for the later one."""
        payment = await world.paid("30.00", "EUR")
        request = refund_of(world, payment, "10.00")
        made = await asyncio.gather(*(world.provider.refund(request) for _ in range(10)))
        assert len({refund.provider_id for refund in made}) == 1
        await world.provider.refund(refund_of(world, payment, "20.00", key="rf-2/pay-1/1"))
