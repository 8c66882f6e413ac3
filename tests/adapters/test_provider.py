"""The built-in payment provider: the contract of all providers, and its own faults."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest

from activities.billing import ChargeRequest, RefundRefused, RefundRequest
from adapters.provider import LedgerProvider
from adapters.sql.store import SqlStore
from domain.charge import EXAMPLE_CARD, ChargeState
from domain.error import ErrorCode, Refused
from domain.money import Money
from domain.refund import PartState
from tests.adapters.provider_contract import ProviderContract, charge_of, refund_of
from tests.builders.account import account, directory, user
from tests.builders.refund import LINE

FRIDAY = datetime(2026, 11, 20, 15, tzinfo=UTC)
"""In New York 10:00; the Thursday after it is Thanksgiving."""


def november(day: int, hour: int = 15) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=UTC)


@dataclass
class LedgerWorld:
    """An American account whose payments come from an import."""

    store: SqlStore
    provider: LedgerProvider
    account: str = "payer"
    billing_customer: str | None = None
    now: datetime = FRIDAY
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def paid(
        self, amount: str, currency: str = "EUR", *, refundable: bool = True, method: str = "card"
    ) -> str:
        name = f"pay-{next(self.numbers)}"
        payment = {"id": name, "method": method, "amount": amount, "refundable": refundable}
        await self.imported(
            currency=currency,
            payment_methods=[{"id": "other-card", "kind": "card"}],
            subscriptions=[{**LINE, "id": name, "payments": [payment]}],
        )
        return name

    async def method(self, declines: int = 0) -> str:
        name = f"card-{next(self.numbers)}"
        await self.imported(
            payment_methods=[{"id": name, "kind": "card", "declines": declines}],
        )
        return name

    async def charge_and_lose_response(self, request: ChargeRequest) -> None:
        faulty = LedgerProvider(self.store.engine, 0, frozenset({"timeout-after"}))
        with pytest.raises(TimeoutError):
            await faulty.charge(request)

    async def book(self, payment: str, amount: str) -> None:
        paid = {"id": payment, "method": "card", "amount": amount}
        await self.imported(subscriptions=[{**LINE, "id": "order-1", "payments": [paid]}])

    async def imported(self, **more: object) -> None:
        await self.store.directory.import_(
            directory(
                account(
                    self.account,
                    user("payer@payer.example", "owner"),
                    plan="pro",
                    country="US",
                    time_zone="America/New_York",
                    **{"currency": "EUR", **more},
                )
            )
        )

    async def settle(self, provider_id: str) -> datetime:
        return self.now + timedelta(days=14)

    async def states(self, request: RefundRequest, *moments: datetime) -> list[PartState]:
        """Return the state of the refund at these times."""
        made = await self.provider.find_refund(request)
        assert made
        return [
            (
                await self.provider.look_up(
                    request.model_copy(update={"at": moment}), made.provider_id
                )
            ).state
            for moment in moments
        ]


Make = Callable[..., LedgerWorld]


@pytest.fixture
def make(store: SqlStore) -> Make:
    def world(*faults: str, settles_after: int = 4) -> LedgerWorld:
        provider = LedgerProvider(store.engine, settles_after, frozenset(faults))
        return LedgerWorld(store, provider)

    return world


@pytest.fixture
def world(make: Make) -> LedgerWorld:
    return make()


class TestLedgerProvider(ProviderContract):
    """The contract of every provider, kept by the built-in one."""


async def test_the_example_card_works_if_no_method_is_listed(world: LedgerWorld) -> None:
    """ADD-4: an account without payment methods can buy."""
    await world.imported()
    request = await charge_of(world, "50.00", method=EXAMPLE_CARD)
    assert (await world.provider.charge(request)).state is ChargeState.SUCCEEDED


async def test_the_example_card_is_unknown_if_other_methods_are_listed(world: LedgerWorld) -> None:
    """ADD-4: only listed methods are charged."""
    await world.method()
    response = await world.provider.charge(await charge_of(world, "50.00", method=EXAMPLE_CARD))
    assert response.failure == "unknown_payment_method"


async def test_a_decline_is_counted_in_the_directory(world: LedgerWorld) -> None:
    """ADD-4: an export has the remaining declines."""
    request = await charge_of(world, "50.00", declines=3)
    await world.provider.charge(request)
    [exported] = (await world.store.directory.export(world.account)).accounts
    assert {method.id: method.declines for method in exported.payment_methods} == {
        request.method: 2
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount": Money(amount=Decimal(1), currency="USD")}, "currency_mismatch"),
        ({"amount": Money(amount=Decimal(0), currency="EUR")}, "amount_too_small"),
        ({"method": "stranger"}, "unknown_payment_method"),
    ],
)
async def test_an_invalid_charge_is_declined_without_being_counted(
    world: LedgerWorld, change: dict[str, object], reason: str
) -> None:
    """ADD-4: wrong currency, no amount, or an unknown method."""
    request = await charge_of(world, "50.00", declines=1)
    wrong = request.model_copy(update={"key": "wrong", **change})
    response = await world.provider.charge(wrong)
    assert (response.state, response.failure) == (ChargeState.DECLINED, reason)
    assert await world.provider.find_charge(wrong) == response
    assert (await world.provider.charge(request)).failure == "card_declined"


async def test_an_unknown_account_is_not_charged(world: LedgerWorld) -> None:
    """Contract, error codes: `not_found`."""
    with pytest.raises(Refused) as refused:
        await world.provider.charge(await charge_of(world, "50.00", method=EXAMPLE_CARD))
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_a_refund_settles_on_a_business_day_of_the_source_account(world: LedgerWorld) -> None:
    """REF-1: the fourth after Friday the 20th is Friday the 27th."""
    request = refund_of(world, await world.paid("30.00"), "30.00")
    await world.provider.refund(request)
    states = await world.states(request, november(26), november(27))
    assert states == [PartState.PENDING, PartState.SUCCEEDED]


async def test_a_refund_can_settle_at_once(make: Make) -> None:
    """REF-2: with settlement after 0 business days."""
    world = make(settles_after=0)
    request = refund_of(world, await world.paid("30.00"), "30.00")
    assert (await world.provider.refund(request)).state is PartState.SUCCEEDED


async def test_a_slow_refund_settles_after_it_was_due(make: Make) -> None:
    """REF-3: the fifth business day is Monday the 30th; this is Friday 4 December."""
    world = make("slow")
    request = refund_of(world, await world.paid("30.00"), "30.00")
    await world.provider.refund(request)
    december = datetime(2026, 12, 4, 15, tzinfo=UTC)
    states = await world.states(request, november(30), december - timedelta(days=1), december)
    assert states == [PartState.PENDING, PartState.PENDING, PartState.SUCCEEDED]


async def test_a_failing_refund_is_declined_days_later(make: Make) -> None:
    """REF-4: the money can be requested again to another method."""
    world = make("fail")
    payment = await world.paid("30.00")
    request = refund_of(world, payment, "30.00")
    made = await world.provider.refund(request)
    assert await world.states(request, november(23)) == [PartState.PENDING]
    late = request.model_copy(update={"at": november(24)})
    response = await world.provider.look_up(late, made.provider_id)
    assert (response.state, response.failure) == (PartState.FAILED, "declined")
    again = late.model_copy(update={"key": "rf-1/pay-1/2", "to_method": "other-card"})
    assert (await world.provider.refund(again)).state is PartState.PENDING


async def test_a_refund_to_a_closed_card_fails_at_once(world: LedgerWorld) -> None:
    """REF-4: another method of the account works."""
    payment = await world.paid("30.00", refundable=False)
    request = refund_of(world, payment, "30.00")
    made = await world.provider.refund(request)
    assert (made.state, made.failure) == (PartState.FAILED, "expired_or_canceled_card")
    again = request.model_copy(update={"key": "rf-1/pay-1/2", "to_method": "other-card"})
    assert (await world.provider.refund(again)).state is PartState.PENDING
    third = again.model_copy(update={"key": "rf-1/pay-1/3"})
    with pytest.raises(RefundRefused, match="more_than_was_paid"):
        await world.provider.refund(third)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"to_method": "stranger"}, "unknown_payment_method"),
        ({"amount": Money(amount=Decimal(1), currency="USD")}, "currency_mismatch"),
        ({"amount": Money(amount=Decimal(0), currency="EUR")}, "amount_too_small"),
        ({"account": "nobody"}, "unknown_payment"),
    ],
)
async def test_an_invalid_refund_is_refused(
    world: LedgerWorld, change: dict[str, object], reason: str
) -> None:
    """REF-5: a permanent error with its reason."""
    request = refund_of(world, await world.paid("30.00"), "30.00")
    with pytest.raises(RefundRefused, match=reason):
        await world.provider.refund(request.model_copy(update=change))


async def test_a_payment_from_credit_is_not_refunded(world: LedgerWorld) -> None:
    """QUO-3: it becomes credit of the target account."""
    request = refund_of(world, await world.paid("30.00", method="credit"), "1.00")
    with pytest.raises(RefundRefused, match="unknown_payment"):
        await world.provider.refund(request)


async def test_a_refund_with_a_lost_response_was_made(make: Make) -> None:
    """REF-5: it is looked up before it is requested again; the next response arrives."""
    world = make("timeout-after")
    request = refund_of(world, await world.paid("30.00"), "30.00")
    with pytest.raises(TimeoutError):
        await world.provider.refund(request)
    found = await world.provider.find_refund(request)
    assert found
    assert await world.provider.refund(request) == found
