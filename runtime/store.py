"""The store named in the settings."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import Connection, Text, column, inspect, select, table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters import stripe_amount
from adapters.private_file import make_folder_private
from adapters.sql.database.engine import BUSY_TIMEOUT_SECONDS, create_engine
from adapters.sql.database.schema import REVISION
from adapters.sql.store import SqlStore
from domain.error import ErrorCode, Refused, Unavailable
from domain.quote import Returnable, in_full
from runtime.settings import Settings

COMMAND_BUSY_SECONDS = 6.0
"""Seconds that a command waits for the write lock of SQLite.

The command reports an error within ten seconds, start-up on a busy machine included.
"""

WORKER_BUSY_SECONDS = BUSY_TIMEOUT_SECONDS
"""Longer than a command's: nobody waits for a worker's write, and a retry costs more."""

_VERSION = table("alembic_version", column("version_num", Text))
"""Alembic's own table; its library is loaded for `setup` alone."""


async def set_up_store(settings: Settings) -> None:
    """Migrate the database, and record the fingerprint of the id key; may be repeated.

    Raises Unavailable; `Refused(invalid_input)` when another id key is recorded.
    """
    # Only this function loads the migrations.
    from adapters.sql.migrations import upgrade

    if settings.state_folder.is_dir():
        make_folder_private(settings.state_folder)
    async with _engine(settings) as engine:
        with _database_errors_as_unavailable():
            async with engine.connect() as connection:
                ready = await connection.run_sync(_revision) is not None
            store = SqlStore(engine)
            if ready:
                # Before the upgrade, so that a refused process changes nothing.
                await store.check_id_key(settings.id_key_fingerprint)
            await upgrade(engine)
            await store.keep_id_key(settings.id_key_fingerprint)


@asynccontextmanager
async def open_store(
    settings: Settings, busy_seconds: float = COMMAND_BUSY_SECONDS
) -> AsyncIterator[SqlStore]:
    """Open the store; on SQLite it waits `busy_seconds` for the write lock.

    Raises Unavailable when the database does not answer or is not set up for this release;
    `Refused(invalid_input)` when it is set up for a newer one.
    """
    async with _engine(settings, busy_seconds) as engine:
        with _database_errors_as_unavailable():
            async with engine.connect() as connection:
                revision = await connection.run_sync(_revision)
        _require_revision(revision)
        yield SqlStore(engine, returnable_by(settings))


def returnable_by(settings: Settings) -> Returnable:
    """Return the amounts that the payment provider in the settings can return (QUO-3)."""
    return stripe_amount.returnable if settings.billing == "stripe" else in_full


def _require_revision(revision: str | None) -> None:
    if revision is None:
        raise Unavailable("The database was never set up: run `seatflow setup`.")
    if revision < REVISION:
        raise Unavailable(
            f"The database has revision {revision}, and this release of Seatflow needs "
            f"{REVISION}: run `seatflow setup`."
        )
    if revision > REVISION:
        raise Refused(
            ErrorCode.INVALID_INPUT,
            f"The database has revision {revision}, and this release of Seatflow knows "
            f"{REVISION}: run the newer release that has set it up.",
        )


@asynccontextmanager
async def _engine(
    settings: Settings, busy_seconds: float = COMMAND_BUSY_SECONDS
) -> AsyncIterator[AsyncEngine]:
    with _database_errors_as_unavailable():
        engine = create_engine(settings.database_url.get_secret_value(), busy_seconds)
    try:
        yield engine
    finally:
        await engine.dispose()


@contextmanager
def _database_errors_as_unavailable() -> Iterator[None]:
    try:
        yield
    except DBAPIError as failure:
        # The text of the whole error contains the statement with its values.
        raise Unavailable(f"The database does not answer: {failure.orig}") from failure
    except OSError as failure:
        reason = failure.strerror or str(failure) or "no answer in time"
        raise Unavailable(f"The database is not reachable: {reason}") from failure


def _revision(connection: Connection) -> str | None:
    """Return the revision of the database; None if it was never set up."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(select(_VERSION.c.version_num))
