"""Searches in Temporal's visibility."""

from dataclasses import dataclass
from typing import Final


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
