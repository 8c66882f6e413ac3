"""The rotation of each key while invitations are open, with workers and portals as processes."""

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr
from temporalio.envconfig import ClientConnectConfig

from devstack.ports import free_port
from domain.error import ErrorCode, Refused
from domain.policy import Policy
from runtime.clients import Clients
from runtime.settings import Settings
from runtime.temporal import connect
from tests.test_worker import a_process, a_worker
from tests.world import ADMIN, JANE, SECRET_KEY, World

pytestmark = pytest.mark.full

NEW = "the secret key that takes the place of a leaked one"
ONE = f"one:{base64.b64encode(bytes(32)).decode()}"
TWO = f"two:{base64.b64encode(bytes(range(32))).decode()}"
BOB, CLEO = "bob@example.com", "cleo@example.com"


@asynccontextmanager
async def step(world: World, **settings: SecretStr | bool) -> AsyncIterator[World]:
    """Run a worker and the clients with these settings."""
    changed = world.settings.model_copy(
        update={"policy": Policy(resend_cooldown_seconds=0), "wait_seconds": 60, **settings}
    )
    address = world.temporal.client.service_client.config.target_host
    client = await connect(changed, ClientConnectConfig(target_host=address))
    clients = Clients.connected(changed, world.store, client)
    stepped = replace(world, settings=changed, clients=clients)
    async with a_worker(stepped, **keys_of(changed)):
        yield stepped


def keys_of(settings: Settings) -> dict[str, str]:
    """Return the variables of a process with the keys of these settings."""
    variables = {
        "SEATFLOW_ID_KEY": settings.given_id_key,
        "SEATFLOW_ENCRYPTION_KEYS": settings.encryption_keys,
        "SEATFLOW_ACCEPT_PLAINTEXT": SecretStr(str(settings.accept_plaintext)),
    }
    return {name: value.get_secret_value() for name, value in variables.items() if value}


async def page_of(world: World, *links: str | None) -> list[tuple[int, str | None]]:
    """Open links in a portal that is a process with the keys of the step.

    Return the status and the value of `data-state` of each page.
    """
    port = free_port()
    transport = httpx.AsyncHTTPTransport(retries=20)
    arguments = ("starter.py", "portal", "--port", str(port))
    async with (
        a_process(world, *arguments, **keys_of(world.settings)),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=transport) as web,
    ):
        pages = [await web.get(urlsplit(link or "").path) for link in links]
    states = [re.search('data-state="([a-z]+)"', page.text) for page in pages]
    return [
        (page.status_code, state[1] if state else None)
        for page, state in zip(pages, states, strict=True)
    ]


async def key_of_start(world: World, email: str) -> bytes:
    """Return the id of the key that encrypted the input of the person's workflow."""
    workflow_id = (await world.show(email)).workflow_id
    history = await world.temporal.client.get_workflow_handle(workflow_id).fetch_history()
    [started] = history.events[0].workflow_execution_started_event_attributes.input.payloads
    return started.metadata.get("encryption-key-id", b"")


async def refusal(world: World, link: str) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        await world.client.accept_link(link, None, None)
    return refused.value.code


async def test_a_leaked_secret_key_is_dropped_while_invitations_are_open(
    world_without_worker: World,
) -> None:
    """SEATFLOW_SECRET_KEY, SEATFLOW_ID_KEY: workflow ids stay, links of the old key end."""
    world = world_without_worker
    async with step(world) as before:
        invited = await before.pending(JANE)
        link = invited.link or ""
    old = SECRET_KEY.get_secret_value()
    async with step(world, secret_key=SecretStr(f"{NEW},{old}")) as both:
        await both.client.accept_link((await both.pending(BOB)).link or "", BOB, None)
        assert (await both.client.opened(link))[1].invitation.email == JANE
        cleo = await both.pending(CLEO)
        assert await page_of(both, link, cleo.link) == [(200, "pending")] * 2
        id_key = SecretStr(f"hex:{both.settings.id_key.hex()}")
    async with step(world, secret_key=SecretStr(NEW), given_id_key=id_key) as after:
        assert await refusal(after, link) is ErrorCode.NOT_FOUND
        assert (await after.show(JANE)).workflow_id == invited.workflow_id
        assert (await after.invite(JANE)).result == "already_invited"
        await after.client.resend(after.account, JANE, ADMIN)
        new = (await after.show(JANE)).link
        assert await page_of(after, link, cleo.link, new) == [
            (404, None),
            (200, "pending"),
            (200, "pending"),
        ]
        await after.client.accept_link(new or "", JANE, None)
        await after.until(JANE, "completed")
        await after.until(BOB, "completed")
        assert await after.audit() == ()


async def test_encryption_keys_are_introduced_and_rotated_while_invitations_are_open(
    world_without_worker: World,
) -> None:
    """SEATFLOW_ENCRYPTION_KEYS, SEATFLOW_ACCEPT_PLAINTEXT: each step of the documented order."""
    world = world_without_worker
    async with step(world) as plain:
        await plain.pending(JANE)
    async with step(world, encryption_keys=SecretStr(ONE), accept_plaintext=True) as introducing:
        await introducing.pending(BOB)
        await introducing.client.accept(world.account, JANE)
        await introducing.until(JANE, "completed")
        assert await key_of_start(introducing, JANE) == b""
        assert await key_of_start(introducing, BOB) == b"one"
    async with (
        step(world, encryption_keys=SecretStr(f"{ONE},{TWO}")),
        step(world, encryption_keys=SecretStr(f"{TWO},{ONE}")) as rotated,
    ):
        # Either worker may serve it.
        assert await page_of(rotated, (await rotated.show(BOB)).link) == [(200, "pending")]
        await rotated.client.accept(world.account, BOB)
        await rotated.until(BOB, "completed")
    async with step(world, encryption_keys=SecretStr(f"{TWO},{ONE}")) as rotated:
        await rotated.pending(CLEO)
        assert await key_of_start(rotated, CLEO) == b"two"
    async with step(world, encryption_keys=SecretStr(TWO)) as after:
        assert await page_of(after, (await after.show(CLEO)).link) == [(200, "pending")]
        await after.client.accept(world.account, CLEO)
        await after.until(CLEO, "completed")
        assert await after.audit() == ()
