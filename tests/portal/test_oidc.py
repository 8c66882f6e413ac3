"""Signing in at an OpenID Connect provider, which runs in a process of its own."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from devstack.ports import free_port
from portal.oidc import STARTED
from portal.session import COOKIE
from tests.eventually import eventually
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_sign_in import OPERATOR, csrf_of, portal_of
from tests.world import ADMIN, JANE, World

USERS: dict[str, dict[str, object]] = {
    "admin": {"email": ADMIN.upper(), "email_verified": True},
    "jane": {"email": JANE},
    "liar": {"email": ADMIN, "email_verified": False},
    "nobody": {},
    "operator": {"email": OPERATOR, "email_verified": True},
}


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[str]:
    """Run the provider."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    users = (f"--user-claims={json.dumps({'sub': sub, **each})}" for sub, each in USERS.items())
    provider = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oidc_provider_mock", f"--port={port}", "--require-nonce=true"),
        *users,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def answers() -> bool:
        async with httpx.AsyncClient() as web:
            try:
                return (await web.get(url)).is_success
            except httpx.TransportError:
                return False

    await eventually(answers)
    yield url
    provider.terminate()
    await provider.wait()


@asynccontextmanager
async def portal_with(world: World, issuer: str) -> AsyncIterator[Visitor]:
    settings = {
        "oidc_issuer": issuer,
        "oidc_client_id": "seatflow",
        "oidc_client_secret": SecretStr("a secret of the client"),
        "operators": frozenset({OPERATOR}),
    }
    async with portal_of(world, **settings) as visitor:  # type: ignore[arg-type]
        yield visitor


async def at_provider(visitor: Visitor, sub: str, path: str = "/sign-in/oidc") -> str:
    """Sign in at the provider; return the path to which it sends the person back."""
    begun = await visitor.web.get(path)
    assert begun.status_code == 303
    async with httpx.AsyncClient() as web:
        answer = await web.post(begun.headers["location"], data={"sub": sub})
    back = urlsplit(answer.headers["location"])
    assert back.path == "/sign-in/oidc/callback"
    return f"{back.path}?{back.query}"


async def sign_in(visitor: Visitor, sub: str, path: str = "/sign-in/oidc") -> ReadPage:
    return await visitor.get(await at_provider(visitor, sub, path))


async def test_an_admin_signs_in_at_the_provider(world: World, issuer: str) -> None:
    """The same session as by a link; back to the page that was asked for."""
    async with portal_with(world, issuer) as visitor:
        asked = await visitor.get(f"/admin/{world.account}?state=blocked")
        page = await visitor.get(asked.response.headers["location"])
        [path] = [each for each in page.all("href") if "/sign-in/oidc" in each]
        answer = await sign_in(visitor, "admin", path)
        assert answer.status == 303
        assert answer.response.headers["location"] == f"/admin/{world.account}?state=blocked"
        page = await visitor.get(f"/admin/{world.account}")
        assert page.name == "invitations"
        assert [each.email for each in await world.clients.sessions.listed(ADMIN)] == [ADMIN]
        out = await visitor.post("/sign-out", csrf_token=csrf_of(page))
        assert out.status == 303
        assert (await visitor.get(f"/admin/{world.account}")).status == 303


async def test_an_operator_signs_in_at_the_provider(world: World, issuer: str) -> None:
    """SEATFLOW_OPERATORS."""
    async with portal_with(world, issuer) as visitor:
        answer = await sign_in(visitor, "operator")
        assert answer.response.headers["location"] == "/operator"


async def test_the_request_has_pkce_state_and_nonce(world: World, issuer: str) -> None:
    """The verifier stays in this browser, in a cookie that scripts cannot read."""
    async with portal_with(world, issuer) as visitor:
        begun = await visitor.web.get("/sign-in/oidc")
        sent = dict(parse_qsl(urlsplit(begun.headers["location"]).query))
        assert sent["code_challenge_method"] == "S256"
        assert {"code_challenge", "state", "nonce"} <= sent.keys()
        assert (sent["scope"], sent["response_type"]) == ("openid email", "code")
        cookie = begun.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "path=/sign-in/oidc" in cookie


