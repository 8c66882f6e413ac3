"""Engines for the two databases, set up so that their transactions mean what they say."""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from adapters.sql.database.sqlite import READ, WRITE, open_sqlite
from domain.error import ErrorCode, Refused

BUSY_SECONDS: Final = 30.0
"""How long a SQLite transaction waits for the one that writes."""
CONNECT_SECONDS: Final = 5.0
CONNECTIONS: Final = 15
"""At a time to a SQLite database, by one process; each has a thread of its own."""
READS_ONLY: Final = "seatflow_reads_only"
"""The execution option of a SQLite transaction that need not wait for writers."""


def create_engine(url: str, busy_seconds: float = BUSY_SECONDS) -> AsyncEngine:
    """The engine for `url`; nothing is connected yet.

    Raises Refused: `invalid_input`, when it names neither of the two databases.
    """
    parsed = _parsed(url)
    match parsed.drivername:
        case "sqlite+aiosqlite":
            return _sqlite(parsed, busy_seconds)
        case "postgresql+asyncpg":
            return create_async_engine(
                parsed,
                connect_args={"timeout": CONNECT_SECONDS},
                pool_pre_ping=True,
                hide_parameters=True,
            )
        case other:
            raise Refused(
                ErrorCode.INVALID_INPUT,
                f"The database is {other}: write sqlite+aiosqlite or postgresql+asyncpg.",
            )


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The message would show the password.
        raise Refused(ErrorCode.INVALID_INPUT, "The database URL cannot be read.") from None


def _sqlite(url: URL, busy_seconds: float) -> AsyncEngine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        url,
        connect_args={"timeout": busy_seconds, "async_creator_fn": open_sqlite},
        poolclass=AsyncAdaptedQueuePool,
        pool_size=CONNECTIONS,
        # One beyond them would be made, and set up, for a single transaction.
        max_overflow=0,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _set_up)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver would begin a transaction only at the first write, after the reads
    # that the write relies on: it is told to leave that to us.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get(READS_ONLY, False)
    connection.exec_driver_sql(READ if reads_only else WRITE)
