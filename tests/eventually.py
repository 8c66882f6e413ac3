"""Polling for a state that another task or process reaches."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from inspect import isawaitable
from typing import Any, TypeVar, overload

from domain.error import Refused

T = TypeVar("T")

TIMEOUT = timedelta(seconds=60)
INTERVAL = 0.05
"""Seconds; shorter polling would slow down the worker that is waited for."""


@overload
async def eventually(
    read: Callable[[], Awaitable[T]],
    until: Callable[[T], object] = bool,
    within: timedelta = TIMEOUT,
) -> T: ...


@overload
async def eventually(
    read: Callable[[], T], until: Callable[[T], object] = bool, within: timedelta = TIMEOUT
) -> T: ...


async def eventually(
    read: Callable[[], Any], until: Callable[[Any], object] = bool, within: timedelta = TIMEOUT
) -> object:
    """Repeat `read` until `until` holds for its result, and return that result.

    A refused read is repeated as well: the record may not exist yet.
    """
    async with asyncio.timeout(within.total_seconds()):
        while True:
            try:
                result = read()
                if isawaitable(result):
                    result = await result
            except Refused:
                pass
            else:
                if until(result):
                    return result
            await asyncio.sleep(INTERVAL)
