"""Signing in: links by e-mail, sessions, roles and the trusted proxy."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import event, select, update

from adapters.sql.database.schema import SessionRow, SignInLinkRow
from adapters.sql.database.transaction import reading, writing
from clients.session import hash_of
from domain.session import local_path
from portal.app import portal
from portal.request import mask_tokens
from portal.session import COOKIE
from tests.eventually import eventually
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.world import ADMIN, JANE, MEMBER, OWNER, World

OPERATOR = "operator@seatflow.example"
STRANGER = "stranger@nowhere.example"
BOSS = "boss@other.example"


@asynccontextmanager
async def portal_of(
    world: World,
    peer: str = "192.0.2.7",
    base_url: str = "http://localhost:8080",
    **settings: object,
) -> AsyncIterator[Visitor]:
    """Open the portal of a world with other settings."""
    clients = world.clients
    changed = replace(clients, settings=clients.settings.model_copy(update=settings))
    transport = httpx.ASGITransport(portal(changed), client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as web:
        yield Visitor(world, web)


async def link_for(visitor: Visitor, email: str, times: int = 1, next: str = "") -> str:
    """Request a link; return its path."""
    assert (await visitor.post("/sign-in", email=email, next=next)).status == 200
    mail = await visitor.world.mailed("sign_in", email, times)
    [link] = re.findall(r"http\S+/sign-in/\S+", mail.text)
    return str(urlsplit(link).path)


async def signed_in(visitor: Visitor, email: str) -> ReadPage:
    """Sign in by a link; the cookie stays with the visitor."""
    return await visitor.post(await link_for(visitor, email))


async def session_of(visitor: Visitor, email: str) -> None:
    """Give the visitor a session of anybody, as an identity provider would."""
    opened = await visitor.world.clients.sessions.open(email)
    visitor.web.cookies.set(COOKIE, opened.cookie)


def csrf_of(page: ReadPage) -> str:
    [token] = set(re.findall(r'name="csrf_token" value="(\w+)"', page.html))
    return str(token)


# The link.


async def test_an_admin_signs_in_by_a_link_and_out_again(visitor: Visitor) -> None:
    """The e-mail, the button, the account's page, and nothing after signing out."""
    account = visitor.world.account
    path = await link_for(visitor, ADMIN)
    page = await visitor.get(path)
    assert (page.status, page.name, page.state) == (200, "sign-in", "link")
    assert f"Sign in as {ADMIN}" in page.text
    answer = await visitor.post(path)
    assert (answer.status, answer.response.headers["location"]) == (303, f"/admin/{account}")
    page = await visitor.get(f"/admin/{account}")
    assert (page.status, page.name) == (200, "invitations")
    assert account.title() in page.html
    out = await visitor.post("/sign-out", csrf_token=csrf_of(page))
    assert (out.status, out.response.headers["location"]) == (303, "/sign-in")
    assert COOKIE not in visitor.web.cookies
    assert (await visitor.get(f"/admin/{account}")).status == 303


async def test_a_cookie_is_worth_nothing_after_signing_out(visitor: Visitor) -> None:
    """The session is revoked in the store, not only in the browser."""
    await signed_in(visitor, ADMIN)
    cookie = visitor.web.cookies[COOKIE]
    page = await visitor.get(f"/admin/{visitor.world.account}")
    await visitor.post("/sign-out", csrf_token=csrf_of(page))
    visitor.web.cookies.set(COOKIE, cookie)
    assert (await visitor.get(f"/admin/{visitor.world.account}")).status == 303


async def test_a_scanner_of_links_consumes_nothing(visitor: Visitor) -> None:
    """GET and HEAD, any number of times, with what mail programs leave behind a link."""
    path = await link_for(visitor, ADMIN)
    for _ in range(3):
        assert (await visitor.get(f"{path}).")).status == 200
        assert (await visitor.web.head(path)).status_code == 200
    assert (await visitor.post(path)).status == 303


