"""The journal of a lifecycle: which event moved it, when, and by whom."""

from pydantic import AwareDatetime, Field

from domain.model import Value

INVITEE = "invitee"
"""Who moved a lifecycle: the person invited, or somebody on their behalf."""

OPERATOR = "operator"
"""Who moved a lifecycle: an operator, on the command line."""

ENGINE = "seatflow"
"""Who moved a lifecycle when nobody asked: a deadline, a mail server's word."""


class JournalEntry(Value):
    """One transition, written when it is taken."""

    at: AwareDatetime
    """When, in workflow time, UTC."""
    event: str
    from_state: str | None = Field(alias="from")
    """None for the entry that opens the journal."""
    to_state: str = Field(alias="to")
    by: str
    """The address of the person who asked, `invitee`, or `seatflow` itself."""
    note: str | None = None
