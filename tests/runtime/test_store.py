"""Opening the database: wait times, and the revision of its schema."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from adapters.sql.database.transaction import reading, writing
from domain.error import Refused, Unavailable
from runtime.settings import Settings
from runtime.store import WORKER_BUSY_SECONDS, open_store, set_up_store

ROOT = Path(__file__).parents[2]
SECRET = SecretStr("a key that is long enough for tests")


async def test_a_command_waits_for_the_database_for_less_time_than_a_worker(tmp_path: Path) -> None:
    """A command reports a busy database within ten seconds; a worker waits longer."""
    url = f"sqlite+aiosqlite:///{tmp_path}/seatflow.db"
    settings = Settings(database_url=SecretStr(url), secret_key=SECRET)
    await set_up_store(settings)
    waits = list[float]()
    for opened in (open_store(settings), open_store(settings, WORKER_BUSY_SECONDS)):
        async with opened as store, reading(store.engine) as session:
            waits.append((await session.scalar(text("PRAGMA busy_timeout"))) / 1000)
    command, worker = waits
    assert command < 10 < worker


@pytest.mark.parametrize(
    ("revision", "error", "remedy"),
    [
        ("0001", Unavailable, "run `seatflow setup`"),
        ("9999", Refused, "run the newer release"),
    ],
)
async def test_a_database_of_another_revision_is_refused(
    tmp_path: Path, revision: str, error: type[Exception], remedy: str
) -> None:
    """Contract, processes: status 3 until `setup` has run; status 2 for a release that is old."""
    url = f"sqlite+aiosqlite:///{tmp_path}/seatflow.db"
    settings = Settings(database_url=SecretStr(url), secret_key=SECRET)
    await set_up_store(settings)
    async with open_store(settings) as store, writing(store.engine) as session:
        await session.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    with pytest.raises(error, match=remedy):
        async with open_store(settings):
            pass


@pytest.mark.parametrize(("revision", "status"), [("0001", 3), ("9999", 2)])
@pytest.mark.parametrize("process", ["worker.py", "starter.py export", "starter.py portal"])
def test_no_process_starts_on_a_database_of_another_revision(
    tmp_path: Path, process: str, revision: str, status: int
) -> None:
    """Contract, processes: neither a worker nor a command nor the portal."""
    file, secret = tmp_path / "seatflow.db", "a key of at least thirty-two characters"
    url = f"sqlite+aiosqlite:///{file}"
    settings = Settings(database_url=SecretStr(url), secret_key=SecretStr(secret))
    asyncio.run(set_up_store(settings))
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
    ran = subprocess.run(
        [sys.executable, *process.split()],
        env={**os.environ, "SEATFLOW_DATABASE_URL": url, "SEATFLOW_SECRET_KEY": secret},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert f"has revision {revision}" in " ".join(ran.stderr.split())
    assert ran.returncode == status


async def test_another_id_key_is_refused_before_the_database_is_migrated(tmp_path: Path) -> None:
    """SEATFLOW_ID_KEY: a process with another one changes nothing."""
    url = SecretStr(f"sqlite+aiosqlite:///{tmp_path}/seatflow.db")
    settings = Settings(database_url=url, secret_key=SECRET)
    await set_up_store(settings)
    async with open_store(settings) as store, writing(store.engine) as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    other = settings.model_copy(update={"given_id_key": SecretStr("another")})
    with pytest.raises(Refused, match="SEATFLOW_ID_KEY"):
        await set_up_store(other)
