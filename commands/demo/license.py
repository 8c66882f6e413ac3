"""Licenses that are ordered and assigned (ADD, ASG)."""

from rich.console import RenderableType

from commands.demo.step import DemoStack, Step, StepFailed, expect
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
    """Orders with their charges, and assignments when there are too few licenses."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._orders = demo.clients.orders
        self._pools: list[LicensePool] = []
        self.steps = (
            Step("Lena buys two Large Meeting licenses; they are charged at once", self._buy),
            Step("In the account portal, nothing is charged before she confirms", self._review),
            Step("Karin's card is declined twice; the third charge succeeds", self._decline),
            Step("Four editors, two licenses: two editors wait", self._assign),
            Step("Lena buys two more; the waiting editors get them", self._serve),
            Step("Lou gets a webinar license as well", self._give_webinar, self._picture),
        )

    def _picture(self) -> RenderableType | None:
        return of_pools(self._pools) if self._pools else None

    async def _buy(self) -> None:
        order = await self._orders.buy(
            PRESS, Sku.LARGE_MEETING, capacity=CAPACITY, quantity=2, cycle="monthly", by=LENA
        )
        expect(order.state is OrderState.ACTIVE, f"the order is {order.state}")
        pool = await self._demo.pool(PRESS, Sku.LARGE_MEETING, CAPACITY)
        expect((pool.bought, pool.free) == (2, 2), f"the licenses are {pool}")
        lines = [line.id for line in (await self._demo.account(PRESS)).subscriptions]
        expect(lines == ["sub-1", order.order_id], f"the subscriptions are {lines}")
        await self._demo.mailed("order_confirmed", LENA)

    async def _review(self) -> None:
        before = await self._demo.pool(PRESS, Sku.WORKPLACE)
        order = await self._orders.buy(
            PRESS, Sku.WORKPLACE, quantity=1, cycle="monthly", by=LENA, portal="account"
        )
        expect(order.state is OrderState.REVIEW, f"the order is {order.state}")
        expect(not order.invoices, "it was charged before she confirmed")
        await self._demo.mailed("order_review", LENA)
        confirmed = await self._orders.confirm(order.order_id)
        expect(confirmed.state is OrderState.ACTIVE, f"the order is {confirmed.state}")
        after = await self._demo.pool(PRESS, Sku.WORKPLACE)
        expect(after.bought == before.bought + 1, "the license is missing")

    async def _decline(self) -> None:
        order = await self._orders.buy(
            CHOIR, Sku.LARGE_MEETING, capacity=1000, quantity=1, cycle="monthly", by=KARIN
        )
        expect(order.state is OrderState.PAYMENT_FAILED, f"the order is {order.state}")
        await self._demo.mailed("order_payment_failed", KARIN)
        await self._wait_for_retry(order.order_id)
        again = await self._demo.order(order.order_id, lambda read: read.tries != order.tries)
        expect(
            again.state is OrderState.PAYMENT_FAILED,
            f"after the second charge the order is {again.state}",
        )
        await self._wait_for_retry(order.order_id)
        paid = await self._demo.order(order.order_id, lambda read: read.tries != again.tries)
        expect(paid.state is OrderState.ACTIVE, f"after the third charge the order is {paid.state}")
        invoices = [invoice.state for invoice in paid.invoices]
        expect(invoices == ["paid"], f"the invoices are {invoices}")
        pool = await self._demo.pool(CHOIR, Sku.LARGE_MEETING, 1000)
        expect(pool.bought == 1, f"there are {pool.bought} licenses")
        await self._demo.mailed("order_confirmed", KARIN)

    async def _wait_for_retry(self, order_id: str) -> None:
        """Move the clock to the retry of the declined charge."""
        order = await self._orders.show(order_id)
        at = order.next_try_at()
        if at is None:
            raise StepFailed("no retry is scheduled")
        await self._demo.clock.go_to(order.workflow_id, at)

    async def _assign(self) -> None:
        results = await self._demo.clients.assignments.assign(
            PRESS, Sku.LARGE_MEETING, EDITORS, LENA
        )
        states = [result.state for result in results]
        expected = [AssignmentState.ASSIGNED] * 2 + [AssignmentState.WAITING] * 2
        expect(states == expected, f"the results are {states}")
        capacities = await self._capacities()
        expect(
            capacities == [CAPACITY] * 2 + [CAPACITY_WITHOUT_ADDON] * 2,
            f"meetings have {capacities}",
        )

    async def _serve(self) -> None:
        await self._orders.buy(
            PRESS, Sku.LARGE_MEETING, capacity=CAPACITY, quantity=2, cycle="monthly", by=LENA
        )
        pool = await self._demo.pool_without_waiters(PRESS, Sku.LARGE_MEETING, CAPACITY)
        expect(pool.holders == EDITORS, f"the holders are {pool.holders}")
        capacities = await self._capacities()
        expect(capacities == [CAPACITY] * 4, f"meetings have {capacities}")
        for editor in EDITORS:
            await self._demo.mailed("license_assigned", editor)
        await self._demo.mailed("license_served", LENA)

    async def _give_webinar(self) -> None:
        await self._orders.buy(
            PRESS, Sku.WEBINAR, capacity=CAPACITY, quantity=1, cycle="monthly", by=LENA
        )
        lou = EDITORS[-1]
        [result] = await self._demo.clients.assignments.assign(PRESS, Sku.WEBINAR, [lou], LENA)
        expect(result.state is AssignmentState.ASSIGNED, f"the result is {result.state}")
        self._pools = await self._demo.clients.assignments.licenses(PRESS)
        held = [pool.sku for pool in self._pools if lou in pool.holders and pool.capacity]
        expect(held == [Sku.LARGE_MEETING, Sku.WEBINAR], f"Lou holds {held}")

    async def _capacities(self) -> list[int]:
        """Return the capacity of each meeting of the editors."""
        press = await self._demo.account(PRESS)
        users = [user for user in press.users if user.email in EDITORS]
        return [
            meeting.capacity or CAPACITY_WITHOUT_ADDON
            for user in users
            for meeting in user.meetings
        ]
