"""The pages of an account in Chromium: what an admin does and sees."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, FilePayload, Page, expect

from portal.session import COOKIE
from tests.portal.browser import PHONE, Reader, chromium, reading, require_accessible
from tests.world import ADMIN, JANE, MEMBER, World

DESK = 1120
TABLE: FilePayload = {
    "name": "people.csv",
    "mimeType": "text/csv",
    "buffer": b"email\nnew@example.com\n",
}


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def reader(world: World, browser: Browser) -> AsyncIterator[Reader]:
    async with reading(world, browser) as reader:
        yield reader


async def on_page(page: Page, name: str) -> None:
    """Wait for the page, and check it at a desk and on a phone."""
    await expect(page.locator("main")).to_have_attribute("data-page", name)
    for width in (PHONE, DESK):
        await page.set_viewport_size({"width": width, "height": 900})
        await require_accessible(page)


async def tab_to(page: Page, selector: str) -> None:
    """Move the focus to the element by Tab."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the Tab key does not reach {selector}")


@asynccontextmanager
async def administering(reader: Reader) -> AsyncIterator[Page]:
    """Open the page of the account as an admin."""
    opened = await reader.world.clients.sessions.open(ADMIN)
    context = await reader.browser.new_context()
    await context.add_cookies([{"name": COOKIE, "value": opened.cookie, "url": reader.address}])
    page = await context.new_page()
    await page.goto(f"{reader.address}/admin/{reader.world.account}")
    yield page
    await context.close()


async def retype(page: Page, text: str) -> None:
    """Replace the value of the focused field, and send the form."""
    await page.keyboard.press("Control+A")
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")


async def test_an_admin_invites_by_keyboard_and_follows_the_batch(reader: Reader) -> None:
    """From a file by a mistake and the review to the results, without a mouse."""
    await reader.world.pending(JANE)
    async with administering(reader) as page:
        await on_page(page, "invitations")
        await expect(page.locator('[data-state="pending"]')).to_contain_text(JANE)
        await tab_to(page, ".panel > summary")
        await page.keyboard.press("Enter")
        await page.set_input_files("#file", TABLE)
        await expect(page.locator("#people")).to_have_value("email\nnew@example.com\n")
        await tab_to(page, "#people")
        await page.keyboard.press("Control+End")
        await page.keyboard.type(MEMBER)
        await tab_to(page, "#heads_up_days")
        await retype(page, "soon")
        await expect(page.locator(".summary")).to_be_focused()
        await on_page(page, "invitations")
        await tab_to(page, 'a[href="#heads_up_days"]')
        await page.keyboard.press("Enter")
        await expect(page.locator("#heads_up_days")).to_be_focused()
        await retype(page, "0")
        await on_page(page, "invite-review")
        await expect(page.locator('[data-result="refused"]')).to_contain_text("Already a user of")
        await tab_to(page, ".button.main")
        await expect(page.locator(".button.main:focus")).to_have_text("Send 1 invitation")
        await page.keyboard.press("Enter")
        await on_page(page, "invite-progress")
        await expect(page.locator("#live .tag").first).to_have_text("Finished", timeout=30_000)
        await page.reload()
        await expect(page.locator('[data-result="invited"]')).to_contain_text("new@example.com")
        await on_page(page, "invite-progress")
