"""Remedies: changes that clear or cause a blocker (BLK)."""

from enum import StrEnum
from typing import Literal

from domain.model import Value


class Removal(StrEnum):
    """The way in which a user is removed from their account."""

    UNLINK = "unlink"
    """The user keeps their data, on a free account of their own."""
    DELETE = "delete"
    """The user and their data are deleted."""


class Changed(Value):
    """One record that a remedy has changed."""

    kind: Literal["user", "room", "invoice", "subscription"]
    id: str
    to: str | None = None
    """The account that an unlinked user has now; None for everything else."""
