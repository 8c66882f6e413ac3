"""Builders of orders, and the steps of a purchase as its workflow takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.testing import ActivityEnvironment

from activities.billing import PaymentProvider
from activities.order import AmendOrder, ChargeOrder, OrderActivities, OrderCharged, Reduction
from adapters.provider import LedgerProvider
from domain.assignment import AssignLicenses
from domain.journal import ENGINE, OPERATOR
from domain.letter.order import LicenseEndedLetter
from domain.license import Sku
from domain.order import BuyLicenses, Order
from states.lifecycle import after
from states.order import OrderMachine
from tests.builders.account import NOON, account, directory, user
from tests.builders.invitation import StoreScenario

DAY = timedelta(days=1)
BUYER = "bo@firm.example"
STAFF = ("ann@firm.example", "ben@firm.example", "cat@firm.example")


def an_order(**more: Any) -> BuyLicenses:
    """Build an order of two Large Meeting licenses by the firm's owner."""
    return BuyLicenses(
        **{
            "order_id": f"o-{uuid4().hex}",
            "account": "firm",
            "sku": Sku.LARGE_MEETING,
            "capacity": 500,
            "quantity": 2,
            "cycle": "monthly",
            "bought_by": BUYER,
            **more,
        }
    )


@dataclass
class OrderScenario:
    """A store, the built-in provider, and the steps of a purchase."""

    scenario: StoreScenario
    faults: frozenset[str] = frozenset()
    provider: PaymentProvider | None = None
    """The payment provider; None: the built-in one with `faults`."""

    async def import_account(self, **more: object) -> None:
        """Import the firm: cycles begin on the 1st, four base licenses are assigned."""
        users = [user(email, licensed=True) for email in STAFF]
        boss = user(BUYER, "owner", licensed=True)
        firm = account("firm", boss, *users, plan="business", billing_day=1)
        await self.scenario.store.directory.import_(directory({**firm, **more}))

    @property
    def activities(self) -> OrderActivities:
        provider = self.provider or LedgerProvider(self.scenario.engine, 4, self.faults)
        return OrderActivities(self.scenario.store.orders, provider)

    async def place(self, order: BuyLicenses | None = None, at: datetime = NOON) -> Order:
        opened = await self.scenario.store.orders.open(order or an_order(), at)
        return await self.apply_events(opened, "place", at=at)

    async def charge(self, order: Order, at: datetime, attempt: int = 1) -> OrderCharged:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, attempt=attempt)
        result: OrderCharged = await environment.run(
            self.activities.charge_order, ChargeOrder(order=order, at=at)
        )
        return result

    async def pay(self, order: Order, at: datetime = NOON) -> Order:
        """Charge the order and apply the payment."""
        charged = await self.charge(order, at)
        assert charged.paid, charged.failure
        events = ["renew"] if order.was_paid else ["pay", "activate"]
        return await self.apply_events(charged.order, *events, at=at)

    async def decline(self, order: Order, at: datetime = NOON) -> Order:
        """Charge the order and apply the decline."""
        charged = await self.charge(order, at)
        assert not charged.paid
        return await self.apply_events(charged.order, "decline", at=at)

    async def buy(self, order: BuyLicenses | None = None, at: datetime = NOON) -> Order:
        return await self.pay(await self.place(order, at), at)

    async def apply_events(self, order: Order, *events: str, at: datetime = NOON) -> Order:
        for event in events:
            by = OPERATOR if event in OrderMachine.updates else ENGINE
            order = after(OrderMachine, order, event, at=at, by=by)
        return await self.scenario.store.orders.keep(order)

    async def plan_reduction(
        self, order: Order, quantity: int, release: Sequence[str] = (), *, everybody: bool = False
    ) -> Order:
        """Plan a smaller quantity, or with 0 a cancellation, for the end of the term."""
        request = AmendOrder(
            order=order,
            event="change_quantity" if quantity else "cancel",
            at=NOON,
            by=OPERATOR,
            note=None,
            reduction=Reduction(
                quantity=quantity, release=tuple(release), release_all_holders=everybody
            ),
        )
        return await self.scenario.store.orders.amended(request)

    async def released(self) -> list[str]:
        """Return the users who are notified that their license ended with an order."""
        return [
            letter.reader.email
            for letter in await self.scenario.queued_letters()
            if isinstance(letter, LicenseEndedLetter)
        ]

    async def assign(self, *emails: str) -> None:
        """Assign free Large Meeting 500 licenses to these users."""
        request = AssignLicenses(
            request_id=uuid4().hex, account="firm", sku=Sku.LARGE_MEETING, emails=emails, by=BUYER
        )
        await self.scenario.store.assignments.assign(request, NOON)

    async def holders(self) -> list[str]:
        """Return the users with a Large Meeting 500 license."""
        pools = await self.scenario.store.assignments.licenses("firm")
        return [email for pool in pools if pool.capacity == 500 for email in pool.holders]

    async def pool_counts(
        self, account: str = "firm", capacity: int | None = 500
    ) -> tuple[int, int]:
        """Return the numbers of bought and assigned licenses."""
        found = await self.scenario.store.assignments.licenses(account)
        return next(
            ((pool.bought, pool.assigned) for pool in found if pool.capacity == capacity), (0, 0)
        )
