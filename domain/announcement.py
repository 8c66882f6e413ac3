"""Word for an invitation's workflow that the store has changed under it (BLK-4)."""

from pydantic import AwareDatetime

from domain.model import Value


class Announcement(Value):
    """One workflow that should look at the store again; telling it twice does no harm."""

    number: int
    """The older, the smaller; none is used twice."""
    workflow_id: str
    run_id: str
    """The first run: never a later invitation of the same person."""
    at: AwareDatetime
    """When it was written."""