async def test_a_link_works_once(visitor: Visitor) -> None:
    """A second use is answered by a page that leads to a new link."""
    path = await link_for(visitor, ADMIN)
    assert (await visitor.post(path)).status == 303
    for page in (await visitor.post(path), await visitor.get(path)):
        assert (page.status, page.name, page.state) == (410, "sign-in", "used")


async def test_of_two_uses_at_once_one_wins(visitor: Visitor) -> None:
    """The link is consumed and the session opened in one transaction."""
    path = await link_for(visitor, ADMIN)
    answers = await asyncio.gather(*(visitor.post(path) for _ in range(4)))
    assert sorted(each.status for each in answers) == [303, 410, 410, 410]
    assert len(await visitor.world.clients.sessions.listed(ADMIN)) == 1


async def test_a_link_expires_after_15_minutes(visitor: Visitor) -> None:
    """At exactly the end it is over."""
    path = await link_for(visitor, ADMIN)
    async with writing(visitor.world.store.engine) as session:
        row = (await session.scalars(select(SignInLinkRow))).one()
        assert row.expires_at - row.created_at == timedelta(minutes=15)
        row.expires_at = datetime.now(UTC)
    assert (await visitor.post(path)).status == 410


@pytest.mark.parametrize("path", ["/sign-in/unsigned", "/sign-in/a/b", "/sign-in/x.y"])
async def test_a_link_that_was_never_signed_is_unknown(visitor: Visitor, path: str) -> None:
    """404, as for every unknown address."""
    for page in (await visitor.get(path), await visitor.post(path)):
        assert (page.status, page.name) == (404, "not-found")


async def test_the_link_of_an_invitation_signs_nobody_in(visitor: Visitor) -> None:
    """A token is signed for one purpose."""
    await visitor.world.pending(JANE)
    token = (await visitor.link(JANE)).rpartition("/")[2]
    assert (await visitor.post(f"/sign-in/{token}")).status == 404


async def test_the_answer_is_the_same_for_every_address(visitor: Visitor) -> None:
    """By construction: the same rows, and nobody is looked up before the answer.

    Members and strangers get no e-mail; their letter is dropped when it would be sent.
    """
    pages, executed = [], []
    # The first request of a client is counted in another way.
    await visitor.post("/sign-in", email=JANE)
    for email in (ADMIN, MEMBER, STRANGER):
        with statements(visitor.world) as listed:
            page = await visitor.post("/sign-in", email=email)
        assert (page.status, page.state) == (200, "sent")
        pages.append(page.html.replace(email, "…"))
        executed.append(listed)
    assert pages[0] == pages[1] == pages[2]
    assert executed[0] == executed[1] == executed[2]
    assert executed[0]
    await visitor.world.mailed("sign_in", ADMIN)

    async def queued() -> list[str]:
        return [row.workflow_id for row in await visitor.world.store.outbox.listed()]

    await eventually(queued, until=lambda rows: not rows)
    assert {mail.to for mail in visitor.world.mails(event="sign_in")} == {ADMIN}


@contextmanager
def statements(world: World) -> Iterator[list[str]]:
    """Yield the statements of the portal: those that are executed by the task of this test."""
    listed: list[str] = []
    test = asyncio.current_task()

    def record(connection: object, cursor: object, statement: str, *_: object) -> None:
        if asyncio.current_task() is test:
            listed.append(statement)

    engine = world.store.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield listed
    finally:
        event.remove(engine, "before_cursor_execute", record)


async def test_an_operator_gets_a_link_to_the_operators_list(world: World) -> None:
    """SEATFLOW_OPERATORS."""
    async with portal_of(world, operators=frozenset({OPERATOR})) as visitor:
        answer = await signed_in(visitor, OPERATOR)
        assert answer.response.headers["location"] == "/operator"
        page = await visitor.get("/operator")
        assert (page.status, page.name) == (200, "attention")
        page = await visitor.get(f"/admin/{world.account}")
        assert f"in the name of {OWNER}" in page.html


