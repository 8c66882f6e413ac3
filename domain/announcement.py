"""Word for a workflow that the store has changed under it (BLK-4, ASG-5)."""

from typing import Final

from pydantic import AwareDatetime

from domain.model import Value

DIRECTORY_CHANGED: Final = "directory_changed"
"""The signal to an invitation: something that concerns it has changed."""
LICENSES_FREED: Final = "licenses_freed"
"""The signal to an assignment: somebody who waited in it does no longer, or for something else."""

ACCOUNT_CLOSED: Final = "account_closed"
"""The signal to a purchase: it has ended with its account (SRC-2)."""


class Announcement(Value):
    """One workflow that should look at the store again; telling it twice does no harm."""

    number: int
    """The older, the smaller; none is used twice."""
    workflow_id: str
    run_id: str
    """The first run: never a later invitation of the same person.

    Empty where the id of a workflow is never used again.
    """
    at: AwareDatetime
    """When it was written."""
    signal: str = DIRECTORY_CHANGED
    """The signal that tells it."""
