"""Transactions, and the order in which they lock.

SQLite allows one writer at a time. On PostgreSQL a transaction that locks several rows locks
them in this order: invitations (by id) or refund, person (by address), accounts (by id).
Advisory locks come first. The lock of an account covers its pools, invoices, orders and
money; the lock of a person covers the memberships.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from sqlalchemy import Executable, func, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    StatementError,
    TimeoutError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.engine import READ_ONLY, SHORT, Limits
from adapters.sql.database.schema import Base, SettingRow
from domain.address import mask_all
from domain.error import ErrorCode, Refused, Unavailable

_SNAPSHOT: Final[Mapping[str, Mapping[str, object]]] = {
    "sqlite": {READ_ONLY: True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}

IMPORT_LOCK: Final = "import"
"""The advisory lock of imports, and of changes that an import may contradict."""

_MAX_PARAMETERS: Final = 5000
"""Values in one statement: PostgreSQL accepts at most 32,767 parameters."""

_MAX_DIGITS: Final = 9
"""Decimals of a number that fits into every integer column."""

_MAX_REASON_LENGTH: Final = 200
"""Characters of a database's message that errors repeat."""

_DRIVER_CLASS: Final = re.compile(r"<class '[^']*'>: ")
"""The beginning of the messages of asyncpg's errors."""


RESTORED: Final = "restored"
"""The setting that marks a restored database, until it was reconciled (OPS-6)."""

acts_for_worker: Final = ContextVar("acts_for_worker", default=False)
"""True in the work of a worker, which must change nothing in a restored database."""


class DatabaseRestored(Unavailable):
    """The database was restored and is not reconciled yet: nothing was changed."""

    def __init__(self) -> None:
        super().__init__("The database was restored: work waits for `seatflow reconcile --fix`.")


class StatementFailed(Exception):
    """A statement that the database cannot carry out: a defect. Nothing was changed."""


_IS_RESTORED: Final = select(SettingRow.key).where(SettingRow.key == RESTORED)


@asynccontextmanager
async def writing(engine: AsyncEngine, limits: Limits = SHORT) -> AsyncIterator[AsyncSession]:
    """Open a session in a transaction.

    Raises Unavailable when the database does not answer within the limits,
    `Refused(invariant_broken)` when a constraint or trigger refuses a change (OPS-4),
    StatementFailed for any other error of a statement. Their texts have no statement, no values
    and no rows. In a worker raises DatabaseRestored until a restored database was reconciled.
    """
    async with _transaction(engine) as session:
        await _set_limits(session, limits)
        if acts_for_worker.get() and await session.scalar(_IS_RESTORED):
            raise DatabaseRestored
        yield session


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    try:
        async with (
            AsyncSession(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session
    except IntegrityError as error:
        raise Refused(
            ErrorCode.INVARIANT_BROKEN,
            f"The change would break an invariant of the store: {_reason(error)}. "
            "Nothing was changed. It is a defect that operators have to see.",
        ) from None
    except (DataError, ProgrammingError) as error:
        raise StatementFailed(f"The database refused a statement: {_reason(error)}") from None
    except (DBAPIError, OSError, TimeoutError) as error:
        raise Unavailable(f"The database does not answer: {_reason(error)}") from None
    except StatementError as error:
        raise StatementFailed(f"A statement cannot be sent: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the database's own message in one line.

    The whole text contains the statement and its values; the further lines of PostgreSQL's
    message contain the row.
    """
    cause = error.orig if isinstance(error, StatementError) else error
    first_line = _DRIVER_CLASS.sub("", str(cause)).partition("\n")[0]
    return mask_all(first_line)[:_MAX_REASON_LENGTH] or type(error).__name__


@asynccontextmanager
async def reading(engine: AsyncEngine, limits: Limits = SHORT) -> AsyncIterator[AsyncSession]:
    """Open a session that reads one snapshot. Raises Unavailable as `writing` does."""
    async with _transaction(engine) as session:
        await session.connection(execution_options=_SNAPSHOT[engine.dialect.name])
        await _set_limits(session, limits)
        yield session


async def _set_limits(session: AsyncSession, limits: Limits) -> None:
    """Set the limits of this transaction; the connection has those of `SHORT`.

    On SQLite only the wait for the writer is limited, by the engine.
    """
    if limits is not SHORT and session.get_bind().dialect.name == "postgresql":
        await session.execute(set_limits(limits))


def set_limits(limits: Limits) -> Executable:
    """Return the statement that sets the limits of a transaction of PostgreSQL."""
    return select(*(func.set_config(*each, true()) for each in limits.settings.items()))


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


def number_of(cursor: str | None) -> int | None:
    """Return the number of a row that a cursor names; None if it names none."""
    if cursor is None or not (cursor.isascii() and cursor.isdecimal()):
        return None
    return int(cursor) if len(cursor) <= _MAX_DIGITS else None


def chunked(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the values in batches that fit in one statement."""
    return (
        values[start : start + _MAX_PARAMETERS] for start in range(0, len(values), _MAX_PARAMETERS)
    )
