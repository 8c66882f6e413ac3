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
        """Send a heartbeat with new details, which the next attempt receives."""
        self._details = details
        self.heartbeat()

    def heartbeat(self) -> None:
        """Send a heartbeat with the last details."""
        activity.heartbeat(*self._details)


@asynccontextmanager
async def heartbeats(every: timedelta) -> AsyncIterator[Progress]:
    """Send heartbeats in the background while the body runs.

    Until the body shows progress, they have the details of the previous attempt.
    """
    progress = Progress(*activity.info().heartbeat_details)

    async def send_heartbeats() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            progress.heartbeat()

    task = asyncio.create_task(send_heartbeats())
    try:
        yield progress
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
