"""The portal and its web server."""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from temporalio.client import Client

from devstack.ports import free_port
from devstack.web_server import serving
from domain.error import Unavailable
from portal.app import portal
from portal.request import form_of
from runtime.clients import Clients
from runtime.settings import Settings
from runtime.store import open_store, set_up_store

ROOT = Path(__file__).parents[2]
LEDGER = Settings()
STRIPE = Settings(
    billing="stripe",
    STRIPE_API_KEY=SecretStr("sk_test_seatflow"),
    SEATFLOW_STRIPE_WEBHOOK_SECRET=SecretStr("whsec_seatflow"),
)


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[Clients]:
    settings = LEDGER.model_copy(
        update={
            "database_url": SecretStr(f"sqlite+aiosqlite:///{tmp_path}/seatflow.db"),
            "secret_key": SecretStr("a secret key of the tests that is long enough"),
        }
    )

    async def connect() -> Client:
        raise Unavailable("Temporal is unreachable.")

    await set_up_store(settings)
    async with open_store(settings) as store:
        yield Clients(settings, store, connect)


async def status(app: ASGIApp, method: str, path: str) -> int:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://portal"
    ) as web:
        return (await web.request(method, path)).status_code


async def test_every_response_has_security_headers_and_no_banner(
    clients: Clients,
) -> None:
    """`portal`: browsers load, sniff and cache nothing, and the port is free again afterwards."""
    port = free_port()
    async with (
        serving(portal(clients), "127.0.0.1", port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as web,
    ):
        healthy, missing = await web.get("/health"), await web.get("/nothing")
    assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})
    assert missing.status_code == 404
    for response in (healthy, missing):
        assert "server" not in response.headers
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
    socket.create_server(("127.0.0.1", port)).close()


async def test_the_webhook_of_stripe_exists_only_with_stripe(clients: Clients) -> None:
    """SEATFLOW_BILLING: with `ledger`, the path is unknown (404)."""
    billing = {
        name: getattr(STRIPE, name)
        for name in ("billing", "given_stripe_api_key", "given_stripe_webhook_secret")
    }
    with_stripe = replace(clients, settings=clients.settings.model_copy(update=billing))
    assert await status(portal(clients), "POST", "/webhooks/stripe") == 404
    assert await status(portal(with_stripe), "POST", "/webhooks/stripe") == 400


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SEATFLOW_BILLING": "stripe"}, "SEATFLOW_STRIPE_WEBHOOK_SECRET is not set"),
        ({"SEATFLOW_ID_KEY": "another"}, "SEATFLOW_ID_KEY, or the secret key"),
        (
            {"SEATFLOW_POLICY__REMIND_AT_MOS": "1"},
            "SEATFLOW_POLICY__REMIND_AT_MOS is not a setting",
        ),
    ],
)
async def test_the_portal_of_a_deployment_refuses_to_start(
    clients: Clients, settings: dict[str, str], message: str
) -> None:
    """Settings: an invalid one, or the id key of another database, ends it with status 2."""
    environ = {name: value for name, value in os.environ.items() if "SEATFLOW_" not in name}
    ours = {
        "SEATFLOW_DATABASE_URL": clients.settings.database_url.get_secret_value(),
        "SEATFLOW_SECRET_KEY": clients.settings.secret_keys[0],
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--factory", "portal.app:create"),
        f"--port={free_port()}",
        cwd=ROOT,
        env=environ | ours | settings,
        stderr=asyncio.subprocess.PIPE,
    )
    _, printed = await process.communicate()
    assert process.returncode == 2
    assert message in printed.decode()
    assert "Traceback" not in printed.decode()


async def test_the_path_of_the_public_url_precedes_every_address(clients: Clients) -> None:
    """SEATFLOW_PUBLIC_URL with a path: pages name it, with and without a proxy that removes it."""
    url = {"public_url": "https://acme.example/seats"}
    app = portal(replace(clients, settings=clients.settings.model_copy(update=url)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://portal"
    ) as web:
        page = await web.get("/seats/nothing")
        assert 'data-page="not-found"' in page.text
        [style] = re.findall(r'rel="stylesheet" href="([^"]*)"', page.text)
        assert style.startswith("/seats/static/")
        for address in (style, style.removeprefix("/seats")):
            response = await web.get(address)
            assert response.status_code == 200
            assert "immutable" in response.headers["cache-control"]


async def test_nul_is_a_space_before_a_database_refuses_it(clients: Clients) -> None:
    """In paths, queries and forms: PostgreSQL has no text with NUL."""

    async def echo(request: Request) -> Response:
        form = await form_of(request) if request.method == "POST" else {}
        return JSONResponse([request.path_params["id"], request.query_params.get("q"), form])

    app = portal(clients)
    app._app.router.routes.insert(0, Route("/echo/{id}", echo, methods=["GET", "POST"]))  # type: ignore[attr-defined]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://portal"
    ) as web:
        answer = await web.post("/echo/a%00b?q=%00%2500", content=b"note=%00%2500&raw=\0")
    assert answer.json() == ["a b", " %00", {"note": " %00", "raw": " "}]
