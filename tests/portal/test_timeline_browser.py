"""The timeline of one invitation in Chromium."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Page, expect

from devstack.ports import free_port
from devstack.web_server import serving
from portal.app import portal
from portal.session import COOKIE
from tests.portal.browser import PHONE, chromium, close, require_accessible
from tests.portal.test_timeline import ROOM, TOM, a_blocked_owner, path_of
from tests.world import ADMIN, JANE, World


@asynccontextmanager
async def timeline_of(world: World) -> AsyncIterator[Page]:
    """Open the timeline of Jane's invitation, as an admin."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    opened = await world.clients.sessions.open(ADMIN)
    async with serving(portal(world.clients), "127.0.0.1", port), chromium() as browser:
        context = await browser.new_context(viewport={"width": 1120, "height": 900})
        await context.add_cookies([{"name": COOKIE, "value": opened.cookie, "url": address}])
        page = await context.new_page()
        await page.goto(f"{address}{await path_of(world)}")
        yield page
        await close(context)


async def in_state(page: Page, state: str, drawing: str) -> None:
    """Wait for the state, and check the page and its drawing."""
    await expect(page.locator("main")).to_have_attribute("data-state", state, timeout=30_000)
    await expect(page.locator(f".machine.{drawing} .lit")).to_have_attribute("data-node", state)
    await require_accessible(page)


async def test_a_blocked_invitation_is_followed_and_revoked_by_keyboard(world: World) -> None:
    """Accessible on a wide window, on a phone and in the dark; the page follows the state."""
    await a_blocked_owner(world)
    async with timeline_of(world) as page:
        await in_state(page, "blocked", "broad")
        await page.set_viewport_size({"width": PHONE, "height": 740})
        await page.emulate_media(color_scheme="dark")
        await expect(page.locator(".machine.broad")).to_be_hidden()
        await in_state(page, "blocked", "narrow")
        await world.remove_user("jane-free", TOM)
        await world.remove_room("jane-free", "room-77")
        await in_state(page, "pending", "narrow")
        await expect(page.locator("#news")).to_contain_text("This page was updated.")
        await page.locator("summary", has_text="Revoke").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name="Revoke the invitation")).to_be_focused()
        await require_accessible(page)
        await page.keyboard.press("Enter")
        await in_state(page, "revoked", "narrow")
        assert ROOM not in await page.content()
    assert (await world.show(JANE)).state == "revoked"
