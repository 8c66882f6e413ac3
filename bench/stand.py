"""What is measured stands here: a real server, a mail server, and a worker for each side.

Every part is a process of its own, so that the operating system says what each has cost.
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
OTHERS_ADMIN = "admin@globex.example"

SEATFLOW: Final = "seatflow"
FLOOR: Final = "floor"

WORKERS: Final[Mapping[str, str]] = {
    SEATFLOW: "from worker import main; main()",
    FLOOR: "from bench.floor import main; main()",
}
"""The programs that are compared."""

_INVITING: Final = {TARGET: ADMIN, OTHER: OTHERS_ADMIN}

_MAIL_SERVER = "from bench.mail_server import main; main()"

UP_WITHIN = timedelta(seconds=30)


@dataclass(frozen=True)
class Side:
    """One of those that are compared, with a store and a worker of its own."""

    name: str
    settings: Settings
    store: SqlStore
    clients: Clients
    worker: Process


@dataclass(frozen=True)
class Stand:
    """Two sides on one Temporal server."""

    temporal: Client
    server: Process
    sides: Mapping[str, Side]


@asynccontextmanager
async def a_stand(workers: Mapping[str, str] = WORKERS) -> AsyncIterator[Stand]:
    """Everything that is needed to compare `workers`, on ports and in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder, ports = Path(name), Ports.free()
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(
                _running(
                    sys.executable,
                    "-c",
                    _MAIL_SERVER,
                    str(ports.smtp),
                    str(folder / "mail"),
                    log=folder / "mail.log",
                )
            )
            server = await parts.enter_async_context(
                _running(
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
            sides = {
                name: await parts.enter_async_context(_side(name, program, folder, ports, temporal))
                for name, program in workers.items()
            }
            yield Stand(temporal=temporal, server=server, sides=sides)


@asynccontextmanager
async def _side(
    name: str, program: str, folder: Path, ports: Ports, temporal: Client
) -> AsyncIterator[Side]:
    settings = Settings(
        database_url=SecretStr(f"sqlite+aiosqlite:///{folder}/{name}.db"),
        smtp_url=SecretStr(f"smtp://{HOST}:{ports.smtp}"),
        secret_key=SecretStr("a secret key for measuring"),
        task_queue=name,
    )
    await set_up_store(settings)
    async with open_store(settings) as store:
        await store.directory.import_(directory(_INVITING, plan="business"))
        environment = {
            "TEMPORAL_ADDRESS": f"{HOST}:{ports.temporal}",
            "SEATFLOW_DATABASE_URL": settings.database_url.get_secret_value(),
            "SEATFLOW_SMTP_URL": settings.smtp_url.get_secret_value(),
            "SEATFLOW_SECRET_KEY": ",".join(settings.secret_keys),
            "SEATFLOW_TASK_QUEUE": settings.task_queue,
        }
        async with _running(
            sys.executable, "-c", program, log=folder / f"{name}.log", **environment
        ) as worker:
            clients = Clients.connected(settings, store, temporal)
            yield Side(name, settings, store, clients, worker)


@asynccontextmanager
async def _running(*command: str, log: Path, **environment: str) -> AsyncIterator[Process]:
    """A process beside the body. Raises RuntimeError, with its log, when it ended by itself."""
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            # Ctrl-C is for us, who stop the others one after the other.
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
    """Connect to a server that is just starting."""
    config = ClientConnectConfig(target_host=f"{HOST}:{ports.temporal}", namespace="default")
    async with asyncio.timeout(UP_WITHIN.total_seconds()):
        while True:
            try:
                return await connect(Settings(), config)
            except Unavailable:
                await asyncio.sleep(0.1)


def directory(owners: Mapping[str, str], *, plan: str) -> Directory:
    """Accounts with nobody but an owner, who has nothing but a profile."""
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


async def free_users(side: Side, names: str, count: int) -> Sequence[str]:
    """Owners of a free account each, who bring nothing but their profile."""
    owners = {f"{names}-{number}": f"{names}-{number}@new.example" for number in range(count)}
    await side.store.directory.import_(directory(owners, plan="free"))
    return list(owners.values())
