"""Changes to things that have no journal of their own (OPS-8)."""

from pydantic import AwareDatetime

from domain.model import Value


class Change(Value):
    """One change, with its author."""

    at: AwareDatetime
    by: str
    action: str
    """The command, for example `remove-room`."""
    account: str | None = None
    """None if it concerns no account."""
    subject: str
    """The id of the changed thing, without personal data."""
