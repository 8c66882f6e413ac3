"""Time that passes for one workflow only: how a month is played in a moment."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.client import Client
from temporalio.testing import TimeSkipper


@dataclass(frozen=True)
class VirtualClock:
    """The clocks of workflows on a server that lets them be moved.

    The one place that uses Temporal's time skipping, which is experimental. Timers on the
    way fire as they would have; the clock moves only when it is told to.
    """

    client: Client

    async def now(self, workflow_id: str) -> datetime:
        """What time it is for the open run, UTC."""
        handle = self.client.get_workflow_handle(workflow_id)
        return await TimeSkipper(self.client).get_current_time(handle)

    async def pass_time(self, workflow_id: str, span: timedelta) -> None:
        """Let `span` pass; returns when everything on the way has happened."""
        handle = self.client.get_workflow_handle(workflow_id)
        await TimeSkipper(self.client).fast_forward(handle, span)

    async def go_to(self, workflow_id: str, moment: datetime) -> None:
        """Let time pass until `moment`; nothing when it is there already."""
        left = moment - await self.now(workflow_id)
        if left > timedelta():
            await self.pass_time(workflow_id, left)
