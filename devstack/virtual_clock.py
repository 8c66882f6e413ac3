"""Time skipping for single workflows, for tests and the demo."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.client import Client
from temporalio.testing import TimeSkipper


@dataclass(frozen=True)
class VirtualClock:
    """The clocks of workflows on a server that supports time skipping.

    A workflow must have begun to wait: one whose task is still to be processed, for example after a
    restart of the worker, begins its timer after the skipped time. A query waits for that task.

    The only module that uses Temporal's time skipping, which is experimental. Timers that become
    due fire in their order. Time is skipped only by these methods, never automatically.
    """

    client: Client

    async def now(self, workflow_id: str) -> datetime:
        """Return the current time of the open run, in UTC."""
        handle = self.client.get_workflow_handle(workflow_id)
        return await TimeSkipper(self.client).get_current_time(handle)

    async def pass_time(self, workflow_id: str, span: timedelta) -> None:
        """Skip `span`; return when every timer that became due has been processed."""
        handle = self.client.get_workflow_handle(workflow_id)
        await TimeSkipper(self.client).fast_forward(handle, span)

    async def go_to(self, workflow_id: str, moment: datetime) -> None:
        """Skip to `moment`; do nothing when it has passed already."""
        left = moment - await self.now(workflow_id)
        if left > timedelta():
            await self.pass_time(workflow_id, left)
