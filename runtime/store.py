"""The store, as the settings name it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import BUSY_SECONDS, create_engine
from adapters.sql.database.schema import SettingRow
from adapters.sql.store import SqlStore
from domain.error import Unavailable
from runtime.settings import Settings

FOR_COMMANDS = 6.0
"""Seconds that a command waits for who writes to SQLite.

Within ten it says what is wrong, and on a busy machine it has needed some to begin with.
"""

FOR_WORKERS = BUSY_SECONDS
"""Nobody waits for them, and trying again costs more than waiting."""


async def set_up_store(settings: Settings) -> None:
    """Bring the database to the newest revision, and keep whose id key it has; may be repeated.

    Raises Unavailable; `Refused(invalid_input)` when another id key is kept.
    """
    # Only who migrates waits until the migrations are loaded.
    from adapters.sql.migrations import upgrade

    async with _engine(settings) as engine:
        with _asking_the_database():
            await upgrade(engine)
        await SqlStore(engine).keep_id_key(settings.id_key_fingerprint)


@asynccontextmanager
async def open_store(
    settings: Settings, busy_seconds: float = FOR_COMMANDS
) -> AsyncIterator[SqlStore]:
    """The store, as long as it is needed; on SQLite it waits `busy_seconds` for who writes.

    Raises Unavailable when the database does not answer or was never set up.
    """
    async with _engine(settings, busy_seconds) as engine:
        with _asking_the_database():
            async with engine.connect() as connection:
                ready = await connection.run_sync(_has_tables)
        if not ready:
            raise Unavailable("The database was never set up: run `seatflow setup`.")
        yield SqlStore(engine)


@asynccontextmanager
async def _engine(
    settings: Settings, busy_seconds: float = FOR_COMMANDS
) -> AsyncIterator[AsyncEngine]:
    with _asking_the_database():
        engine = create_engine(settings.database_url.get_secret_value(), busy_seconds)
    try:
        yield engine
    finally:
        await engine.dispose()


@contextmanager
def _asking_the_database() -> Iterator[None]:
    try:
        yield
    except DBAPIError as failure:
        # The whole error would show the statement and what was in it.
        raise Unavailable(f"The database does not answer: {failure.orig}") from failure
    except OSError as failure:
        reason = failure.strerror or str(failure) or "no answer in time"
        raise Unavailable(f"The database is not reachable: {reason}") from failure


def _has_tables(connection: Connection) -> bool:
    return inspect(connection).has_table(SettingRow.__tablename__)