async def test_signing_in_leads_back_to_the_page_that_was_asked_for(visitor: Visitor) -> None:
    """`next`: a path of this portal's pages alone."""
    account = visitor.world.account
    asked = await visitor.get(f"/admin/{account}?state=blocked")
    to = asked.response.headers["location"]
    assert to == f"/sign-in?next=%2Fadmin%2F{account}%3Fstate%3Dblocked"
    form = (await visitor.get(to)).form("sign-in")
    answer = await visitor.post(await link_for(visitor, ADMIN, next=form["next"]))
    assert answer.response.headers["location"] == f"/admin/{account}?state=blocked"


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/admin/x",
        "//evil.example/admin/x",
        "/\\evil.example",
        "/admin/../i/x",
        "/admin/%2e%2E/i/x",
        "/admin/.%2e/i/x",
        "/adminx",
        "/i/token",
        "/admin/x\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/admin/" + "x" * 600,
    ],
)
def test_no_other_address_is_led_to(path: str) -> None:
    """`next` is no open redirect."""
    assert local_path(path, "/admin", "/operator") is None


async def test_an_address_that_is_none_is_refused_with_the_entered_value(visitor: Visitor) -> None:
    """422 `invalid_email`, with the words beside the field."""
    page = await visitor.post("/sign-in", email="ada at acme")
    assert (page.status, page.error) == (422, "invalid_email")
    assert 'value="ada at acme"' in page.html


# Limits and other sites.


async def test_an_address_gets_five_links_an_hour(visitor: Visitor) -> None:
    """429 with the time to wait, also for an address that is unknown."""
    for email in (ADMIN, STRANGER):
        for _ in range(5):
            assert (await visitor.post("/sign-in", email=email)).status == 200
        page = await visitor.post("/sign-in", email=email.upper())
        assert (page.status, page.error) == (429, "rate_limited")
        assert 0 < int(page.response.headers["retry-after"]) <= 3600


async def test_a_client_requests_60_links_an_hour(visitor: Visitor) -> None:
    """429 for the next one, whatever its address; another client still gets one."""
    for number in range(60):
        assert (await visitor.post("/sign-in", email=f"a{number}@b.example")).status == 200
    assert (await visitor.post("/sign-in", email=ADMIN)).status == 429
    async with portal_of(visitor.world, peer="198.51.100.4") as other:
        assert (await other.post("/sign-in", email=ADMIN)).status == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_another_site_signs_nobody_in_or_out(
    visitor: Visitor, headers: dict[str, str]
) -> None:
    """403, and the link is still good."""
    path = await link_for(visitor, ADMIN)
    for form in ("/sign-in", path, "/sign-out"):
        assert (await visitor.post_with(form, headers)).status == 403
    assert (await visitor.post(path)).status == 303


async def test_a_form_without_the_token_of_its_session_is_refused(visitor: Visitor) -> None:
    """403, and the session stays: also with the token of the session before."""
    await signed_in(visitor, ADMIN)
    old = csrf_of(await visitor.get(f"/admin/{visitor.world.account}"))
    await visitor.post(await link_for(visitor, ADMIN, 2))
    for form in ({}, {"csrf_token": old}, {"csrf_token": "ä"}):
        page = await visitor.post("/sign-out", **form)
        assert (page.status, page.error) == (403, "not_authorized")
    assert (await visitor.get(f"/admin/{visitor.world.account}")).status == 200


# Sessions and roles.


async def test_the_cookie_is_for_this_browser_alone(world: World) -> None:
    """HttpOnly, SameSite=Lax, 12 hours, the portal's path; Secure under https."""
    for url, secure in (("http://localhost:8080", False), ("https://acme.example/seats", True)):
        async with portal_of(world, base_url=url.removesuffix("/seats"), public_url=url) as visitor:
            opened = await link_of(world)
            answer = await visitor.post(opened)
            cookie = answer.response.headers["set-cookie"]
            root = urlsplit(url).path or "/"
            flags = {each.strip().lower() for each in cookie.split(";")[1:]}
            assert flags - {"secure"} == {
                "httponly",
                "samesite=lax",
                "max-age=43200",
                f"path={root}",
            }
            assert ("secure" in flags) is secure


