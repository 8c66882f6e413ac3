"""Chromium, driven by Playwright, with the checks that every page must pass."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from devstack.ports import free_port
from devstack.web_server import serving
from portal.app import portal
from tests.requirements import require_program
from tests.world import World

PHONE = 360
"""The width of a small phone in CSS pixels."""

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the system's Chromium."""
    program = require_program("chromium", package="chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@dataclass
class Reader:
    """A person who reads the portal in a browser."""

    world: World
    browser: Browser
    address: str

    @asynccontextmanager
    async def opened(self, email: str, **options: Any) -> AsyncIterator[Page]:
        """Open the page of the last invitation e-mail; fail for errors in the console."""
        link = urlsplit(await self.link(email))
        async with self.at(link.path, **options) as page:
            yield page

    @asynccontextmanager
    async def at(self, path: str, **options: Any) -> AsyncIterator[Page]:
        """Open a page; fail for errors in the console."""
        context = await self.browser.new_context(
            **{"viewport": {"width": 820, "height": 900}} | options
        )
        errors: list[str] = []
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text)
                if message.type == "error" and "status of 4" not in message.text
                else None
            ),
        )
        await page.goto(f"{self.address}{path}")
        yield page
        await close(context)
        assert errors == []

    async def link(self, email: str) -> str:
        """Return the address of the page."""
        link = (await self.world.show(email)).link
        assert link is not None
        return f"{self.address}/i/{link.rpartition('/')[2]}"


async def close(context: BrowserContext) -> None:
    """Close a browser window."""
    await context.close()


@asynccontextmanager
async def reading(world: World, browser: Browser) -> AsyncIterator[Reader]:
    """Serve the portal of a world to a browser."""
    port = free_port()
    async with serving(portal(world.clients), "127.0.0.1", port):
        yield Reader(world, browser, f"http://127.0.0.1:{port}")


async def require_accessible(page: Page) -> None:
    """Fail for a violation of WCAG 2.2 AA, and for text wider than the window."""
    found = await Axe().run(page, options={"runOnly": {"type": "tag", "values": WCAG}})
    violations = [
        f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}"
        for each in found.response["violations"]
    ]
    assert violations == []
    too_wide = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert too_wide <= 0
