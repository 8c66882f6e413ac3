"""Counts of web requests, on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from adapters.sql.database.schema import RequestCountRow
from adapters.sql.database.transaction import reading
from adapters.sql.request_count import KEPT, WINDOW
from adapters.sql.store import SqlStore

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def count(store: SqlStore, subject: str, at: datetime) -> int:
    return (await store.request_counts.count((subject,), at))[subject].requests


async def test_a_window_begins_with_its_first_request(store: SqlStore) -> None:
    """The limit holds for every minute after a first request, not for a minute of the clock."""
    assert [await count(store, "link", NOON + each * 20 * SECOND) for each in range(3)] == [1, 2, 3]
    assert await count(store, "link", NOON + WINDOW - SECOND) == 4
    assert await count(store, "link", NOON + WINDOW) == 1
    assert await count(store, "other", NOON) == 1


async def test_requests_at_the_same_time_are_all_counted(store: SqlStore) -> None:
    """Any number of portals count together."""
    subjects = ("client", "link")
    counted = await asyncio.gather(
        *(store.request_counts.count(subjects, NOON + number * SECOND) for number in range(20))
    )
    for subject in subjects:
        assert sorted(each[subject].requests for each in counted) == list(range(1, 21))


async def test_old_counts_are_deleted(store: SqlStore) -> None:
    """The table holds the subjects of the last hour."""
    for number in range(5):
        await count(store, f"link-{number}", NOON)
    await count(store, "later", NOON + KEPT + SECOND)
    async with reading(store.engine) as session:
        assert await session.scalar(select(func.count()).select_from(RequestCountRow)) == 1
