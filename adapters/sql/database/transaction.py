"""Transactions, and the order in which they lock.

SQLite lets one write at a time. On PostgreSQL rows are locked in this order, by whoever
locks more than one: invitations (by id) or refund, person (by address), account (by id).
What must be done `alone` is waited for before all of them. A pool, invoices, orders and
money belong to their account's lock, a membership to its person's.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.engine import READS_ONLY
from adapters.sql.database.schema import Base
from domain.error import Unavailable

_SNAPSHOT: Final[Mapping[str, Mapping[str, object]]] = {
    "sqlite": {READS_ONLY: True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}

_AT_ONCE: Final = 5000
"""Values in one statement: PostgreSQL takes at most 32,767 parameters."""


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """All or nothing. Raises Unavailable when the database does not answer."""
    try:
        async with (
            AsyncSession(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session
    except (DataError, IntegrityError, ProgrammingError):
        # It did answer: the mistake is ours.
        raise
    except (DBAPIError, OSError, TimeoutError) as error:
        # The whole error would show the statement and what was in it.
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise Unavailable(f"The database does not answer: {reason}") from error


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """One moment of the whole store. Raises Unavailable as `writing` does."""
    async with writing(engine) as session:
        await session.connection(execution_options=_SNAPSHOT[engine.dialect.name])
        yield session


async def alone(session: AsyncSession, what: str) -> None:
    """Wait until no other transaction does `what`; nobody else is held up."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(what))))


async def alone_about(session: AsyncSession, email: str) -> None:
    """Wait until nobody else claims or accepts an invitation of this person (INV-14).

    Whom no account knows yet has no row to lock.
    """
    await alone(session, f"invitations of {email}")


async def insert_missing(
    session: AsyncSession, table: type[Base], rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert those of `rows` whose key is not there yet."""
    if rows:
        postgres = session.get_bind().dialect.name == "postgresql"
        insert = postgresql.insert(table) if postgres else sqlite.insert(table)
        await session.execute(insert.on_conflict_do_nothing(), list(rows))


def batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """The values in portions that one statement can name."""
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
