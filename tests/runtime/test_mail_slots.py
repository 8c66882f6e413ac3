"""Slots of the mail worker (REM-3)."""

import asyncio
from datetime import timedelta
from typing import cast

from temporalio.worker import (
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
)

from runtime.mail_slots import MailSlots

AT_ONCE = timedelta(0)
MOMENT = 0.05
"""Seconds; a free slot is reserved much faster."""


async def reserved(slots: MailSlots) -> SlotPermit | None:
    """Return a permit, or None if no slot is free."""
    try:
        async with asyncio.timeout(MOMENT):
            return await slots.reserve_slot(cast(SlotReserveContext, None))
    except TimeoutError:
        return None


def use(slots: MailSlots, permit: SlotPermit) -> None:
    slots.mark_slot_used(cast(SlotMarkUsedContext, SlotReleaseContext(None, permit)))


async def test_a_fast_activity_keeps_its_slot_until_it_ends() -> None:
    """REM-3: at most SEATFLOW_MAILS_AT_ONCE fast conversations run at the same time."""
    slots = MailSlots(at_once=1)
    permit = await reserved(slots)
    assert permit
    use(slots, permit)
    assert await reserved(slots) is None
    slots.release_slot(SlotReleaseContext(None, permit))
    assert await reserved(slots)
    assert await reserved(slots) is None


async def test_a_slow_activity_gives_its_slot_back_once() -> None:
    """REM-3: its end frees no second slot."""
    slots = MailSlots(at_once=1, slow_after=AT_ONCE)
    slow = await reserved(slots)
    assert slow
    use(slots, slow)
    assert await reserved(slots)
    slots.release_slot(SlotReleaseContext(None, slow))
    assert await reserved(slots) is None


async def test_slow_activities_are_limited_too() -> None:
    """REM-3: a slow mail server does not use up the worker's memory and connections."""
    slots = MailSlots(at_once=1, in_all=2, slow_after=AT_ONCE)
    first = await reserved(slots)
    assert first
    use(slots, first)
    second = await reserved(slots)
    assert second
    use(slots, second)
    assert await reserved(slots) is None
    slots.release_slot(SlotReleaseContext(None, second))
    assert await reserved(slots)


async def test_a_poll_that_ends_without_an_activity_releases_its_slot() -> None:
    """REM-3: a worker that stops polling and one that had nothing to do lose no slot."""
    slots = MailSlots(at_once=1)
    permit = await reserved(slots)
    assert permit
    assert await reserved(slots) is None
    slots.release_slot(SlotReleaseContext(None, permit))
    assert await reserved(slots)
