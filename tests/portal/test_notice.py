"""The pages of links that are no invitation."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from domain.error import ErrorCode, Refused
from portal.notice import Notices, Unsubscription
from portal.page import PageFrame
from portal.request import Proxies, RequestLimits
from tests.portal.browser_page import ReadPage
from tests.world import SECRET_KEY, World

TOKEN = "a.token"


class FakeReminders:
    """The end of reminders, of one token."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def read(self, token: str) -> None:
        if token != TOKEN:
            raise Refused(ErrorCode.NOT_FOUND, "This link is not valid.")

    async def end(self, token: str) -> None:
        self.read(token)
        self.ended.append(token)


@pytest.fixture
async def web(
    world_without_worker: World,
) -> AsyncIterator[tuple[httpx.AsyncClient, FakeReminders]]:
    reminders, world = FakeReminders(), world_without_worker
    limits = RequestLimits(
        world.store.request_counts, Proxies(()), SECRET_KEY.get_secret_value().encode()
    )
    notices = Notices(
        world.clients.invitee,
        PageFrame(""),
        limits,
        "http://portal",
        Unsubscription(reminders.read, reminders.end),
    )
    transport = httpx.ASGITransport(Starlette(routes=notices.routes()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://portal") as client:
        yield client, reminders


async def test_reminders_end_by_a_post_and_not_by_a_get(
    web: tuple[httpx.AsyncClient, FakeReminders],
) -> None:
    """RFC 8058: the page has one button; a mail program posts without an origin."""
    client, reminders = web
    page = ReadPage(await client.get(f"/unsubscribe/{TOKEN})."))
    assert (page.status, page.name, page.state) == (200, "unsubscribe", "open")
    assert page.html.count("<button") == 1
    assert reminders.ended == []
    one_click = {"List-Unsubscribe": "One-Click"}
    done = ReadPage(await client.post(f"/unsubscribe/{TOKEN}", data=one_click))
    assert (done.status, done.state) == (200, "done")
    assert reminders.ended == [TOKEN]
