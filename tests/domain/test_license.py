"""Decisions about pools and the users who wait for their licenses."""

import pytest

from domain.error import ErrorCode, Refused
from domain.license import (
    ImportedCount,
    Sku,
    cannot_serve,
    imported_count,
    missing_license,
    no_seats,
    require_capacity,
    users_to_release,
)

LARGE, WEBINAR, BASE = Sku.LARGE_MEETING, Sku.WEBINAR, Sku.WORKPLACE


@pytest.mark.parametrize(
    ("sku", "held", "licensed", "gives_base", "free_base", "free_addons", "useless"),
    [
        (BASE, False, False, False, 1, 0, False),
        (BASE, False, False, False, 0, 5, True),
        (BASE, True, True, False, 0, 0, False),  # ASG-4: it consumes nothing
        (LARGE, False, True, False, 0, 1, False),
        (LARGE, False, True, True, 5, 0, True),
        (LARGE, True, True, False, 0, 0, False),  # ASG-4
        (LARGE, False, False, False, 5, 5, True),  # ASG-1: no base license
        (LARGE, False, False, True, 1, 0, False),  # ASG-1: at least the base license
        (LARGE, False, False, True, 0, 5, True),
        # ASG-8: the same for webinar licenses
        (WEBINAR, False, True, False, 0, 1, False),
        (WEBINAR, False, False, False, 5, 5, True),
        (WEBINAR, False, False, True, 1, 0, False),
    ],
)
def test_a_user_is_not_tried_when_no_license_can_be_given(
    sku: Sku,
    held: bool,
    licensed: bool,
    gives_base: bool,
    free_base: int,
    free_addons: int,
    useless: bool,
) -> None:
    """ASG-5: a user waits without an attempt if the pools have nothing for them."""
    found = cannot_serve(
        sku,
        held=held,
        licensed=licensed,
        gives_base_license=gives_base,
        free_base=free_base,
        free_addons=free_addons,
    )
    assert found == useless


@pytest.mark.parametrize(("sku", "name"), [(LARGE, "Large Meeting 500"), (WEBINAR, "Webinar 500")])
def test_a_basic_user_lacks_the_base_license_first(sku: Sku, name: str) -> None:
    """ASG-1: the reason of a basic user is the base license, of others the free license."""
    basic = missing_license("crew", sku, 500, licensed=False, gives_base_license=False)
    licensed = missing_license("crew", sku, 500, licensed=True, gives_base_license=False)
    assert basic.code is ErrorCode.BASE_LICENSE_REQUIRED
    assert basic.message == "Only paid users can enable this feature"
    assert licensed.code is ErrorCode.INSUFFICIENT_LICENSES
    assert licensed.message == f"crew has no free {name} license."


@pytest.mark.parametrize(
    ("sku", "capacity", "valid"),
    [
        (BASE, None, True),
        (BASE, 500, False),
        (LARGE, 5000, True),
        (LARGE, 10000, False),
        (LARGE, None, False),
        (WEBINAR, 500, True),
        (WEBINAR, 10000, True),
        (WEBINAR, 750, False),
        (WEBINAR, None, False),
    ],
)
def test_each_kind_is_sold_for_its_own_capacities(
    sku: Sku, capacity: int | None, *, valid: bool
) -> None:
    """ADD-1: anything else is `invalid_capacity`."""
    if valid:
        require_capacity(sku, capacity)
        return
    with pytest.raises(Refused) as refused:
        require_capacity(sku, capacity)
    assert refused.value.code is ErrorCode.INVALID_CAPACITY


@pytest.mark.parametrize(
    ("named", "keep", "released"),
    [
        ([], 3, []),
        ([], 1, ["c", "b"]),
        (["a"], 1, ["a", "c"]),
        (["a"], 2, ["a"]),
        (["x"], 2, ["c"]),
    ],
)
def test_named_users_are_released_first_then_the_last_assigned(
    named: list[str], keep: int, released: list[str]
) -> None:
    """ADD-6: nobody else loses a license."""
    assert users_to_release(["a", "b", "c"], named, keep) == released


@pytest.mark.parametrize(
    ("bought", "named_before", "named", "ordered", "after"),
    [
        # The present number, and the number named before, change nothing.
        (5, 3, 5, 2, (5, 3)),
        (5, 3, 3, 0, (5, 3)),
        # An older file does not list the two licenses that an order has bought.
        (5, 3, 4, 0, (6, 4)),
        # A newer file lists them.
        (5, 3, 6, 2, (6, 4)),
        (5, 3, 4, 2, (4, 2)),
    ],
)
def test_a_file_changes_a_pool_by_the_difference_to_the_file_before(
    bought: int, named_before: int, named: int, ordered: int, after: tuple[int, int]
) -> None:
    """ADD-5: an import neither takes away nor repeats what orders have bought."""
    count = imported_count(bought, named_before, named=named, ordered=ordered)
    assert count == ImportedCount(bought=after[0], named=after[1])


@pytest.mark.parametrize("sku", [LARGE, WEBINAR])
def test_without_a_free_base_license_to_give_the_reason_names_the_command(sku: Sku) -> None:
    """ASG-1: the true reason is the missing base license, not that the user is basic."""
    refused = missing_license("crew", sku, 500, licensed=False, gives_base_license=True)
    assert refused.code is ErrorCode.BASE_LICENSE_REQUIRED
    assert refused.message == (
        "Only paid users can enable this feature, and crew has no free base license. "
        "Buy one with `seatflow buy crew workplace --quantity 1 --cycle monthly --by ADMIN`."
    )


@pytest.mark.parametrize(
    ("assigned", "reserved", "reason"),
    [
        (0, 0, "crew has no base licenses. "),
        (1, 0, "The only base license of crew is not free: 1 assigned to users, 0 reserved"),
        (3, 2, "None of the 5 base licenses of crew is free: 3 assigned to users, 2 reserved"),
    ],
)
def test_no_seats_says_where_the_base_licenses_are(
    assigned: int, reserved: int, reason: str
) -> None:
    """INV-15: and which command buys one."""
    refused = no_seats("crew", assigned=assigned, reserved=reserved)
    assert refused.code is ErrorCode.NO_SEATS
    assert refused.message.startswith(reason)
    assert "seatflow buy crew workplace" in refused.message
