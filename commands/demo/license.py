"""Licenses that are ordered and assigned (ADD, ASG)."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from rich.console import RenderableType

from commands.demo.step import DemoStack, Step, StepFailed, expect, shows
from commands.license import of_pools
from domain.license import CAPACITY_WITHOUT_ADDON, LicensePool, Sku
from domain.order import OrderState

PRESS = "press"
LENA = "lena@press.example"
EDITORS = tuple(f"{name}@press.example" for name in ("leo", "lia", "lars", "lou"))
CAPACITY = 500
POOL = f"{Sku.LARGE_MEETING}-{CAPACITY}"

CHOIR = "choir"
KARIN = "karin@choir.example"


class Licenses:
    """Orders with their charges, and assignments when there are too few licenses."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._orders = demo.clients.orders
        self._pools: list[LicensePool] = []
        self.steps = (
            Step(
                "Lena signs in and buys two Large Meeting licenses at the price she sees", self._buy
            ),
            Step(
                "In the account portal she edits the order; nothing is charged until she confirms",
                self._review,
            ),
            Step("Karin's card is declined twice; the third charge succeeds", self._decline),
            Step("She ticks four editors for the two licenses: two of them wait", self._assign),
            Step("She buys two more; the waiting editors get them", self._serve),
            Step("Lou gets a webinar license as well", self._give_webinar, self._picture),
        )

    def _picture(self) -> RenderableType | None:
        return of_pools(self._pools) if self._pools else None

    async def _buy(self) -> None:
        self._lena = await self._demo.sign_in(LENA, PRESS)
        order = await self._buy_at_once(Sku.LARGE_MEETING, quantity=2)
        pool = (await self._lena.open("/licenses")).element("data-pool", POOL)
        expect(pool["data-free"] == "2", f"{pool['data-free']} licenses are free")
        lines = [line.id for line in (await self._demo.account(PRESS)).subscriptions]
        expect(lines == ["sub-1", order], f"the subscriptions are {lines}")
        await self._demo.mailed("order_confirmed", LENA)

    async def _buy_at_once(self, sku: Sku, quantity: int) -> str:
        """Buy at the price that the page shows; return the id of the order."""
        price = await self._price(sku, str(CAPACITY), quantity, "plans")
        page = await self._lena.send("/buy")
        shows(page, "orders")
        [order_id] = page.all("data-ordered")
        order = await self._orders.show(order_id)
        expect(order.state is OrderState.ACTIVE, f"the order is {order.state}")
        charged = [f"{invoice.amount.amount:f}" for invoice in order.invoices]
        expect(charged == [price], f"{charged} was charged, not {price}")
        return order_id

    async def _price(self, sku: Sku, capacity: str, quantity: int, portal: str) -> str:
        """Fill in the form; return the price that the next page shows."""
        shows(await self._lena.open("/orders"), "orders")
        page = await self._lena.send(
            "/buy/price",
            sku=sku,
            capacity=capacity,
            quantity=str(quantity),
            cycle="monthly",
            portal=portal,
        )
        shows(page, "orders", "priced")
        [price] = page.all("data-total")
        return price

    async def _review(self) -> None:
        before = await self._demo.pool(PRESS, Sku.WORKPLACE)
        shown = await self._price(Sku.WORKPLACE, "", 3, "account")
        page = await self._lena.send("/buy")
        shows(page, "order-review", "review")
        expect(page.all("data-total") == [shown], "the review shows another price")
        page = await self._lena.send("/edit", quantity="1")
        shows(page, "order-review", "review")
        [edited] = page.all("data-total")
        expect(Decimal(edited) < Decimal(shown), f"one license costs {edited}, three {shown}")
        await self._demo.mailed("order_review", LENA)
        reviewed = await self._orders.show(page.url.rpartition("/")[2])
        expect(not reviewed.invoices, "it was charged before she confirmed")
        page = await self._lena.send("/confirm")
        shows(page, "orders")
        [order_id] = page.all("data-ordered")
        expect(order_id == reviewed.order_id, f"{order_id} was ordered")
        after = await self._demo.pool(PRESS, Sku.WORKPLACE)
        expect(after.bought == before.bought + 1, f"{after.bought} licenses are bought")

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
        results = await self._assigned(Sku.LARGE_MEETING, EDITORS)
        counts = Counter(results.values())
        expect(counts == {"assigned": 2, "waiting": 2}, f"the results are {results}")
        pool = self._lena.page.element("data-pool", POOL)
        expect(pool["data-free"] == "0", f"{pool['data-free']} licenses are free")
        capacities = await self._capacities()
        expected = sorted([CAPACITY] * 2 + [CAPACITY_WITHOUT_ADDON] * 2)
        expect(capacities == expected, f"meetings have {capacities}")

    async def _assigned(self, sku: Sku, editors: Sequence[str]) -> dict[str, str]:
        """Select the users in the list, and assign licenses; return the results."""
        shows(await self._lena.open("/licenses"), "licenses")
        page = await self._lena.send("/assign", email=editors, sku=sku)
        shows(page, "licenses")
        return {
            each["data-row"]: each["data-result"] for each in page.elements if "data-row" in each
        }

    async def _serve(self) -> None:
        await self._buy_at_once(Sku.LARGE_MEETING, quantity=2)
        pool = await self._demo.pool_without_waiters(PRESS, Sku.LARGE_MEETING, CAPACITY)
        expect({*pool.holders} == {*EDITORS}, f"the holders are {pool.holders}")
        capacities = await self._capacities()
        expect(capacities == [CAPACITY] * 4, f"meetings have {capacities}")
        for editor in EDITORS:
            await self._demo.mailed("license_assigned", editor)
        await self._demo.mailed("license_served", LENA)

    async def _give_webinar(self) -> None:
        await self._buy_at_once(Sku.WEBINAR, quantity=1)
        lou = EDITORS[-1]
        results = await self._assigned(Sku.WEBINAR, [lou])
        expect(results == {lou: "assigned"}, f"the results are {results}")
        self._pools = await self._demo.clients.assignments.licenses(PRESS)
        held = [pool.sku for pool in self._pools if lou in pool.holders and pool.capacity]
        expect(held == [Sku.LARGE_MEETING, Sku.WEBINAR], f"Lou holds {held}")

    async def _capacities(self) -> list[int]:
        """Return the capacities of the editors' meetings, the smallest first."""
        press = await self._demo.account(PRESS)
        users = [user for user in press.users if user.email in EDITORS]
        return sorted(
            meeting.capacity or CAPACITY_WITHOUT_ADDON
            for user in users
            for meeting in user.meetings
        )
