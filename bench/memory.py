"""What a pending invitation costs in a worker's cache: `python -m bench.memory`.

Workers of their own on a real server, untouched by the measuring: no collection or trimming
is asked of them. Each warms up first; what an invitation costs is the slope of its worker's
memory over the number it holds. In turns with it, `bench/floor.py` shows what the least
workflow with the same activity, upsert and timer costs.
"""

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import Process
from pathlib import Path
from statistics import linear_regression

from pydantic import SecretStr
from temporalio.client import Client

from domain.account import Directory
from domain.invitation import Person
from runtime.client import SeatflowClient
from runtime.clients import seatflow_client
from runtime.mailbox import MailSink
from runtime.settings import Settings
from runtime.store import open_store, set_up_store
from tests.world import temporal_server

ADMIN = "admin@acme.example"
ROUNDS = 2
WARM_UP = 1_000
STEPS = 4
STEP = 500
ROOT = Path(__file__).parent.parent
WORKERS = {
    "floor": "from bench.floor import main; main()",
    "invitation": "from worker import main; main()",
}
"""The programs that are compared."""


async def main() -> None:
    """Measure, and print one JSON document."""
    rounds = [
        {name: await _measure(program) for name, program in WORKERS.items()} for _ in range(ROUNDS)
    ]
    print(json.dumps({"kib_each": rounds, "invitations": STEPS * STEP}, indent=2))


async def _measure(program: str) -> dict[str, float]:
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
                address = environment.client.service_client.config.target_host
                worker = await _worker(program, settings, address)
                try:
                    return await _slopes(client, worker.pid)
                finally:
                    worker.terminate()
                    await worker.wait()


async def _slopes(client: SeatflowClient, pid: int) -> dict[str, float]:
    await _invite(client, "warm", WARM_UP)
    samples = [_memory(pid)]
    for step in range(STEPS):
        await _invite(client, f"measured{step}", STEP)
        samples.append(_memory(pid))
    held = [number * STEP for number in range(STEPS + 1)]
    return {
        kind: round(linear_regression(held, [sample[kind] for sample in samples]).slope, 1)
        for kind in samples[0]
    }


async def _invite(client: SeatflowClient, name: str, count: int) -> None:
    people = [Person(email=f"{name}-{number}@new.example") for number in range(count)]
    results = await client.invite("acme", people, ADMIN)
    await client.wait_until_out(results)
    # The last workflow tasks are still being answered.
    await asyncio.sleep(3)


async def _worker(program: str, settings: Settings, address: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=ROOT,
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": address,
            "SEATFLOW_DATABASE_URL": settings.database_url.get_secret_value(),
            "SEATFLOW_SMTP_URL": settings.smtp_url.get_secret_value(),
            "SEATFLOW_SECRET_KEY": ",".join(settings.secret_keys),
        },
    )


def _memory(pid: int) -> dict[str, int]:
    """Resident, and the part of it that nobody shares, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return {"resident": kib["Rss"], "unshared": kib["Private_Clean"] + kib["Private_Dirty"]}


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
