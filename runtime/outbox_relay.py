"""The relay of signals from the outbox to waiting workflows (BLK-4, INV-14, ASG-5)."""

import asyncio
import logging
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql.outbox import SqlOutbox

INTERVAL = timedelta(seconds=1)
INTERVAL_AFTER_FAILURE = timedelta(seconds=5)
BATCH_SIZE = 100

log = logging.getLogger(__name__)


async def relay_signals(client: Client, outbox: SqlOutbox) -> None:
    """Send every signal of the outbox, the oldest first.

    A signal is done once its workflow has the signal or is closed. A crash in between
    sends it twice, which is harmless.
    """
    while waiting := await outbox.oldest(BATCH_SIZE):
        for signal in waiting:
            # A later run with the same id may get the signal: an additional recheck is harmless.
            handle = client.get_workflow_handle(signal.workflow_id)
            try:
                await handle.signal(signal.signal)
            except RPCError as failure:
                if failure.status is not RPCStatusCode.NOT_FOUND:
                    raise
            await outbox.done(signal.number)


async def relay_signals_forever(client: Client, outbox: SqlOutbox) -> None:
    """Relay signals once per interval."""
    while True:
        delay = INTERVAL
        try:
            await relay_signals(client, outbox)
        except Exception:
            # The rows stay in the store for the next round; operators see the error.
            delay = INTERVAL_AFTER_FAILURE
            log.exception("the outbox relay failed and is retried in %s", delay)
        await asyncio.sleep(delay.total_seconds())
