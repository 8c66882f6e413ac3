"""Transactions, and the order in which they lock.

SQLite allows one writer at a time. On PostgreSQL a transaction that locks several rows locks
them in this order: invitations (by id) or refund, person (by address), accounts (by id).
Advisory locks come first. The lock of an account covers its pools, invoices, orders and
money; the lock of a person covers the memberships.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.engine import READ_ONLY
from adapters.sql.database.schema import Base
from domain.error import Unavailable

_SNAPSHOT: Final[Mapping[str, Mapping[str, object]]] = {
    "sqlite": {READ_ONLY: True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}

_MAX_PARAMETERS: Final = 5000
"""Values in one statement: PostgreSQL accepts at most 32,767 parameters."""


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """Open a session in a transaction. Raises Unavailable when the database does not answer."""
    try:
        async with (
            AsyncSession(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session
    except (DataError, IntegrityError, ProgrammingError):
        # The database is available; the statement is wrong.
        raise
    except (DBAPIError, OSError, TimeoutError) as error:
        # The text of the whole error contains the statement and its values.
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise Unavailable(f"The database does not answer: {reason}") from error


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """Open a session that reads one snapshot. Raises Unavailable as `writing` does."""
    async with writing(engine) as session:
        await session.connection(execution_options=_SNAPSHOT[engine.dialect.name])
        yield session


async def advisory_lock(session: AsyncSession, name: str) -> None:
    """Lock `name` until the transaction ends; SQLite needs no lock, as it has one writer."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))


async def advisory_lock_on_invitee(session: AsyncSession, email: str) -> None:
    """Lock the claims and acceptances of one person (INV-14).

    A person who is new to the store has no row to lock.
    """
    await advisory_lock(session, f"invitations of {email}")


async def insert_missing(
    session: AsyncSession, table: type[Base], rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert those of `rows` whose key does not exist."""
    if rows:
        postgres = session.get_bind().dialect.name == "postgresql"
        insert = postgresql.insert(table) if postgres else sqlite.insert(table)
        await session.execute(insert.on_conflict_do_nothing(), list(rows))


def chunked(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the values in batches that fit in one statement."""
    return (
        values[start : start + _MAX_PARAMETERS] for start in range(0, len(values), _MAX_PARAMETERS)
    )
