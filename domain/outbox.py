"""Signals of the outbox to workflows, about changes of the store (BLK-4, ASG-5)."""

from typing import Final

from pydantic import AwareDatetime

from domain.model import Value

DIRECTORY_CHANGED: Final = "directory_changed"
"""The signal to an invitation: store data that concerns it has changed."""
LICENSES_FREED: Final = "licenses_freed"
"""The signal to an assignment: a waiting user was served, or waits for another reason."""

ACCOUNT_CLOSED: Final = "account_closed"
"""The signal to an order: it has ended because its account was closed (SRC-2)."""


class WorkflowSignal(Value):
    """A signal to a workflow that has to read the store again; it may be sent twice."""

    number: int
    """A unique, increasing number."""
    workflow_id: str
    run_id: str
    """The first run of the chain, so that a later invitation of the same person is not signalled.

    Empty for workflow ids that are never reused.
    """
    at: AwareDatetime
    """The time at which it was written."""
    signal: str = DIRECTORY_CHANGED
    """The name of the signal."""
