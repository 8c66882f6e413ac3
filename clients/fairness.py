"""Whose turn it is: accounts take turns, however much one of them asks for (REM-3)."""

from temporalio.common import Priority


def caused_by(account: str) -> Priority:
    """What a workflow is started with; its children and activities inherit it."""
    return Priority(fairness_key=account)