async def link_of(world: World, email: str = ADMIN) -> str:
    """Return the path of a link, without its e-mail."""
    await world.clients.sessions.request_link(email)
    async with reading(world.store.engine) as session:
        newest = select(SignInLinkRow.link_id).order_by(SignInLinkRow.created_at.desc()).limit(1)
        link_id = await session.scalar(newest)
    assert link_id
    return urlsplit(world.clients.signer.sign_in_link(link_id)).path


async def test_the_store_has_no_value_that_signs_anybody_in(visitor: Visitor) -> None:
    """The cookie is kept as a hash, the link as an id that is worth nothing unsigned."""
    path = await link_of(visitor.world)
    await visitor.post(path)
    cookie, token = visitor.web.cookies[COOKIE], path.rpartition("/")[2]
    async with reading(visitor.world.store.engine) as session:
        rows = [*await session.scalars(select(SessionRow.session_id))]
        links = [*await session.scalars(select(SignInLinkRow.link_id))]
    assert rows == [hash_of(cookie)]
    assert token not in links
    visitor.web.cookies.set(COOKIE, rows[0])
    assert (await visitor.get(f"/admin/{visitor.world.account}")).status == 303
    assert (await visitor.get(f"/sign-in/{links[0]}")).status == 404


async def test_a_session_is_replaced_at_the_next_sign_in(visitor: Visitor) -> None:
    """The cookie that was sent is worth nothing afterwards; other browsers stay signed in."""
    world = visitor.world
    other = await world.clients.sessions.open(ADMIN)
    await visitor.post(await link_of(world))
    first = visitor.web.cookies[COOKIE]
    await visitor.post(await link_of(world))
    assert await world.clients.sessions.find(first) is None
    assert await world.clients.sessions.find(other.cookie) is not None
    assert await world.clients.sessions.find(visitor.web.cookies[COOKIE]) is not None


async def test_a_session_ends_after_12_hours_or_when_it_is_revoked(visitor: Visitor) -> None:
    """Each request reads it."""
    world, path = visitor.world, f"/admin/{visitor.world.account}"
    await session_of(visitor, ADMIN)
    assert (await visitor.get(path)).status == 200
    [session] = await world.clients.sessions.listed(ADMIN)
    assert session.expires_at - session.created_at == timedelta(hours=12)
    assert not await world.clients.sessions.revoke(session.id, MEMBER)
    assert (await visitor.get(path)).status == 200
    assert await world.clients.sessions.revoke(session.id, ADMIN)
    assert (await visitor.get(path)).status == 303
    visitor.web.cookies.clear()
    await session_of(visitor, ADMIN)
    async with writing(world.store.engine) as database:
        await database.execute(update(SessionRow).values(expires_at=datetime.now(UTC)))
    assert (await visitor.get(path)).status == 303


async def test_the_last_use_is_recorded_once_a_minute(visitor: Visitor) -> None:
    """A page's requests write no more than that."""
    world = visitor.world
    await session_of(visitor, ADMIN)
    before = datetime.now(UTC) - timedelta(minutes=5)
    async with writing(world.store.engine) as database:
        await database.execute(update(SessionRow).values(last_used_at=before))
    for _ in range(2):
        await visitor.get(f"/admin/{world.account}")
    [session] = await world.clients.sessions.listed(ADMIN)
    assert session.last_used_at > before


async def test_an_admin_who_was_removed_has_no_access_at_once(visitor: Visitor) -> None:
    """Roles are read from the store at each request; the session itself has none."""
    await session_of(visitor, ADMIN)
    path = f"/admin/{visitor.world.account}"
    assert (await visitor.get(path)).status == 200
    await visitor.world.remove_user(visitor.world.account, ADMIN)
    page = await visitor.get(path)
    assert (page.status, page.name) == (404, "not-found")


# The trusted proxy.


