"""Counts of web requests, shared by all portals, so that no process keeps a limit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import RequestCountRow
from adapters.sql.database.transaction import writing

WINDOW: Final = timedelta(minutes=1)
"""The time for which requests are counted, from the first one on."""

KEPT: Final = timedelta(hours=1)
"""The time after which a count is deleted; no window is longer."""

DELETED_AT_ONCE: Final = 100
"""Counts that one request deletes at most."""


@dataclass(frozen=True)
class RequestCount:
    """The number of requests of one subject in its present window."""

    requests: int
    ends_at: datetime


class SqlRequestCounts:
    """Counts requests by subject: a link or a client address, as a keyed hash."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def count(
        self, subjects: tuple[str, ...], at: datetime, window: timedelta = WINDOW
    ) -> Mapping[str, RequestCount]:
        """Count one request of each subject; return their counts in the present window."""
        async with writing(self._engine) as session:
            # In a fixed order, so that two requests never wait for each other.
            counts = {each: await _count(session, each, at, window) for each in sorted(subjects)}
            if any(count.requests == 1 for count in counts.values()):
                await _delete_old(session, at)
            return counts


async def _delete_old(session: AsyncSession, at: datetime) -> None:
    """Delete old counts, except those that another request is using: it would wait for this one."""
    old = (
        select(RequestCountRow.subject)
        .where(RequestCountRow.since < at - KEPT)
        .limit(DELETED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await session.execute(delete(RequestCountRow).where(RequestCountRow.subject.in_(old)))


async def _count(
    session: AsyncSession, subject: str, at: datetime, window: timedelta
) -> RequestCount:
    postgres = session.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert(RequestCountRow) if postgres else sqlite.insert(RequestCountRow)
    row = RequestCountRow
    # A clock that is behind must not keep a window open.
    over = (row.since <= at - window) | (row.since > at + window)
    counted = await session.execute(
        insert.values(subject=subject, since=at, requests=1)
        .on_conflict_do_update(
            index_elements=[row.subject],
            set_={
                "since": case((over, insert.excluded.since), else_=row.since),
                "requests": case((over, 1), else_=row.requests + 1),
            },
        )
        .returning(row.requests, row.since)
    )
    requests, since = counted.one()
    return RequestCount(requests, since + window)
