"""Wait times of the database."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from adapters.sql.database.transaction import reading, writing
from domain.error import Refused
from runtime.settings import Settings
from runtime.store import WORKER_BUSY_SECONDS, open_store, set_up_store


async def test_a_command_waits_for_the_database_for_less_time_than_a_worker(tmp_path: Path) -> None:
    """A command reports a busy database within ten seconds; a worker waits longer."""
    url = f"sqlite+aiosqlite:///{tmp_path}/seatflow.db"
    settings = Settings(
        database_url=SecretStr(url), secret_key=SecretStr("a key that is long enough for tests")
    )
    await set_up_store(settings)
    waits = list[float]()
    for opened in (open_store(settings), open_store(settings, WORKER_BUSY_SECONDS)):
        async with opened as store, reading(store.engine) as session:
            waits.append((await session.scalar(text("PRAGMA busy_timeout"))) / 1000)
    command, worker = waits
    assert command < 10 < worker


async def test_another_id_key_is_refused_before_the_database_is_migrated(tmp_path: Path) -> None:
    """SEATFLOW_ID_KEY: a process with another one changes nothing."""
    url = SecretStr(f"sqlite+aiosqlite:///{tmp_path}/seatflow.db")
    settings = Settings(
        database_url=url, secret_key=SecretStr("a key that is long enough for tests")
    )
    await set_up_store(settings)
    async with open_store(settings) as store, writing(store.engine) as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    other = settings.model_copy(update={"given_id_key": SecretStr("another")})
    with pytest.raises(Refused, match="SEATFLOW_ID_KEY"):
        await set_up_store(other)
