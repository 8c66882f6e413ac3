"""Wait times of the database."""

from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import text

from adapters.sql.database.transaction import reading
from runtime.settings import Settings
from runtime.store import WORKER_BUSY_SECONDS, open_store, set_up_store


async def test_a_command_waits_for_the_database_for_less_time_than_a_worker(tmp_path: Path) -> None:
    """A command reports a busy database within ten seconds; a worker waits longer."""
    url = f"sqlite+aiosqlite:///{tmp_path}/seatflow.db"
    settings = Settings(database_url=SecretStr(url), secret_key=SecretStr("a key"))
    await set_up_store(settings)
    waits = list[float]()
    for opened in (open_store(settings), open_store(settings, WORKER_BUSY_SECONDS)):
        async with opened as store, reading(store.engine) as session:
            waits.append((await session.scalar(text("PRAGMA busy_timeout"))) / 1000)
    command, worker = waits
    assert command < 10 < worker
