"""Licenses: what an account buys, and what one user holds (ADD, ASG)."""

import re
from enum import StrEnum

from domain.error import ErrorCode, Refused
from domain.model import Value

CAPACITIES = (500, 1000, 3000, 5000)
"""How many participants a Large Meeting license allows (ADD-1)."""

WITHOUT_ADDON = 100
"""How many participants a meeting has without an add-on (ASG-3)."""


class Sku(StrEnum):
    """What is bought."""

    WORKPLACE = "workplace"
    """A base license; it has no capacity."""
    LARGE_MEETING = "large-meeting"
    """An add-on; it needs a base license (ASG-1)."""


class LicensePool(Value):
    """Licenses of one kind that an account has: bought = assigned + reserved + free."""

    sku: Sku
    capacity: int | None
    """None of base licenses."""
    bought: int
    assigned: int
    reserved: int
    """Promised to invitations that are not answered yet (INV-15)."""
    free: int
    holders: tuple[str, ...]
    """The longest first."""
    waiting: tuple[str, ...]
    """Who is served next first."""


def require_capacity(sku: Sku, capacity: int | None) -> None:
    """Raises Refused: `invalid_capacity`, for one that is not sold (ADD-1)."""
    if sku is Sku.WORKPLACE and capacity is not None:
        raise Refused(ErrorCode.INVALID_CAPACITY, "A base license has no capacity.")
    if sku is Sku.LARGE_MEETING and capacity not in CAPACITIES:
        sold = ", ".join(str(each) for each in CAPACITIES)
        raise Refused(ErrorCode.INVALID_CAPACITY, f"Large Meeting is sold for {sold} participants.")


def quantity_of(typed: str) -> int:
    """How many licenses somebody has typed. Raises Refused: `invalid_quantity` (ADD-1)."""
    if not re.fullmatch(r"\+?0*[1-9][0-9]{0,8}", typed.strip()):
        raise Refused(
            ErrorCode.INVALID_QUANTITY, f"{typed!r} is no quantity: write a whole number from 1 on."
        )
    return int(typed)


def capacity_of(typed: str | None) -> int | None:
    """The capacity that somebody has typed. Raises Refused: `invalid_capacity` (ADD-1)."""
    if typed is not None and not re.fullmatch(r"[0-9]{1,9}", typed.strip()):
        raise Refused(ErrorCode.INVALID_CAPACITY, f"{typed!r} is no capacity.")
    return None if typed is None else int(typed)
