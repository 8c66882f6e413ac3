"""The signals of reminder runs to the workflows of invitations (REM-1)."""

from dataclasses import dataclass
from typing import Final

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflows.invitation import InvitationWorkflow

_PERMANENT: Final = frozenset(
    {
        # The workflow has ended, or was lost; recovery starts it again.
        RPCStatusCode.NOT_FOUND,
        # The workflow accepts no more signals.
        RPCStatusCode.INVALID_ARGUMENT,
    }
)
"""Errors of one workflow, which must not stop the signals to the others."""


@dataclass(frozen=True)
class InvitationSignals:
    """The `RunningInvitations` on a Temporal server."""

    client: Client

    async def remind(self, workflow_id: str, run_id: str) -> bool:
        """Signal a running invitation that a reminder may be due; start nothing."""
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            await handle.signal(InvitationWorkflow.remind, run_id)
        except RPCError as failure:
            if failure.status not in _PERMANENT:
                raise
            activity.logger.warning("%s was not signaled: %s", workflow_id, failure.status.name)
            return False
        return True
