"""Slots of the mail worker, so that slow mail servers do not delay the letters to fast ones."""

import asyncio
from datetime import timedelta

from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    WorkerTuner,
)

SLOW_AFTER = timedelta(seconds=1)
"""Much longer than a conversation with a fast mail server takes."""

IN_ALL = 40
"""Activities of one worker that may wait for slow mail servers at the same time."""


class _Permit(SlotPermit):
    """A slot, counted among the fast activities until it is released or slow."""

    slow_in: asyncio.TimerHandle | None = None
    fast = True


class MailSlots(CustomSlotSupplier):
    """Slots for `at_once` activities; one that takes longer than `slow_after` is not counted.

    An activity waits for its slot on the server. So its timeout does not run meanwhile, and the
    accounts take turns (REM-3).
    """

    def __init__(
        self, at_once: int, in_all: int = IN_ALL, slow_after: timedelta = SLOW_AFTER
    ) -> None:
        """Create the slots; `in_all` limits fast and slow activities together."""
        self._loop = asyncio.get_running_loop()
        self._at_once = asyncio.Semaphore(at_once)
        self._in_all = asyncio.Semaphore(max(in_all, at_once))
        self._slow_after = slow_after

    def tuner(self) -> WorkerTuner:
        """Return the tuner of a worker that runs activities only."""
        others = FixedSizeSlotSupplier(5)
        return WorkerTuner.create_composite(
            workflow_supplier=others,
            activity_supplier=self,
            local_activity_supplier=others,
            nexus_supplier=others,
        )

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        """Wait for a slot. Temporal's client calls it before each poll."""
        await self._in_all.acquire()
        try:
            await self._at_once.acquire()
        except BaseException:
            self._in_all.release()
            raise
        return _Permit()

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """Return no slot: no workflow task of this worker could return an eager activity."""
        return None

    # The following are called from threads of Temporal's client.

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """Start the time after which the activity is slow."""
        self._loop.call_soon_threadsafe(self._begin, ctx.permit)

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """Release the slot."""
        self._loop.call_soon_threadsafe(self._end, ctx.permit)

    def _begin(self, permit: SlotPermit) -> None:
        assert isinstance(permit, _Permit)
        permit.slow_in = self._loop.call_later(
            self._slow_after.total_seconds(), self._end_fast, permit
        )

    def _end_fast(self, permit: _Permit) -> None:
        if permit.fast:
            permit.fast = False
            self._at_once.release()

    def _end(self, permit: SlotPermit) -> None:
        assert isinstance(permit, _Permit)
        if permit.slow_in:
            permit.slow_in.cancel()
        self._end_fast(permit)
        self._in_all.release()
