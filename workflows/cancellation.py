"""Lifecycles that a cancellation from Temporal's side does not end (OPS-10)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


async def run_despite_cancellation(
    main: Callable[[], Awaitable[Result]], on_cancel: Callable[[], Awaitable[None]]
) -> Result:
    """Run `main` to its end; a cancellation of the workflow calls `on_cancel` meanwhile."""
    task = asyncio.ensure_future(main())
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            await on_cancel()
