"""Benchmark environment: a Temporal server, a mail server and a worker for each variant.

Every part is a separate process, so that the operating system counts the CPU time of each.
"""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig

from adapters.sql.store import SqlStore
from devstack.ports import HOST, Ports
from devstack.stack import SERVER_OPTIONS
from domain.account import Directory
from domain.error import Unavailable
from runtime.clients import Clients
from runtime.settings import Settings
from runtime.store import open_store, set_up_store
from runtime.temporal import connect, register_search_attributes

ROOT = Path(__file__).parent.parent

TARGET = "acme"
ADMIN = "admin@acme.example"
OTHER = "globex"
OTHER_ADMIN = "admin@globex.example"

SEATFLOW: Final = "seatflow"
BASELINE: Final = "baseline"

WORKERS: Final[Mapping[str, str]] = {
    SEATFLOW: "from worker import main; main()",
    BASELINE: "from bench.baseline import main; main()",
}
"""The worker program of each variant."""

_INVITING_ACCOUNTS: Final = {TARGET: ADMIN, OTHER: OTHER_ADMIN}

_MAIL_SERVER = "from bench.mail_server import main; main()"

START_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True)
class Variant:
    """One of the compared implementations, with a store and a worker of its own."""

    name: str
    settings: Settings
    store: SqlStore
    clients: Clients
    worker: Process


@dataclass(frozen=True)
class Environment:
    """The variants on one Temporal server."""

    temporal: Client
    server: Process
    variants: Mapping[str, Variant]


@asynccontextmanager
async def open_environment(workers: Mapping[str, str] = WORKERS) -> AsyncIterator[Environment]:
    """Start the servers and `workers`, on free ports and in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder, ports = Path(name), Ports.free()
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(
                _run_process(
                    sys.executable,
                    "-c",
                    _MAIL_SERVER,
                    str(ports.smtp),
                    str(folder / "mail"),
                    log=folder / "mail.log",
                )
            )
            server = await parts.enter_async_context(
                _run_process(
                    str(Path(sys.executable).with_name("temporal")),
                    "server",
                    "start-dev",
                    f"--ip={HOST}",
                    f"--port={ports.temporal}",
                    f"--ui-port={ports.ui}",
                    f"--db-filename={folder / 'temporal.db'}",
                    *SERVER_OPTIONS,
                    log=folder / "temporal.log",
                )
            )
            temporal = await _connected(ports)
            await register_search_attributes(temporal)
            variants = {
                name: await parts.enter_async_context(
                    _open_variant(name, program, folder, ports, temporal)
                )
                for name, program in workers.items()
            }
            yield Environment(temporal=temporal, server=server, variants=variants)


@asynccontextmanager
async def _open_variant(
    name: str, program: str, folder: Path, ports: Ports, temporal: Client
) -> AsyncIterator[Variant]:
    settings = Settings(
        database_url=SecretStr(f"sqlite+aiosqlite:///{folder}/{name}.db"),
        smtp_url=SecretStr(f"smtp://{HOST}:{ports.smtp}"),
        secret_key=SecretStr("a secret key of the measurements that is long enough"),
        task_queue=name,
    )
    await set_up_store(settings)
    async with open_store(settings) as store:
        await store.directory.import_(directory(_INVITING_ACCOUNTS, plan="business"))
        variables = {
            "TEMPORAL_ADDRESS": f"{HOST}:{ports.temporal}",
            "SEATFLOW_DATABASE_URL": settings.database_url.get_secret_value(),
            "SEATFLOW_SMTP_URL": settings.smtp_url.get_secret_value(),
            "SEATFLOW_SECRET_KEY": ",".join(settings.secret_keys),
            "SEATFLOW_TASK_QUEUE": settings.task_queue,
        }
        async with _run_process(
            sys.executable, "-c", program, log=folder / f"{name}.log", **variables
        ) as worker:
            clients = Clients.connected(settings, store, temporal)
            yield Variant(name, settings, store, clients, worker)


@asynccontextmanager
async def _run_process(*command: str, log: Path, **variables: str) -> AsyncIterator[Process]:
    """Run a process while the context is open.

    Raises RuntimeError with its log when it ended before that.
    """
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C must not reach the children: they are stopped one after the other.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        ended = process.returncode is not None
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if ended:
            raise RuntimeError(log.read_text(encoding="utf-8"))


async def _connected(ports: Ports) -> Client:
    """Connect to the server, which may still be starting."""
    config = ClientConnectConfig(target_host=f"{HOST}:{ports.temporal}", namespace="default")
    async with asyncio.timeout(START_TIMEOUT.total_seconds()):
        while True:
            try:
                return await connect(Settings(), config)
            except Unavailable:
                await asyncio.sleep(0.1)


def directory(owners: Mapping[str, str], *, plan: str) -> Directory:
    """Return accounts with an owner as the only user, who has no data but a profile."""
    return Directory.model_validate(
        {
            "accounts": [
                {
                    "id": account,
                    "name": account.title(),
                    "plan": plan,
                    "currency": "EUR",
                    "time_zone": "Europe/Berlin",
                    "country": "DE",
                    "collection": "autopay",
                    "users": [{"email": owner, "role": "owner"}],
                }
                for account, owner in owners.items()
            ]
        }
    )


async def add_free_users(variant: Variant, names: str, count: int) -> Sequence[str]:
    """Import free accounts with one user each; return the addresses of the users."""
    owners = {f"{names}-{number}": f"{names}-{number}@new.example" for number in range(count)}
    await variant.store.directory.import_(directory(owners, plan="free"))
    return list(owners.values())
