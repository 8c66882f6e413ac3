"""The relay of announcements from the store to waiting workflows (BLK-4, INV-14, ASG-5)."""

import asyncio
import logging
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.outbox import SqlAnnouncements

INTERVAL = timedelta(seconds=1)
INTERVAL_AFTER_FAILURE = timedelta(seconds=5)
BATCH_SIZE = 100

log = logging.getLogger(__name__)


async def relay_announcements(client: Client, announcements: SqlAnnouncements) -> None:
    """Signal the workflow of every announcement, the oldest first.

    An announcement is done once its workflow has the signal or is closed. A crash in between
    sends the signal twice, which is harmless.
    """
    while waiting := await announcements.oldest(BATCH_SIZE):
        for announcement in waiting:
            # A later run with the same id may get the signal: an additional recheck is harmless.
            handle = client.get_workflow_handle(announcement.workflow_id)
            try:
                await handle.signal(announcement.signal)
            except RPCError as failure:
                if failure.status is not RPCStatusCode.NOT_FOUND:
                    raise
            await announcements.done(announcement.number)


async def relay_announcements_forever(client: Client, announcements: SqlAnnouncements) -> None:
    """Relay announcements once per interval."""
    while True:
        delay = INTERVAL
        try:
            await relay_announcements(client, announcements)
        except Exception:
            # The announcements stay in the store for the next round; operators see the error.
            delay = INTERVAL_AFTER_FAILURE
            log.exception("the relay of announcements failed and is retried in %s", delay)
        await asyncio.sleep(delay.total_seconds())
