"""A browser without scripts, on the portal of a world."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from portal.app import portal
from tests.portal.browser_page import ReadPage
from tests.world import World


@dataclass(frozen=True)
class Visitor:
    """A person with the link of an invitation."""

    world: World
    web: httpx.AsyncClient

    async def link(self, email: str) -> str:
        """Return the path of the link in the last invitation e-mail."""
        link = (await self.world.show(email)).link
        assert link is not None
        return urlsplit(link).path

    async def get(self, path: str, **headers: str) -> ReadPage:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ReadPage(await self.web.get(path, headers=named))

    async def post(self, path: str, **form: str) -> ReadPage:
        return ReadPage(await self.web.post(path, data=form))

    async def post_with(self, path: str, headers: dict[str, str]) -> ReadPage:
        return ReadPage(await self.web.post(path, headers=headers))


@pytest.fixture
async def visitor(world: World) -> AsyncIterator[Visitor]:
    transport = httpx.ASGITransport(portal(world.clients), client=("192.0.2.7", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as web:
        yield Visitor(world, web)
