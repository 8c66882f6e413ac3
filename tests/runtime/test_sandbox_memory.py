"""The memory of a pending invitation in a worker's cache."""

import gc
import tracemalloc

from tests.world import World

WARM_UP, MEASURED = 10, 25
KIB_EACH = 56
"""With what the test itself keeps of it, the letter above all."""


async def out(world: World, name: str, number: int) -> None:
    emails = [f"{name}{n}@new.example" for n in range(number)]
    await world.invite_all(*emails)
    for email in emails:
        await world.until(email, "pending")


async def test_a_cached_pending_invitation_uses_little_memory(world: World) -> None:
    """Its part of the figure in docs/performance.md; the rest is the SDK core's."""
    await out(world, "warm", WARM_UP)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await out(world, "more", MEASURED)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / MEASURED / 1024 < KIB_EACH
