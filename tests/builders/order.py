"""What an account buys, step by step as its workflow does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from temporalio.testing import ActivityEnvironment

from activities.letter import StillDue
from activities.order import ChargeOrder, OrderActivities, OrderCharged
from adapters.provider import LedgerProvider
from domain.assignment import AssignLicenses
from domain.journal import ENGINE, OPERATOR
from domain.letter import Letter
from domain.license import Sku
from domain.money import Money
from domain.order import BuyLicenses, Order
from states.lifecycle import after
from states.order import OrderMachine
from tests.builders.invitation import NOON, Town, account, directory, user

DAY = timedelta(days=1)
BOSS = "bo@firm.example"
STAFF = ("ann@firm.example", "ben@firm.example", "cat@firm.example")


class _NoPost:
    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        raise AssertionError("nobody is told here")


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def an_order(**more: Any) -> BuyLicenses:
    """Two licenses for large meetings, by the firm's owner."""
    return BuyLicenses(
        **{
            "order_id": f"o-{uuid4().hex}",
            "account": "firm",
            "sku": Sku.LARGE_MEETING,
            "capacity": 500,
            "quantity": 2,
            "cycle": "monthly",
            "bought_by": BOSS,
            **more,
        }
    )


@dataclass
class Shop:
    """The store and the built-in provider, and the steps of a purchase."""

    town: Town
    faults: frozenset[str] = frozenset()

    async def open(self, **more: object) -> None:
        """The firm, whose cycles begin on the 1st: four base licenses, all assigned."""
        users = [user(email, licensed=True) for email in STAFF]
        boss = user(BOSS, "owner", licensed=True)
        firm = account("firm", boss, *users, plan="business", billing_day=1)
        await self.town.store.directory.import_(directory({**firm, **more}))

    @property
    def activities(self) -> OrderActivities:
        provider = LedgerProvider(self.town.engine, 4, self.faults)
        return OrderActivities(self.town.store.orders, provider, _NoPost())

    async def placed(self, order: BuyLicenses | None = None, at: datetime = NOON) -> Order:
        opened = await self.town.store.orders.open(order or an_order(), at)
        return await self.moved(opened, "place", at=at)

    async def charged(self, order: Order, at: datetime, attempt: int = 1) -> OrderCharged:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, attempt=attempt)
        result: OrderCharged = await environment.run(
            self.activities.charge_order, ChargeOrder(order=order, at=at)
        )
        return result

    async def paid(self, order: Order, at: datetime = NOON) -> Order:
        """The order after a payment that succeeds."""
        charged = await self.charged(order, at)
        assert charged.paid, charged.failure
        events = ["renew"] if order.was_paid else ["pay", "activate"]
        return await self.moved(charged.order, *events, at=at)

    async def declined(self, order: Order, at: datetime = NOON) -> Order:
        """The order after a payment that is declined."""
        charged = await self.charged(order, at)
        assert not charged.paid
        return await self.moved(charged.order, "decline", at=at)

    async def bought(self, order: BuyLicenses | None = None, at: datetime = NOON) -> Order:
        return await self.paid(await self.placed(order, at), at)

    async def moved(self, order: Order, *events: str, at: datetime = NOON) -> Order:
        for event in events:
            by = OPERATOR if event in OrderMachine.updates else ENGINE
            order = after(OrderMachine, order, event, at=at, by=by)
        return await self.town.store.orders.keep(order)

    async def planned(
        self, order: Order, quantity: int, release: Sequence[str] = (), *, everybody: bool = False
    ) -> Order:
        """The order that is reduced, or cancelled, from the end of its term on."""
        planned = await self.town.store.orders.planned(order, quantity, tuple(release), everybody)
        return await self.moved(planned, "change_quantity" if quantity else "cancel")

    async def assigned(self, *emails: str) -> None:
        """They have licenses for 500 now, if there are any."""
        request = AssignLicenses(
            request_id=uuid4().hex, account="firm", sku=Sku.LARGE_MEETING, emails=emails, by=BOSS
        )
        await self.town.store.assignments.assign(request, NOON)

    async def holders(self) -> list[str]:
        """Who has one now."""
        pools = await self.town.store.assignments.licenses("firm")
        return [email for pool in pools if pool.capacity == 500 for email in pool.holders]

    async def pool(self, account: str = "firm", capacity: int | None = 500) -> tuple[int, int]:
        """How many licenses were bought, and how many are assigned."""
        found = await self.town.store.assignments.licenses(account)
        return next(
            ((pool.bought, pool.assigned) for pool in found if pool.capacity == capacity), (0, 0)
        )
