"""The frame of admin pages: who may post a form, and in whose name it acts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response

from domain.error import ErrorCode, Refused
from portal.admin.visit import AdminPages, AdminVisit
from portal.app import portal
from portal.page import PageFrame
from portal.request import MAX_FORM_BYTES, Form, Proxies, RequestLimits
from portal.session import SignedIn, SignInBy
from portal.visit import status_of
from tests.portal.conftest import Visitor
from tests.portal.test_sign_in import OPERATOR, STRANGER, csrf_of, session_of
from tests.world import ADMIN, MEMBER, OWNER, World


async def act(visit: AdminVisit, form: Form) -> Response:
    """Return the author of what the form does."""
    if form.get("refused"):
        raise Refused(ErrorCode.CONFLICT, "Not now.")
    author = visit.clients.author.acting_for(visit.by)
    return PlainTextResponse(f"{author} {form.all('email')}")


async def again(visit: AdminVisit, form: Form, refused: Refused) -> Response:
    return PlainTextResponse(form["refused"], status_of(refused))


@asynccontextmanager
async def a_form(world: World) -> AsyncIterator[Visitor]:
    """Serve the portal with a form of its own, `/admin/ACCOUNT/probe`."""
    settings = world.settings.model_copy(update={"operators": frozenset({OPERATOR})})
    clients = replace(world.clients, settings=settings)
    proxies = Proxies(())
    admin = AdminPages(
        clients,
        PageFrame(""),
        RequestLimits(world.store.request_counts, proxies, settings.id_key),
        SignedIn(clients.sessions, SignInBy.LINK, None, proxies, settings.secret_keys[0].encode()),
        settings.public_url,
    )
    app = portal(clients)
    app._app.router.routes.insert(0, admin.form("/probe", act, again))  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as web:
        yield Visitor(world, web)


@pytest.mark.parametrize(
    ("email", "author"), [(ADMIN, ADMIN), (OPERATOR, f"operator {OPERATOR} for {OWNER}")]
)
async def test_an_operator_is_named_beside_the_owner(world: World, email: str, author: str) -> None:
    """OPS-8: an admin acts as themselves."""
    async with a_form(world) as visitor:
        await session_of(visitor, email)
        path = f"/admin/{world.account}"
        token = csrf_of(await visitor.get(path))
        answer = await visitor.web.post(
            f"{path}/probe", data={"csrf_token": token, "email": ["a@b.example", "c@d.example"]}
        )
        assert answer.text == f"{author} ['a@b.example', 'c@d.example']"


async def test_a_refused_form_shows_its_page_again(world: World) -> None:
    """409 with the entered values; a GET of the form leads to a page."""
    async with a_form(world) as visitor:
        await session_of(visitor, ADMIN)
        path = f"/admin/{world.account}"
        token = csrf_of(await visitor.get(path))
        page = await visitor.post(f"{path}/probe", csrf_token=token, refused="entered")
        assert (page.status, page.html) == (409, "entered")
        to_page = await visitor.get(f"{path}/probe?lang=de")
        assert to_page.response.headers["location"] == f"{path}?lang=de"


async def test_the_role_is_checked_before_the_body_is_read(world: World) -> None:
    """404 or 303 for a body that is too long; for an admin 413, and 403 without the token."""
    async with a_form(world) as visitor:
        path, body = f"/admin/{world.account}/probe", b"x" * (MAX_FORM_BYTES + 1)
        assert (await visitor.web.post(path, content=body)).status_code == 303
        for email in (MEMBER, STRANGER):
            await session_of(visitor, email)
            assert (await visitor.web.post(path, content=body)).status_code == 404
        await session_of(visitor, ADMIN)
        assert (await visitor.web.post(path, content=body)).status_code == 413
        endless = {"Content-Length": "9" * 5000}
        assert (await visitor.web.post(path, content=b"x", headers=endless)).status_code == 413
        assert (await visitor.post(path)).status == 403
        elsewhere = {"Origin": "https://evil.example"}
        assert (await visitor.post_with(path, elsewhere)).status == 403
