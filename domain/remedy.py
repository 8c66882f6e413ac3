"""What clears a blocker, or makes one (BLK)."""

from enum import StrEnum
from typing import Literal

from domain.model import Value


class Removal(StrEnum):
    """What becomes of a user who is removed from their account."""

    UNLINK = "unlink"
    """They keep what is theirs, on a free account of their own."""
    DELETE = "delete"
    """They are gone, and what was theirs with them."""


class Changed(Value):
    """One thing that a remedy has changed."""

    kind: Literal["user", "room", "invoice", "subscription"]
    id: str
    to: str | None = None
    """The account that the user has now; None for all else."""
