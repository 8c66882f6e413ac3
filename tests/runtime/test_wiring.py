"""The workers of one process."""

import asyncio

from temporalio.worker import Worker

from runtime.wiring import running_together


class DrainingWorker(Worker):
    """A worker whose drain ends once all workers are draining."""

    def __init__(self, all_draining: asyncio.Barrier) -> None:
        self._all_draining = all_draining

    async def __aenter__(self) -> "DrainingWorker":
        return self

    async def __aexit__(self, *arguments: object) -> None:
        """Ignore the exit: `shutdown` has ended the worker."""

    async def shutdown(self) -> None:
        await self._all_draining.wait()


async def test_a_drain_stops_all_workers_at_the_same_time() -> None:
    """A worker that is not yet stopped would accept new work from the others."""
    all_draining = asyncio.Barrier(3)
    async with asyncio.timeout(5):
        async with running_together([DrainingWorker(all_draining) for _ in range(3)]):
            assert all_draining.n_waiting == 0
