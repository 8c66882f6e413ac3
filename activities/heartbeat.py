"""Heartbeats during an activity's work, so that a dead worker is detected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from temporalio import activity


class Progress:
    """The progress of an activity, for the UI and for the next attempt."""

    def __init__(self, *details: object) -> None:
        self._details = details

    def show(self, *details: object) -> None:
        """Heartbeat with new details, which the next attempt receives."""
        self._details = details
        self.heartbeat()

    def heartbeat(self) -> None:
        """Heartbeat with the last details."""
        activity.heartbeat(*self._details)


@asynccontextmanager
async def heartbeats(every: timedelta) -> AsyncIterator[Progress]:
    """Heartbeat in the background while the body runs.

    Until the body shows progress, the details of the previous attempt are repeated.
    """
    progress = Progress(*activity.info().heartbeat_details)

    async def beat_forever() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            progress.heartbeat()

    beats = asyncio.create_task(beat_forever())
    try:
        yield progress
    finally:
        beats.cancel()
        with suppress(asyncio.CancelledError):
            await beats