@pytest.mark.parametrize("sub", ["liar", "nobody"])
async def test_an_address_that_is_not_verified_signs_nobody_in(
    world: World, issuer: str, sub: str
) -> None:
    """`email_verified` is false, or there is no address."""
    async with portal_with(world, issuer) as visitor:
        page = await sign_in(visitor, sub)
        assert (page.status, page.state) == (403, "failed")
        assert COOKIE not in visitor.web.cookies


async def test_an_answer_counts_in_the_browser_that_has_asked(world: World, issuer: str) -> None:
    """Another browser, another sign-in of this one, and a second use of the answer are refused."""
    async with portal_with(world, issuer) as visitor, portal_with(world, issuer) as other:
        back = await at_provider(visitor, "admin")
        assert (await other.get(back)).status == 403
        own = await at_provider(other, "admin")
        code, state = (dict(parse_qsl(urlsplit(each).query)) for each in (back, own))
        forged = f"/sign-in/oidc/callback?code={code['code']}&state={state['state']}"
        assert (await other.get(forged)).status == 403
        assert COOKIE not in other.web.cookies
        assert STARTED not in other.web.cookies
        fresh = await at_provider(visitor, "admin")
        assert (await visitor.get(fresh)).status == 303
        assert (await visitor.get(fresh)).status == 403


async def test_the_error_of_a_provider_is_one_line_of_the_log(
    world: World, issuer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The address of the answer is not signed: anybody may write a line break into it."""
    async with portal_with(world, issuer) as visitor:
        back = urlsplit(await at_provider(visitor, "admin"))
        state = dict(parse_qsl(back.query))["state"]
        page = await visitor.get(f"{back.path}?state={state}&error=denied%0A%0DINFO%20forged")
        assert (page.status, page.state) == (403, "failed")
    [message] = [each.getMessage() for each in caplog.records if each.name == "portal.oidc"]
    assert message == "The sign-in failed: the provider answered denied INFO forged."


async def test_a_provider_that_is_down_is_unavailable(world: World) -> None:
    """503: try again later."""
    async with portal_with(world, f"http://127.0.0.1:{free_port()}") as visitor:
        page = await visitor.get("/sign-in/oidc")
        assert (page.status, page.error) == (503, "backend_unavailable")


async def test_nobody_signs_in_by_a_link_beside_the_provider(world: World, issuer: str) -> None:
    """People whom the provider has locked out stay out."""
    await world.clients.sessions.request_link(ADMIN)
    async with portal_with(world, issuer) as visitor:
        assert (await visitor.post("/sign-in", email=ADMIN)).status == 404
        link = world.clients.signer.sign_in_link("any")
        assert (await visitor.get(urlsplit(link).path)).status == 404


async def test_the_page_of_an_invitation_opens_for_the_invitee_alone(
    world: World, issuer: str
) -> None:
    """INV-13: without a session, sign in and come back; as somebody else, nothing is consumed."""
    await world.imported("jane-free", plan="free", users=[(JANE, "owner")])
    await world.pending(JANE)
    async with portal_with(world, issuer) as visitor:
        path = await visitor.link(JANE)
        for asked in (await visitor.get(path), await visitor.post(f"{path}/accept")):
            assert asked.status == 303
            assert asked.response.headers["location"].startswith("/sign-in?next=%2Fi%2F")
        await sign_in(visitor, "admin")
        for page in (await visitor.get(path), await visitor.post(f"{path}/accept")):
            assert (page.status, page.error) == (403, "recipient_mismatch")
            assert JANE not in page.text
        assert (await world.show(JANE)).state == "pending"
        answer = await sign_in(visitor, "jane", f"/sign-in/oidc?next={path}")
        assert answer.response.headers["location"] == path
        assert (await visitor.get(path)).state == "pending"
        assert (await visitor.post(f"{path}/accept")).status == 303
    await world.until(JANE, "completed")
