"""Licenses that are bought and assigned (ADD, ASG)."""

from rich.console import RenderableType

from commands.demo.stage import Stage, Step, WentWrong, expect
from commands.license import of_pools
from domain.assignment import AssignmentState
from domain.license import CAPACITY_WITHOUT_ADDON, LicensePool, Sku
from domain.order import OrderState

PRESS = "press"
LENA = "lena@press.example"
EDITORS = tuple(f"{name}@press.example" for name in ("leo", "lia", "lars", "lou"))
CAPACITY = 500

CHOIR = "choir"
KARIN = "karin@choir.example"


class Licenses:
    """What is charged and when, and who has a license when there are too few."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._orders = stage.orders
        self._pools: list[LicensePool] = []
        self.steps = (
            Step("Lena buys two Large Meeting licenses: charged, and hers, at once", self._bought),
            Step("In the other portal nothing is charged before she confirms", self._reviewed),
            Step("Karin's card declines twice; on the third day it pays", self._declined),
            Step("Four editors, two licenses: two of them wait", self._too_few),
            Step("Lena buys two more; nobody has to ask again", self._served, self._shown),
        )

    def _shown(self) -> RenderableType | None:
        return of_pools(self._pools) if self._pools else None

    async def _bought(self) -> None:
        order = await self._orders.buy(
            PRESS, Sku.LARGE_MEETING, capacity=CAPACITY, quantity=2, cycle="monthly", by=LENA
        )
        expect(order.state is OrderState.ACTIVE, f"the order is {order.state}")
        pool = await self._stage.pool(PRESS, Sku.LARGE_MEETING, CAPACITY)
        expect((pool.bought, pool.free) == (2, 2), f"the licenses are {pool}")
        lines = [line.id for line in (await self._stage.account(PRESS)).subscriptions]
        expect(lines == ["sub-1", order.order_id], f"the subscriptions are {lines}")
        await self._stage.mailed("order_confirmed", LENA)

    async def _reviewed(self) -> None:
        before = await self._stage.pool(PRESS, Sku.WORKPLACE)
        order = await self._orders.buy(
            PRESS, Sku.WORKPLACE, quantity=1, cycle="monthly", by=LENA, portal="account"
        )
        expect(order.state is OrderState.REVIEW, f"the order is {order.state}")
        expect(not order.invoices, "something is charged already")
        await self._stage.mailed("order_review", LENA)
        confirmed = await self._orders.confirm(order.order_id)
        expect(confirmed.state is OrderState.ACTIVE, f"the order is {confirmed.state}")
        after = await self._stage.pool(PRESS, Sku.WORKPLACE)
        expect(after.bought == before.bought + 1, "the license is missing")

    async def _declined(self) -> None:
        order = await self._orders.buy(
            CHOIR, Sku.LARGE_MEETING, capacity=1000, quantity=1, cycle="monthly", by=KARIN
        )
        expect(order.state is OrderState.PAYMENT_FAILED, f"the order is {order.state}")
        await self._stage.mailed("order_payment_failed", KARIN)
        await self._try_again(order.order_id)
        again = await self._stage.order(order.order_id, lambda now: now.tries != order.tries)
        expect(again.state is OrderState.PAYMENT_FAILED, f"the second try made it {again.state}")
        await self._try_again(order.order_id)
        paid = await self._stage.order(order.order_id, lambda now: now.tries != again.tries)
        expect(paid.state is OrderState.ACTIVE, f"the third try made it {paid.state}")
        invoices = [invoice.state for invoice in paid.invoices]
        expect(invoices == ["paid"], f"the invoices are {invoices}")
        pool = await self._stage.pool(CHOIR, Sku.LARGE_MEETING, 1000)
        expect(pool.bought == 1, f"there are {pool.bought} licenses")
        await self._stage.mailed("order_confirmed", KARIN)

    async def _try_again(self, order_id: str) -> None:
        """Let time pass until the declined payment is tried again."""
        order = await self._orders.show(order_id)
        at = order.next_try_at()
        if at is None:
            raise WentWrong("it is never tried again")
        await self._stage.clock.go_to(order.workflow_id, at)

    async def _too_few(self) -> None:
        results = await self._stage.licenses.assign(PRESS, Sku.LARGE_MEETING, EDITORS, LENA)
        states = [result.state for result in results]
        wanted = [AssignmentState.ASSIGNED] * 2 + [AssignmentState.WAITING] * 2
        expect(states == wanted, f"the results are {states}")
        capacities = await self._capacities()
        expect(
            capacities == [CAPACITY] * 2 + [CAPACITY_WITHOUT_ADDON] * 2,
            f"meetings have {capacities}",
        )

    async def _served(self) -> None:
        await self._orders.buy(
            PRESS, Sku.LARGE_MEETING, capacity=CAPACITY, quantity=2, cycle="monthly", by=LENA
        )
        pool = await self._stage.served(PRESS, Sku.LARGE_MEETING, CAPACITY)
        expect(pool.holders == EDITORS, f"the holders are {pool.holders}")
        capacities = await self._capacities()
        expect(capacities == [CAPACITY] * 4, f"meetings have {capacities}")
        for editor in EDITORS:
            await self._stage.mailed("license_assigned", editor)
        await self._stage.mailed("license_served", LENA)
        self._pools = await self._stage.licenses.licenses(PRESS)

    async def _capacities(self) -> list[int]:
        """How many participants the meeting of each editor may have."""
        press = await self._stage.account(PRESS)
        users = [user for user in press.users if user.email in EDITORS]
        return [
            meeting.capacity or CAPACITY_WITHOUT_ADDON
            for user in users
            for meeting in user.meetings
        ]
