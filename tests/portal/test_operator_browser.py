"""The operators' pages in Chromium."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from devstack.ports import free_port
from devstack.web_server import serving
from portal.app import portal
from portal.session import COOKIE
from tests.portal.browser import PHONE, chromium, require_accessible
from tests.portal.test_operator import (
    a_dispute,
    a_divergence,
    a_failed_refund,
    a_given_up_row,
    operators_clients,
)
from tests.portal.test_sign_in import OPERATOR
from tests.world import World

PATHS = ("", "/refunds", "/search", "/audit")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def test_an_operator_works_by_keyboard_at_any_width(world: World, browser: Browser) -> None:
    """Every page at 1,120 and 360 px, light and dark; a case is closed without a pointer."""
    refund_id = await a_failed_refund(world)
    await a_divergence(world)
    await a_dispute(world)
    await a_given_up_row(world)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    clients = operators_clients(world)
    opened = await clients.sessions.open(OPERATOR)
    async with serving(portal(clients), "127.0.0.1", port):
        for width in (1120, PHONE):
            context = await browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if width == PHONE else "light",
            )
            await context.add_cookies([{"name": COOKIE, "value": opened.cookie, "url": address}])
            page = await context.new_page()
            for path in (*PATHS, f"/refunds/{refund_id}"):
                await page.goto(f"{address}/operator{path}")
                await open_all(page)
                await require_accessible(page)
            await search(page, address, world.account)
            await run(page, address, "Run the audit")
            await run(page, address, "Compare")
            if width == PHONE:
                await close_the_dispute(page, address)
            await context.close()


async def search(page: Page, address: str, text: str) -> None:
    """Find an account."""
    await page.goto(f"{address}/operator/search")
    await page.get_by_label("Person or account").fill(text)
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-account]")).to_have_count(1)
    await require_accessible(page)


async def run(page: Page, address: str, button: str) -> None:
    """Run the audit, or the comparison, to its end."""
    await page.goto(f"{address}/operator/audit")
    await page.get_by_role("button", name=button, exact=True).press("Enter")
    await expect(page.locator("[data-finished]")).to_have_attribute("data-finished", "done")
    await require_accessible(page)


async def close_the_dispute(page: Page, address: str) -> None:
    """Close the case of a dispute, with a reason."""
    await page.goto(f"{address}/operator?kind=payment_disputed")
    await page.locator("summary", has_text="Close the case").press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.type("paid in cash")
    await page.keyboard.press("Enter")
    await expect(page.locator("p.news")).to_contain_text("The case was closed")


async def open_all(page: Page) -> None:
    """Open every disclosure, so that its content is checked too."""
    await page.evaluate("document.querySelectorAll('main details').forEach(e => e.open = true)")
