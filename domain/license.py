"""License types, capacities and pools (ADD, ASG)."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.error import ErrorCode, Refused
from domain.model import Value
from domain.text import WHOLE_NUMBER

CAPACITY_WITHOUT_ADDON = 100
"""The number of participants of a meeting or webinar without an add-on (ASG-3)."""

PAID_USERS_ONLY: Final = "Only paid users can enable this feature"


class Sku(StrEnum):
    """A license type."""

    WORKPLACE = "workplace"
    """A base license; it has no capacity."""
    LARGE_MEETING = "large-meeting"
    """The add-on for meetings; it needs a base license (ASG-1)."""
    WEBINAR = "webinar"
    """The add-on for webinars; a user may hold one add-on of each kind (ASG-8)."""


ADDONS: Final = (Sku.LARGE_MEETING, Sku.WEBINAR)
"""The license types that need a base license and have a capacity (ASG-8)."""

CAPACITIES: Final[Mapping[Sku, tuple[int, ...]]] = MappingProxyType(
    {
        Sku.LARGE_MEETING: (500, 1000, 3000, 5000),
        Sku.WEBINAR: (500, 1000, 3000, 5000, 10000),
    }
)
"""The numbers of participants for which each add-on is sold (ADD-1)."""

_NAMES: Final[Mapping[Sku, str]] = MappingProxyType(
    {Sku.WORKPLACE: "Workplace", Sku.LARGE_MEETING: "Large Meeting", Sku.WEBINAR: "Webinar"}
)


def license_name(sku: Sku, capacity: int | None) -> str:
    """Return the name of a license, for example `Webinar 500`."""
    return f"{_NAMES[sku]} {capacity}" if capacity else _NAMES[sku]


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
    if sku is not Sku.WORKPLACE and capacity not in CAPACITIES[sku]:
        sold = ", ".join(str(each) for each in CAPACITIES[sku])
        raise Refused(ErrorCode.INVALID_CAPACITY, f"Unknown capacity; use one of {sold}.")


_LARGEST_NUMBER: Final = 10**9 - 1


def parse_quantity(typed: str) -> int:
    """Parse a quantity. Raises `Refused(invalid_quantity)` (ADD-1)."""
    if not WHOLE_NUMBER.fullmatch(typed) or not 1 <= int(typed) <= _LARGEST_NUMBER:
        raise Refused(
            ErrorCode.INVALID_QUANTITY, f"Invalid quantity {typed!r}; use a whole number from 1 on."
        )
    return int(typed)


def parse_capacity(typed: str | None) -> int | None:
    """Parse a capacity. Raises `Refused(invalid_capacity)` (ADD-1)."""
    if typed is not None and not (WHOLE_NUMBER.fullmatch(typed) and int(typed) <= _LARGEST_NUMBER):
        raise Refused(
            ErrorCode.INVALID_CAPACITY, f"Invalid capacity {typed!r}; use a number of participants."
        )
    return None if typed is None else int(typed)


# Decisions about pools and the users who wait for their licenses.


def cannot_serve(
    sku: Sku,
    *,
    held: bool,
    licensed: bool,
    gives_base_license: bool,
    free_base: int,
    free_addons: int,
) -> bool:
    """Return whether no license is free for the user now (ASG-5).

    `held` is true if the user has this license already, `licensed` if they have a base license
    (ASG-1).
    """
    if held:
        return False
    if sku is Sku.WORKPLACE:
        return free_base < 1
    if licensed:
        return free_addons < 1
    return not gives_base_license or free_base < 1


def missing_license(
    account: str, sku: Sku, capacity: int | None, *, licensed: bool, gives_base_license: bool
) -> Refused:
    """Return the reason why a user of the account waits for a license (ASG-1, ASG-5).

    It has no counts: a waiting user whose reason changes is announced as changed.
    """
    no_base_license = f"{account} has no free base license. {buy_base_license(account)}"
    if sku is Sku.WORKPLACE:
        return Refused(ErrorCode.INSUFFICIENT_LICENSES, no_base_license)
    if licensed:
        return Refused(
            ErrorCode.INSUFFICIENT_LICENSES,
            f"{account} has no free {license_name(sku, capacity)} license.",
        )
    # Without `gives_base_license` the user needs one first, whether or not one is free.
    reason = f"{PAID_USERS_ONLY}, and {no_base_license}" if gives_base_license else PAID_USERS_ONLY
    return Refused(ErrorCode.BASE_LICENSE_REQUIRED, reason)


def buy_base_license(account: str) -> str:
    """Return the sentence with the command that buys a base license."""
    command = f"seatflow buy {account} workplace --quantity 1 --cycle monthly --by ADMIN"
    return f"Buy one with `{command}`."


def no_seats(account: str, *, assigned: int, reserved: int) -> Refused:
    """Return the refusal of an invitation that needs a base license when none is free (INV-15)."""
    bought = assigned + reserved
    if not bought:
        reason = f"{account} has no base licenses."
    else:
        none = "The only base license" if bought == 1 else f"None of the {bought} base licenses"
        reason = (
            f"{none} of {account} is{' not' if bought == 1 else ''} free: {assigned} assigned to "
            f"users, {reserved} reserved for invitations."
        )
    return Refused(ErrorCode.NO_SEATS, f"{reason} {buy_base_license(account)}")


def users_to_release(holders: Sequence[str], named: Collection[str], keep: int) -> list[str]:
    """Return the holders whose licenses end, so that at most `keep` remain (ADD-6).

    `holders` are sorted by assignment, the earliest first. The `named` holders lose their
    licenses first, then the holders with the latest assignments.
    """
    first = [email for email in holders if email in named]
    others = [email for email in holders if email not in named]
    return [*first, *reversed(others[keep:])]


class ImportedCount(Value):
    """The size of a pool after an import."""

    bought: int
    named: int
    """The number named by the file; orders have bought the rest."""


def imported_count(bought: int, named_before: int, *, named: int, ordered: int) -> ImportedCount:
    """Return the size of a pool after the import of a file that names `named` licenses (ADD-5).

    `ordered` of these were bought by orders. The file may be older than an order, so the
    difference from `named_before` is applied. A file that names the present number, or the
    number named before, changes nothing.
    """
    if named == bought:
        return ImportedCount(bought=bought, named=named_before)
    return ImportedCount(bought=bought + named - ordered - named_before, named=named - ordered)
