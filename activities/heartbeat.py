"""Heartbeats beside an activity's work: silence means that the worker is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from temporalio import activity


class Progress:
    """How far an activity has come: for the UI, and for whoever goes on with it."""

    def __init__(self, *details: object) -> None:
        self._details = details

    def show(self, *details: object) -> None:
        """It has come so far; what is said here comes back as the next attempt's details."""
        self._details = details
        self.beat()

    def beat(self) -> None:
        """It lives, and has come as far as before."""
        activity.heartbeat(*self._details)


@asynccontextmanager
async def beating(every: timedelta) -> AsyncIterator[Progress]:
    """Heartbeats beside the body, however long one of its steps takes.

    As long as the body shows nothing, they repeat how far the attempt before had come.
    """
    progress = Progress(*activity.info().heartbeat_details)

    async def beat_forever() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            progress.beat()

    beats = asyncio.create_task(beat_forever())
    try:
        yield progress
    finally:
        beats.cancel()
        with suppress(asyncio.CancelledError):
            await beats
