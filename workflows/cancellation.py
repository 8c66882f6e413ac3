"""Cancellations of workflows from Temporal's side (OPS-10)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow

Result = TypeVar("Result")


async def uncancelled(
    lifecycle: Coroutine[Any, Any, Result], on_request: Callable[[], None]
) -> Result:
    """Run `lifecycle` to its end; call `on_request` when the workflow is cancelled.

    The cancellation reaches no step of the lifecycle: its timers and activities continue.
    """
    running = asyncio.create_task(lifecycle)
    while not running.done():
        try:
            await workflow.wait([running])
        except asyncio.CancelledError:
            # The eviction from a worker's cache also cancels `running`, which ends the loop.
            on_request()
    return running.result()
