"""License types, capacities and pools (ADD, ASG)."""

import re
from enum import StrEnum

from domain.error import ErrorCode, Refused
from domain.model import Value

CAPACITIES = (500, 1000, 3000, 5000)
"""The numbers of participants for which Large Meeting is sold (ADD-1)."""

CAPACITY_WITHOUT_ADDON = 100
"""The number of participants of a meeting without an add-on (ASG-3)."""


class Sku(StrEnum):
    """A license type."""

    WORKPLACE = "workplace"
    """A base license; it has no capacity."""
    LARGE_MEETING = "large-meeting"
    """An add-on; it needs a base license (ASG-1)."""


class LicensePool(Value):
    """The licenses of one kind on an account: bought = assigned + reserved + free."""

    sku: Sku
    capacity: int | None
    """None for base licenses."""
    bought: int
    assigned: int
    reserved: int
    """Reserved for invitations that are not answered yet (INV-15)."""
    free: int
    holders: tuple[str, ...]
    """Addresses of the holders, the earliest assignment first."""
    waiting: tuple[str, ...]
    """Addresses of the waiting users, in the order in which they are served."""


def require_capacity(sku: Sku, capacity: int | None) -> None:
    """Raise `Refused(invalid_capacity)` for a capacity that is not sold (ADD-1)."""
    if sku is Sku.WORKPLACE and capacity is not None:
        raise Refused(ErrorCode.INVALID_CAPACITY, "A base license has no capacity; omit it.")
    if sku is Sku.LARGE_MEETING and capacity not in CAPACITIES:
        sold = ", ".join(str(each) for each in CAPACITIES)
        raise Refused(ErrorCode.INVALID_CAPACITY, f"Unknown capacity; use one of {sold}.")


def parse_quantity(typed: str) -> int:
    """Parse a quantity. Raises `Refused(invalid_quantity)` (ADD-1)."""
    if not re.fullmatch(r"\+?0*[1-9][0-9]{0,8}", typed.strip()):
        raise Refused(
            ErrorCode.INVALID_QUANTITY, f"Invalid quantity {typed!r}; use a whole number from 1 on."
        )
    return int(typed)


def parse_capacity(typed: str | None) -> int | None:
    """Parse a capacity. Raises `Refused(invalid_capacity)` (ADD-1)."""
    if typed is not None and not re.fullmatch(r"[0-9]{1,9}", typed.strip()):
        raise Refused(
            ErrorCode.INVALID_CAPACITY, f"Invalid capacity {typed!r}; use a number of participants."
        )
    return None if typed is None else int(typed)
