"""Engines for SQLite and PostgreSQL."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
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


@dataclass(frozen=True)
class Limits:
    """The times after which PostgreSQL ends a wait, a statement or an idle transaction."""

    lock: timedelta
    statement: timedelta
    idle: timedelta
    """The time between two statements of a transaction; its process may have stopped."""

    @property
    def settings(self) -> Mapping[str, str]:
        """Return the limits as parameters of a PostgreSQL session."""
        return {
            "lock_timeout": _milliseconds(self.lock),
            "statement_timeout": _milliseconds(self.statement),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle),
        }


def _milliseconds(time: timedelta) -> str:
    return f"{time // timedelta(milliseconds=1)}ms"


SHORT: Final = Limits(
    # Locks are held for milliseconds. An activity fails before its timeout of 15 seconds, and is
    # retried; a command reports it within ten seconds.
    lock=timedelta(seconds=5),
    # The slowest statement of a request takes less than a second.
    statement=timedelta(seconds=10),
    # Longer than a pause of the event loop. A suspended process keeps no lock for longer.
    idle=timedelta(seconds=15),
)
"""The limits of every transaction but those of `LONG` and `MIGRATING`."""

LONG: Final = Limits(
    # An import waits for the import before it.
    lock=timedelta(minutes=1),
    statement=timedelta(minutes=10),
    # Between its statements an audit or import computes with thousands of rows.
    idle=timedelta(minutes=10),
)
"""The limits of an operation on the whole store: import, export and audit."""

MIGRATING: Final = Limits(
    # Every statement of the other processes queues behind one that waits for a table.
    lock=timedelta(seconds=10),
    statement=timedelta(hours=1),
    idle=timedelta(hours=1),
)
"""The limits of a migration, which may rewrite whole tables."""

KEEPALIVE_IDLE_SECONDS: Final = 30
"""The silence after which a connection is probed; firewalls drop silent ones after minutes."""
KEEPALIVE_INTERVAL_SECONDS: Final = 10
KEEPALIVE_PROBES: Final = 3
UNACKNOWLEDGED_SECONDS: Final = KEEPALIVE_IDLE_SECONDS + (
    KEEPALIVE_INTERVAL_SECONDS * KEEPALIVE_PROBES
)
"""The time after which a connection ends if sent data is not acknowledged: as for a silent one."""

_SERVER_KEEPALIVES: Final = {
    "tcp_keepalives_idle": str(KEEPALIVE_IDLE_SECONDS),
    "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_SECONDS),
    "tcp_keepalives_count": str(KEEPALIVE_PROBES),
    "tcp_user_timeout": f"{UNACKNOWLEDGED_SECONDS}s",
}
"""Keepalives of the server, which ends the transactions of a process that has gone."""

_CLIENT_KEEPALIVES: Final = {
    "TCP_KEEPIDLE": KEEPALIVE_IDLE_SECONDS,
    "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_SECONDS,
    "TCP_KEEPCNT": KEEPALIVE_PROBES,
    "TCP_USER_TIMEOUT": UNACKNOWLEDGED_SECONDS * 1000,
}
"""Keepalives of this process, by the names of the socket options that the system may have."""


def create_engine(
    url: str, busy_seconds: float = BUSY_TIMEOUT_SECONDS, limits: Limits = SHORT
) -> AsyncEngine:
    """Return an engine for `url`, which connects when it is first used.

    A transaction of SQLite waits `busy_seconds` for another writer; `limits` are those of
    PostgreSQL.

    Raises Refused: `invalid_input`, when the URL names another database.
    """
    parsed = _parsed(url)
    match parsed.drivername:
        case "sqlite+aiosqlite":
            return _sqlite(parsed, busy_seconds)
        case "postgresql+asyncpg":
            return _postgres(parsed, limits)
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


def _postgres(url: URL, limits: Limits) -> AsyncEngine:
    engine = create_async_engine(
        url,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "server_settings": {**limits.settings, **_SERVER_KEEPALIVES},
        },
        pool_pre_ping=True,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _keep_alive)
    return engine


def _keep_alive(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # asyncpg has no option for it, and shows the transport nowhere else.
    opened = connection.driver_connection._transport.get_extra_info("socket")
    if opened.family == socket.AF_UNIX:
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _CLIENT_KEEPALIVES.items():
        if option := getattr(socket, name, None):
            opened.setsockopt(socket.IPPROTO_TCP, option, value)


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
