"""Engines for SQLite and PostgreSQL."""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from adapters.private_file import make_private_file, make_private_folder
from adapters.sql.database.sqlite import READ, WRITE, open_sqlite
from domain.error import ErrorCode, Refused

BUSY_TIMEOUT_SECONDS: Final = 30.0
"""The time that a SQLite transaction waits for another writer."""
CONNECT_SECONDS: Final = 5.0
CONNECTIONS: Final = 15
"""The connections of one process to a SQLite database; each has its own thread."""
READ_ONLY: Final = "seatflow_reads_only"
"""The execution option of a SQLite transaction that does not wait for writers."""


def create_engine(url: str, busy_seconds: float = BUSY_TIMEOUT_SECONDS) -> AsyncEngine:
    """Return an engine for `url`, which connects when it is first used.

    Raises Refused: `invalid_input`, when the URL names another database.
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
                f"Unknown database {other}; use sqlite+aiosqlite or postgresql+asyncpg.",
            )


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The message of the error contains the password.
        raise Refused(ErrorCode.INVALID_INPUT, "The database URL cannot be read.") from None


def _sqlite(url: URL, busy_seconds: float) -> AsyncEngine:
    if url.database and url.database != ":memory:":
        file = Path(url.database)
        make_private_folder(file.parent)
        # SQLite gives the files beside it, for its journal, the same mode.
        make_private_file(file)
    engine = create_async_engine(
        url,
        connect_args={"timeout": busy_seconds, "async_creator_fn": open_sqlite},
        poolclass=AsyncAdaptedQueuePool,
        pool_size=CONNECTIONS,
        # An overflow connection would be opened and set up for a single transaction.
        max_overflow=0,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _configure)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # Without this the driver begins a transaction only at the first write, after the reads
    # that the write depends on. `_begin` begins it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql(READ if reads_only else WRITE)
