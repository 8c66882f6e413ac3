"""Tests of the batch's activity: slices, claims in order, retries, heartbeats (REM-3)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.batch import CONCURRENT_CHUNKS, BatchActivities
from domain.batch import Batch, BatchProgress, BatchRow, RowResult
from domain.error import Unavailable
from domain.invitation import Person

BATCH = Batch(batch_id="spring", account="acme", by="adam@acme.example")


class FakeBatchStore:
    """A `BatchStore` of one batch."""

    def __init__(self, count: int) -> None:
        self.rows = [
            BatchRow(position=position, person=Person(email=f"p{position}@example.com"))
            for position in range(count)
        ]
        self.results: dict[int, RowResult] = {}

    async def waiting(self, batch_id: str, limit: int) -> Sequence[BatchRow]:
        assert batch_id == BATCH.batch_id
        return [row for row in self.rows if row.position not in self.results][:limit]

    async def progress(self, batch_id: str) -> BatchProgress:
        found = [*self.results.values()]
        return BatchProgress(
            total=len(self.rows),
            invited=found.count("invited"),
            already_invited=found.count("already_invited"),
            refused=found.count("refused"),
        )


@dataclass
class FakeInviter:
    """An `Inviter` that claims rows under the lock and writes a result for each."""

    store: FakeBatchStore
    refused: frozenset[int] = frozenset()
    unavailable: set[int] = field(default_factory=set)
    """The rows that are left without a result."""
    blocked: asyncio.Event | None = None
    """Claimed rows have no result before this event, except for calls that fail."""
    claimed: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """The number of rows of each call."""
    running: int = 0
    most_running: int = 0

    async def invite_rows(
        self, batch: Batch, rows: Sequence[BatchRow], claim_lock: asyncio.Lock
    ) -> None:
        self.sizes.append(len(rows))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        async with claim_lock:
            for row in rows:
                await asyncio.sleep(0)
                self.claimed.append(row.position)
        fails = any(row.position in self.unavailable for row in rows)
        if self.blocked and not fails:
            await self.blocked.wait()
        for row in rows:
            if row.position not in self.unavailable:
                refused = row.position in self.refused
                self.store.results[row.position] = "refused" if refused else "invited"
        self.running -= 1
        if fails:
            raise Unavailable("The database does not answer: gone")


def the_activities(inviter: FakeInviter, slice_size: int = 100) -> BatchActivities:
    return BatchActivities(
        store=inviter.store,
        inviter=inviter,
        slice_size=slice_size,
        chunk_size=2,
        pause=timedelta(),
        heartbeat_interval=timedelta(milliseconds=1),
    )


async def invite_slice(
    inviter: FakeInviter,
    *,
    slice_size: int = 100,
    environment: ActivityEnvironment | None = None,
) -> BatchProgress:
    activities = the_activities(inviter, slice_size)
    return await (environment or ActivityEnvironment()).run(activities.invite_slice, BATCH)


async def test_a_slice_invites_the_first_rows_and_the_next_one_continues() -> None:
    """REM-3: each row is invited once; the progress counts all rows."""
    inviter = FakeInviter(FakeBatchStore(7))
    assert await invite_slice(inviter, slice_size=5) == BatchProgress(total=7, invited=5)
    assert inviter.sizes == [2, 2, 1]
    assert await invite_slice(inviter, slice_size=5) == BatchProgress(total=7, invited=7)
    assert inviter.claimed == [0, 1, 2, 3, 4, 5, 6]


async def test_a_slice_without_waiting_rows_invites_nobody() -> None:
    """REM-3: a retry after the last row."""
    inviter = FakeInviter(FakeBatchStore(0))
    assert await invite_slice(inviter) == BatchProgress(total=0)
    assert inviter.claimed == []


async def test_rows_are_claimed_one_batch_after_another_while_others_are_started() -> None:
    """INV-15: the first row gets the seat; one lock for all claims of a slice."""
    count = 4 * CONCURRENT_CHUNKS
    inviter = FakeInviter(FakeBatchStore(count), blocked=asyncio.Event())
    running = asyncio.create_task(invite_slice(inviter))
    while len(inviter.claimed) < 2 * CONCURRENT_CHUNKS:
        await asyncio.sleep(0)
    assert inviter.blocked
    inviter.blocked.set()
    assert (await running).invited == count
    assert inviter.claimed == [*range(count)]
    assert inviter.most_running == CONCURRENT_CHUNKS


async def test_refused_rows_are_results_and_stop_no_other_row() -> None:
    """INV-2."""
    inviter = FakeInviter(FakeBatchStore(5), refused=frozenset({0, 3}))
    assert await invite_slice(inviter) == BatchProgress(total=5, invited=3, refused=2)


async def test_a_retry_invites_only_the_rows_without_a_result() -> None:
    """REM-3: the other claim batches are finished before the activity fails."""
    inviter = FakeInviter(FakeBatchStore(6), unavailable={2}, blocked=asyncio.Event())
    running = asyncio.create_task(invite_slice(inviter))
    for _ in range(100):
        await asyncio.sleep(0)
    assert set(inviter.store.results) == {3}
    assert not running.done()
    assert inviter.blocked
    inviter.blocked.set()
    with pytest.raises(Unavailable):
        await running
    assert sorted(inviter.store.results) == [0, 1, 3, 4, 5]
    inviter.claimed.clear()
    inviter.unavailable.clear()
    assert await invite_slice(inviter) == BatchProgress(total=6, invited=6)
    assert inviter.claimed == [2]


async def test_heartbeats_continue_during_a_slow_claim_batch() -> None:
    """REM-3: a worker without heartbeats counts as dead."""
    inviter = FakeInviter(FakeBatchStore(2), blocked=asyncio.Event())
    heartbeats = list[tuple[object, ...]]()
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_details=["of the previous attempt"])

    def on_heartbeat(*details: object) -> None:
        heartbeats.append(details)
        if len(heartbeats) == 3 and inviter.blocked:
            inviter.blocked.set()

    environment.on_heartbeat = on_heartbeat
    assert (await invite_slice(inviter, environment=environment)).invited == 2
    assert heartbeats[:3] == [("of the previous attempt",)] * 3


async def test_a_worker_that_shuts_down_stops_after_the_current_claim_batches() -> None:
    """REM-3: another worker continues with the rows without a result."""
    count = 4 * CONCURRENT_CHUNKS
    inviter, environment = FakeInviter(FakeBatchStore(count)), ActivityEnvironment()
    environment.worker_shutdown()
    stopped = await invite_slice(inviter, environment=environment)
    assert stopped == BatchProgress(total=count, invited=2 * CONCURRENT_CHUNKS)
    assert (await invite_slice(inviter)).finished
    assert sorted(inviter.claimed) == [*range(count)]
