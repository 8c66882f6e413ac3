"""Searches in Temporal's visibility, among them the running invitations (REM-1)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.reminder import InvitationPage
from domain.invitation import REMINDABLE
from workflows.invitation import InvitationWorkflow
from workflows.search_attribute import LIFECYCLE_STATE, QUIET_SINCE

PAGE_SIZE: Final = 500


def on_queue(task_queue: str, query: str) -> str:
    """Return `query` for one task queue only; another one belongs to another store."""
    quoted = task_queue.replace("'", "''")
    return f"TaskQueue = '{quoted}' AND {query}"


@dataclass(frozen=True)
class View:
    """A list of workflows that operators need; the UI keeps views in the browser alone."""

    name: str
    query: str


STUCK: Final = "TemporalReportedProblems IS NOT NULL"
"""The workflows whose task fails repeatedly."""

VIEWS: Final = tuple(
    View(name, f'{condition} AND ExecutionStatus = "Running"')
    for name, condition in (
        ("Pending invitations", 'WorkflowType = "Invitation" AND LifecycleState = "pending"'),
        ("Blocked invitations", 'WorkflowType = "Invitation" AND LifecycleState = "blocked"'),
        ("Refunds overdue", 'WorkflowType = "Refund" AND LifecycleState = "overdue"'),
        ("Refunds failed", 'WorkflowType = "Refund" AND LifecycleState = "failed"'),
        ("Orders failing", 'WorkflowType = "AddonPurchase" AND LifecycleState = "payment_failed"'),
        ("Stuck workflows", STUCK),
    )
)


@dataclass(frozen=True)
class InvitationVisibility:
    """The `RunningInvitations` of one task queue; another queue belongs to another store."""

    client: Client
    task_queue: str

    async def page(self, quiet_before: datetime | None, page_token: bytes | None) -> InvitationPage:
        """Return a page of unanswered invitations, optionally only quiet ones; may lag."""
        listed = self.client.list_workflows(
            self._query(quiet_before), page_size=PAGE_SIZE, next_page_token=page_token
        )
        await listed.fetch_next_page()
        return InvitationPage(
            [each.id for each in listed.current_page or ()], listed.next_page_token or None
        )

    def _query(self, quiet_before: datetime | None) -> str:
        states = ", ".join(f"'{state}'" for state in sorted(REMINDABLE))
        query = on_queue(
            self.task_queue,
            "WorkflowType = 'Invitation' AND ExecutionStatus = 'Running'"
            f" AND {LIFECYCLE_STATE.name} IN ({states})",
        )
        if quiet_before is None:
            return query
        since = quiet_before.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return f"{query} AND {QUIET_SINCE.name} <= '{since}'"

    async def remind(self, workflow_id: str, run_id: str) -> None:
        """Signal an invitation to send a reminder if one is due; do nothing if it has ended."""
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            await handle.signal(InvitationWorkflow.remind, run_id)
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
