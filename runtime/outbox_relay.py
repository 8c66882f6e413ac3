"""What the store announces reaches the workflows that wait for it (BLK-4, INV-14, ASG-5)."""

import asyncio
import logging
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.announcement import SqlAnnouncements

EVERY = timedelta(seconds=1)
AFTER_A_FAILURE = timedelta(seconds=5)
AT_ONCE = 100

log = logging.getLogger(__name__)


async def relay(client: Client, announcements: SqlAnnouncements) -> None:
    """Pass on everything that was announced, the oldest first.

    An announcement is done once its workflow has been told, or is found to be over: what a
    crash leaves in between is told twice, which does no harm.
    """
    while waiting := await announcements.oldest(AT_ONCE):
        for announcement in waiting:
            # Whichever run has the id now: to look again does no harm.
            handle = client.get_workflow_handle(announcement.workflow_id)
            try:
                await handle.signal(announcement.signal)
            except RPCError as failure:
                if failure.status is not RPCStatusCode.NOT_FOUND:
                    raise
            await announcements.done(announcement.number)


async def relay_forever(client: Client, announcements: SqlAnnouncements) -> None:
    """Pass on what is announced, beside a worker."""
    while True:
        pause = EVERY
        try:
            await relay(client, announcements)
        except Exception:
            # Everything stays in the store for the next round; operators see why.
            pause = AFTER_A_FAILURE
            log.exception("announcements are passed on again in %s", pause)
        await asyncio.sleep(pause.total_seconds())