async def test_a_trusted_proxy_signs_people_in(world: World) -> None:
    """SEATFLOW_TRUSTED_USER_HEADER from SEATFLOW_TRUSTED_PROXIES; no cookie, no link."""
    settings: dict[str, Any] = {
        "trusted_user_header": "X-User",
        "trusted_proxies": (IPv4Network("192.0.2.0/24"),),
    }
    path = f"/admin/{world.account}"
    async with portal_of(world, **settings) as visitor:
        page = await visitor.get(path, x_user=ADMIN.upper())
        assert (page.status, page.name) == (200, "invitations")
        assert "/sign-out" not in page.html
        for email in (MEMBER, STRANGER):
            assert (await visitor.get(path, x_user=email)).status == 404
        assert (await visitor.get(path)).status == 303
        assert (await visitor.get("/sign-in", x_user=ADMIN)).response.headers["location"] == path
        assert (await visitor.post("/sign-in", email=ADMIN)).status == 404
        await session_of(visitor, ADMIN)
        assert (await visitor.get(path)).status == 303
        # The proxy has added its header to one that the sender has written.
        twice = [("X-User", ADMIN), ("X-User", STRANGER)]
        assert (await visitor.web.get(path, headers=twice)).status_code == 303
    async with portal_of(world, peer="198.51.100.1", **settings) as visitor:
        assert (await visitor.get(path, x_user=ADMIN)).status == 303


def test_tokens_of_sign_in_are_masked_in_the_log() -> None:
    """Neither the token of a link nor the code of an identity provider is logged."""
    assert mask_tokens("POST /sign-in/ab.cd-ef HTTP/1.1") == "POST /sign-in/… HTTP/1.1"
    callback = mask_tokens("GET /sign-in/oidc/callback?code=secret&state=other")
    assert "secret" not in callback
    assert "other" not in callback


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("/sign-in?next=%2Fi%2Fab.cd-ef", "/sign-in?next=…"),
        ("/sign-in?lang=de&next=%2Fi%2Fab.cd-ef", "/sign-in?lang=de&next=…"),
        ("/sign-in/oidc?next=/i/ab.cd-ef", "/sign-in/…?next=…"),
        ("/admin/acme?q=jane%40nowhere.example&all=1", "/admin/acme?q=…&all=1"),
    ],
)
def test_addresses_in_queries_are_masked_in_the_log(address: str, logged: str) -> None:
    """A link to which signing in leads back, and a person who was searched for."""
    assert mask_tokens(f"GET {address} HTTP/1.1") == f"GET {logged} HTTP/1.1"


# Everybody else.


@pytest.mark.parametrize("who", [None, MEMBER, STRANGER, BOSS, JANE])
async def test_no_page_of_an_account_or_of_operators_leaks(
    visitor: Visitor, who: str | None
) -> None:
    """Every route of the application: 303 to sign-in, or 404 as for an unknown account."""
    world = visitor.world
    await world.imported("other", users=[(BOSS, "owner")])
    await world.pending(JANE)
    if who:
        await session_of(visitor, who)
    for path in guarded_paths(world):
        known = path.replace("{account}", world.account)
        unknown = path.replace("{account}", "no-such-account")
        for method in ("GET", "POST"):
            answers = [
                await visitor.web.request(method, re.sub(r"\{\w+(:\w+)?\}", "x", each))
                for each in (known, unknown)
            ]
            if who is None and answers[0].status_code != 405:
                assert [each.status_code for each in answers] == [303, 303], path
                assert answers[0].headers["location"].startswith("/sign-in")
            else:
                assert [each.status_code for each in answers] in ([404, 404], [405, 405]), path
                assert answers[0].text == answers[1].text
            for answer in answers:
                assert ADMIN not in answer.text
                assert world.account.title() not in answer.text


def guarded_paths(world: World) -> list[str]:
    """Return the paths of all routes for admins and operators."""
    routes = portal(world.clients)._app.routes  # type: ignore[attr-defined]
    paths = [route.path for route in routes if route.path.startswith(("/admin", "/operator"))]
    assert {"/admin/{account}", "/operator"} <= {*paths}
    return paths
