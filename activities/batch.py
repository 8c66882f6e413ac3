"""Inviting the rows of a batch, some thousand at a time (REM-3)."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from temporalio import activity

from activities.heartbeat import beating
from domain.batch import Batch, BatchProgress, BatchRow

SLICE: Final = 2_000
"""Rows of one activity: between two of them nothing is in flight, so that they are few.

A drained worker stops after the portions that it is at.
"""

PORTION: Final = 25
"""Rows of one transaction: on SQLite all others wait for it."""

LANES: Final = 6
"""Portions at a time: while some are being started the next is claimed."""

REST: Final = timedelta(milliseconds=100)
"""Between two portions of a lane: who waits for SQLite looks again that often, and no oftener."""

BEAT_EVERY: Final = timedelta(seconds=2)


class BatchStore(Protocol):
    """The store, as far as a batch needs it."""

    async def waiting(self, batch_id: str, limit: int) -> Sequence[BatchRow]:
        """The first rows that have no result yet, in the order asked."""

    async def progress(self, batch_id: str) -> BatchProgress:
        """How far the batch has come. Raises Refused: `not_found`."""


class Inviter(Protocol):
    """Who starts invitations."""

    async def invite_rows(
        self, batch: Batch, rows: Sequence[BatchRow], in_order: asyncio.Lock
    ) -> None:
        """Invite each row once and keep its result; on repeat, the same invitation.

        Rows are claimed under `in_order`: who is named first gets the seat. Raises
        Unavailable when rows are left without a result; the others keep theirs.
        """


@dataclass(frozen=True)
class BatchActivities:
    """The side effects of the `BulkInvite` workflow."""

    store: BatchStore
    inviter: Inviter

    @activity.defn
    async def invite_slice(self, batch: Batch) -> BatchProgress:
        """Invite the next rows; a repeat goes on with those that have no result."""
        rows = await self.store.waiting(batch.batch_id, SLICE)
        portions = iter([rows[start : start + PORTION] for start in range(0, len(rows), PORTION)])
        in_order = asyncio.Lock()
        async with beating(BEAT_EVERY):
            lanes = [self._invite_portions(batch, portions, in_order) for _ in range(LANES)]
            for failure in await asyncio.gather(*lanes, return_exceptions=True):
                if failure:
                    raise failure
        return await self.store.progress(batch.batch_id)

    async def _invite_portions(
        self, batch: Batch, portions: Iterator[Sequence[BatchRow]], in_order: asyncio.Lock
    ) -> None:
        for portion in portions:
            await self.inviter.invite_rows(batch, portion, in_order)
            await asyncio.sleep(REST.total_seconds())
            if activity.is_worker_shutdown():
                # Another worker goes on at once; waiting for a heartbeat would take longer.
                return
