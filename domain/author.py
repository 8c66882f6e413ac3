"""The author of a change: the person or program that made it (OPS-8)."""

from typing import Final

from domain.error import ErrorCode, Refused
from domain.journal import INVITEE, OPERATOR
from domain.model import Value
from domain.text import one_line

MAX_NAME_LENGTH = 100

UNKNOWN = "unknown"
"""The name of an operator on a system that has no name for its user."""


def operator_name(text: str) -> str:
    """Return the name of an operator on one line. Raises `Refused(invalid_input)`."""
    name = one_line(text)
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise Refused(
            ErrorCode.INVALID_INPUT,
            f"Write the name of the operator in 1 to {MAX_NAME_LENGTH} characters.",
        )
    return name


def is_author(by: str, address: str) -> bool:
    """Return whether `by` is the person with this address, or an operator who acts for them."""
    return by == address or by.endswith(f" for {address}")


class Author(Value):
    """The person who uses a client: an operator, or on the web the sender of the request."""

    operator: str | None = None
    """The name of the operator; None if people act for themselves."""

    @property
    def name(self) -> str:
        """Return the author of changes that are an operator's own."""
        return f"{OPERATOR} {self.operator}" if self.operator else OPERATOR

    def acting_for(self, address: str) -> str:
        """Return the author of changes in the name of the owner or admin with this address."""
        return f"{self.name} for {address}" if self.operator else address

    def acting_for_invitee(self, address: str) -> str:
        """Return the author of changes in the name of the invitee with this address."""
        return f"{self.name} for {address}" if self.operator else INVITEE


THEMSELVES: Final = Author()
"""The author where people act for themselves, as on the web."""
