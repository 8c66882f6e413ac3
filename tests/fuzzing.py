"""Generated input for a system that a test has arranged once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

Input = TypeVar("Input")


async def check_all(
    check: Callable[[Input], Awaitable[None]], inputs: SearchStrategy[Input], *, at_most: int
) -> None:
    """Call `check` on this event loop with generated inputs, one after the other."""
    loop = asyncio.get_running_loop()

    @settings(max_examples=at_most, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(inputs)
    def check_each(value: Input) -> None:
        asyncio.run_coroutine_threadsafe(_awaited(check, value), loop).result()

    await asyncio.to_thread(check_each)


async def _awaited(check: Callable[[Input], Awaitable[None]], value: Input) -> None:
    await check(value)
