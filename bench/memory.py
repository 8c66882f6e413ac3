"""What a pending invitation costs in a worker's cache: `python -m bench.memory`.

Starts a worker of its own on a real server, lets it warm up, then divides what its memory
grows by through the number of invitations it holds.
"""

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import Process
from pathlib import Path

from pydantic import SecretStr
from temporalio.client import Client

from domain.account import Directory
from domain.invitation import Person
from runtime.client import SeatflowClient
from runtime.mailbox import MailSink
from runtime.settings import Settings
from runtime.wiring import open_store, seatflow_client, set_up_store
from tests.world import temporal_server

ADMIN = "admin@acme.example"
WARM_UP = 1_000
MEASURED = 2_000
ROOT = Path(__file__).parent.parent


async def main() -> None:
    """Measure, and print one JSON document."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            temporal_server() as environment,
            MailSink(Path(folder) / "mail", port=0) as sink,
        ):
            settings = Settings(
                database_url=SecretStr(f"sqlite+aiosqlite:///{folder}/seatflow.db"),
                smtp_url=SecretStr(f"smtp://127.0.0.1:{sink.port}"),
                secret_key=SecretStr("a secret key for measuring"),
            )
            await set_up_store(settings)
            async with open_store(settings) as store:
                client = seatflow_client(settings, store, lambda: _ready(environment.client))
                await store.directory.import_(_directory())
                worker = await _worker(
                    settings, environment.client.service_client.config.target_host
                )
                try:
                    await _invite(client, "warm", WARM_UP)
                    before = _resident_kib(worker.pid)
                    await _invite(client, "measured", MEASURED)
                    after = _resident_kib(worker.pid)
                finally:
                    worker.terminate()
                    await worker.wait()
    print(
        json.dumps(
            {"invitations": MEASURED, "kib_each": round((after - before) / MEASURED, 1)}, indent=2
        )
    )


async def _invite(client: SeatflowClient, name: str, count: int) -> None:
    people = [Person(email=f"{name}{number}@new.example") for number in range(count)]
    results = await client.invite("acme", people, ADMIN)
    await client.wait_until_out(results)
    # The last workflow tasks are still being answered.
    await asyncio.sleep(2)


async def _worker(settings: Settings, address: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "worker.py",
        cwd=ROOT,
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": address,
            "SEATFLOW_DATABASE_URL": settings.database_url.get_secret_value(),
            "SEATFLOW_SMTP_URL": settings.smtp_url.get_secret_value(),
            "SEATFLOW_SECRET_KEY": ",".join(settings.secret_keys),
        },
    )


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


async def _ready(client: Client) -> Client:
    return client


def _directory() -> Directory:
    return Directory.model_validate(
        {
            "accounts": [
                {
                    "id": "acme",
                    "name": "Acme",
                    "plan": "business",
                    "currency": "EUR",
                    "time_zone": "Europe/Berlin",
                    "country": "DE",
                    "collection": "autopay",
                    "users": [{"email": ADMIN, "role": "owner"}],
                }
            ]
        }
    )


if __name__ == "__main__":
    asyncio.run(main())
