"""The pages of orders and of the account in Chromium: keyboard, width and accessibility."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from portal.session import COOKIE
from tests.portal.browser import PHONE, Reader, chromium, close, reading, require_accessible
from tests.world import ADMIN, World


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def reader(world: World, browser: Browser) -> AsyncIterator[Reader]:
    async with reading(world, browser) as reader:
        yield reader


async def require_widths(page: Page) -> None:
    """Check the page at the width of a desk and of a small phone."""
    for width in (1180, PHONE):
        await page.set_viewport_size({"width": width, "height": 900})
        await require_accessible(page)


async def press(page: Page, name: str) -> None:
    """Activate a button by keys alone."""
    button = page.get_by_role("button", name=name)
    await button.focus()
    await page.keyboard.press("Enter")


async def buy_at_once(page: Page, world: World) -> None:
    """Buy two licenses; Enter in a field shows the price, and never orders."""
    main = page.locator("main")
    await page.get_by_label("Quantity").focus()
    await page.keyboard.press("ControlOrMeta+A")
    await page.keyboard.type("2")
    await page.keyboard.press("Enter")
    await expect(main).to_have_attribute("data-state", "priced")
    assert await world.orders.list(world.account) == []
    await require_widths(page)
    await press(page, "Buy, ")
    await expect(main).to_contain_text("You have bought 2 × Large Meeting 500")
    await require_widths(page)


async def buy_with_review(page: Page) -> None:
    """Open a review of two licenses, change it to four, and confirm it."""
    main = page.locator("main")
    await page.get_by_label("when an admin confirms it").focus()
    await page.keyboard.press("Space")
    await press(page, "See the price")
    await expect(main).to_have_attribute("data-state", "priced")
    await press(page, "Save the order for confirmation")
    await expect(main).to_have_attribute("data-page", "order-review")
    await require_widths(page)
    await page.get_by_label("Quantity").fill("4")
    await press(page, "See the new price")
    await expect(main).to_contain_text("4 × Large Meeting 500")
    await press(page, "Confirm the order")
    await expect(main).to_contain_text("You have bought 4 × Large Meeting 500")


async def test_an_admin_buys_in_both_portals_by_keyboard(reader: Reader) -> None:
    """WCAG 2.2 AA at 1,180 and 360 px: price, order, review, edit and confirmation."""
    world = reader.world
    await world.imported(
        world.account,
        credit="5.00",
        collection="net_terms",
        invoices=[{"id": "inv-7", "amount_due": "120.00", "due_on": "2026-11-30"}],
    )
    opened = await world.clients.sessions.open(ADMIN)
    context = await reader.browser.new_context(locale="en-US")
    await context.add_cookies([{"name": COOKIE, "value": opened.cookie, "url": reader.address}])
    page = await context.new_page()
    main = page.locator("main")
    await page.goto(f"{reader.address}/admin/{world.account}/orders")
    await require_widths(page)
    await buy_at_once(page, world)
    await buy_with_review(page)
    bought = [each.quantity for each in await world.orders.list(world.account) if each.was_paid]
    assert bought == [2, 4]

    await page.get_by_role("link", name="Open 4 × Large Meeting 500").click()
    await expect(main).to_have_attribute("data-page", "order")
    await require_widths(page)
    await page.get_by_label("Quantity").fill("9")
    await press(page, "Change the quantity")
    await expect(main).to_have_attribute("data-error", "invalid_quantity")
    await require_widths(page)
    await page.get_by_role("link", name="Account", exact=True).click()
    await expect(main).to_have_attribute("data-page", "account")
    await require_widths(page)
    await close(context)
