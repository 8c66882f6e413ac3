"""Task queue fairness: the server alternates between accounts (REM-3)."""

from temporalio.common import Priority


def fairness_priority(account: str) -> Priority:
    """Return the priority of a workflow of `account`; children and activities inherit it."""
    return Priority(fairness_key=account)
