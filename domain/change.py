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


class NamedChange(Value):
    """A change, with the person whom its subject is about."""

    change: Change
    person: str | None = None
    """The address; None if the subject is no user."""


class ChangeListing(Value):
    """Changes of an account, the newest first."""

    rows: tuple[NamedChange, ...]
    more: str | None = None
    """The cursor of the next page; None on the last one."""
