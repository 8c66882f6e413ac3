"""The side effects of a batch: invitations, some thousand rows at a time (REM-3)."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from temporalio import activity

from activities.heartbeat import heartbeats
from domain.batch import Batch, BatchProgress, BatchRow

SLICE_SIZE: Final = 2_000
"""Rows of one activity. Large, because no invitation starts between two activities.

A worker that is shutting down stops after the current chunks.
"""

CHUNK_SIZE: Final = 25
"""Rows claimed in one transaction, which blocks all other writers on SQLite."""

CONCURRENT_CHUNKS: Final = 6
"""Chunks in progress: while the workflows of some start, the next one is claimed."""

PAUSE: Final = timedelta(milliseconds=100)
"""Pause after each transaction: the interval at which writers retry on SQLite."""

HEARTBEAT_INTERVAL: Final = timedelta(seconds=2)


class BatchStore(Protocol):
    """The part of the store that a batch uses."""

    async def waiting(self, batch_id: str, limit: int) -> Sequence[BatchRow]:
        """Return the first rows without a result, in the order requested."""

    async def progress(self, batch_id: str) -> BatchProgress:
        """Return the counts of the batch. Raises Refused: `not_found`."""


class Inviter(Protocol):
    """The client that starts invitations."""

    async def invite_rows(
        self, batch: Batch, rows: Sequence[BatchRow], claim_lock: asyncio.Lock
    ) -> None:
        """Invite each row once and write its result; a repeated row keeps its invitation.

        Rows are claimed under `claim_lock`, so that the first row gets the last seat. Raises
        Unavailable when rows are left without a result; the other results stay.
        """


@dataclass(frozen=True)
class BatchActivities:
    """The activities of the `BulkInvite` workflow."""

    store: BatchStore
    inviter: Inviter
    slice_size: int = SLICE_SIZE
    chunk_size: int = CHUNK_SIZE
    pause: timedelta = PAUSE
    heartbeat_interval: timedelta = HEARTBEAT_INTERVAL

    @activity.defn
    async def invite_slice(self, batch: Batch) -> BatchProgress:
        """Invite the next rows; a retry continues with the rows without a result."""
        rows = await self.store.waiting(batch.batch_id, self.slice_size)
        chunks = iter(
            [
                rows[start : start + self.chunk_size]
                for start in range(0, len(rows), self.chunk_size)
            ]
        )
        claim_lock = asyncio.Lock()
        async with heartbeats(self.heartbeat_interval):
            concurrent = [
                self._invite_chunks(batch, chunks, claim_lock) for _ in range(CONCURRENT_CHUNKS)
            ]
            for failure in await asyncio.gather(*concurrent, return_exceptions=True):
                if failure:
                    raise failure
        return await self.store.progress(batch.batch_id)

    async def _invite_chunks(
        self, batch: Batch, chunks: Iterator[Sequence[BatchRow]], claim_lock: asyncio.Lock
    ) -> None:
        for rows in chunks:
            await self.inviter.invite_rows(batch, rows, claim_lock)
            await asyncio.sleep(self.pause.total_seconds())
            if activity.is_worker_shutdown():
                # Another worker continues at once, instead of after a heartbeat timeout.
                return
