"""Licenses are given to users, taken from them, and served to who waits (ASG)."""

from typing import Any, cast

import pytest

from adapters.sql.database.transaction import writing
from adapters.sql.licenses.pool import grow, holders, shrink
from domain.error import ErrorCode, Refused
from domain.invitation import License
from domain.license import Sku
from domain.remedy import Removal
from tests.builders.assignment import (
    BASE,
    BOSS,
    LARGE,
    MEETING,
    a_request,
    assigned,
    capacities,
    counted,
    crew,
    named,
    now,
    outcomes,
    pool,
    pools,
    seen,
    sound,
    told,
    unassigned,
)
from tests.builders.invitation import ADMIN, NOON, Town, account, directory, ended, user


async def refused(town: Town, *names: str, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await assigned(town, *names, **more)
    assert await sound(town)
    return caught.value


async def bought(town: Town, capacity: int = 500, quantity: int = 1, sku: Sku = LARGE) -> None:
    async with writing(town.engine) as session:
        await grow(session, "crew", sku, capacity, quantity=quantity, at=NOON)


async def test_every_meeting_of_a_holder_has_the_capacity_at_once(town: Town) -> None:
    """ASG-3: and 100 once the license is taken away."""
    await crew(town, "ann", pools=pools(c500=1))
    assert outcomes(await assigned(town, "ann")) == {"ann": "assigned"}
    assert await capacities(town, "ann") == ([500], {500})
    [row] = await unassigned(town, "ann")
    assert (row.state, row.capacity) == ("released", 500)
    assert [meeting.id for meeting in row.meetings] == ["m"]
    assert await capacities(town, "ann") == ([], {100})
    assert await counted(town) == (1, 0, 0)
    assert await sound(town)


async def test_who_gets_none_waits_and_is_served_oldest_first(town: Town) -> None:
    """ASG-5: two licenses and three users; then one is bought, and one comes free."""
    await crew(town, "ann", "ben", "cid", "dee", pools=pools(c500=2))
    first = await assigned(town, "ann", "ben", "cid")
    second = await assigned(town, "dee")
    assert outcomes(first)["cid"] == "waiting insufficient_licenses"
    assert (await pool(town)).waiting == (named("cid"), named("dee"))
    await bought(town)
    assert await now(town, first) == dict.fromkeys(("ann", "ben", "cid"), "assigned")
    assert await told(town) == {first.request_id}
    await unassigned(town, "ann")
    assert await now(town, second) == {"dee": "assigned"}
    assert await now(town, first) == {"ann": "released", "ben": "assigned", "cid": "assigned"}
    assert await told(town) == {second.request_id}
    assert await counted(town) == (3, 3, 0)
    assert await sound(town)


async def test_an_atomic_request_assigns_all_or_none(town: Town) -> None:
    """ASG-5: the error is the first user's who gets nothing, and everybody has a row."""
    await crew(town, "ann", "ben", "cid", pools=pools(c500=2))
    error = await refused(town, "ann", "ben", "cid", atomic=True)
    assert error.code is ErrorCode.INSUFFICIENT_LICENSES
    rows = cast(list[dict[str, Any]], error.details["results"])
    assert [(row["state"], row["error"]["code"]) for row in rows] == [
        ("refused", "insufficient_licenses")
    ] * 3
    assert await counted(town) == (2, 0, 0)
    assert await capacities(town, "ann") == ([], {None})
    both = await assigned(town, "ann", "ben", atomic=True)
    assert outcomes(both) == {"ann": "assigned", "ben": "assigned"}


async def test_an_addon_needs_a_base_license(town: Town) -> None:
    """ASG-1: refused, or waiting until one arrives."""
    await crew(town, basic=["ann"], licenses=1, pools=pools(c500=1))
    error = await refused(town, "ann", atomic=True)
    assert error.code is ErrorCode.BASE_LICENSE_REQUIRED
    assert error.message == "Only paid users can enable this feature"
    waits = await assigned(town, "ann")
    assert outcomes(waits) == {"ann": "waiting base_license_required"}
    assert outcomes(await assigned(town, "ann", sku=BASE)) == {"ann": "assigned"}
    assert await now(town, waits) == {"ann": "assigned"}
    assert await told(town) == {waits.request_id}
    assert await sound(town)


@pytest.mark.parametrize("free", [1, 0])
@pytest.mark.parametrize("atomic", [True, False])
async def test_a_free_base_license_may_be_given_first(
    town: Town, free: int, *, atomic: bool
) -> None:
    """ASG-1: none free is as if it may not."""
    await crew(town, basic=["ann"], licenses=free, pools=pools(c500=1))
    asked = {"atomic": atomic, "give_base_license": True}
    if free:
        assert outcomes(await assigned(town, "ann", **asked)) == {"ann": "assigned"}
        assert (await seen(town, "ann")).licensed
    elif atomic:
        assert (await refused(town, "ann", **asked)).code is ErrorCode.BASE_LICENSE_REQUIRED
    else:
        waits = await assigned(town, "ann", **asked)
        assert outcomes(waits) == {"ann": "waiting base_license_required"}
        await bought(town, 0, sku=BASE)
        assert await now(town, waits) == {"ann": "assigned"}
    assert await sound(town)


@pytest.mark.parametrize(
    ("bought_before", "capacity"),
    [
        ({"c500": 1}, 500),
        ({"c500": 0, "c1000": 1}, 1000),
        ({"c500": 1, "c1000": 1}, 1000),
    ],
)
async def test_a_capacity_may_be_left_out_when_only_one_is_possible(
    town: Town, bought_before: dict[str, int], capacity: int
) -> None:
    """ASG-2: the only one, or the only one with a free license."""
    await crew(town, "ann", "ben", pools=pools(**bought_before))
    if len(bought_before) > 1 and bought_before["c500"]:
        await assigned(town, "ben", capacity=500)
    [result] = (await assigned(town, "ann")).results
    assert result.capacity == capacity


async def test_otherwise_a_capacity_is_required(town: Town) -> None:
    """ASG-2, ADD-1."""
    await crew(town, "ann", pools=pools(c500=1, c1000=1))
    assert (await refused(town, "ann")).code is ErrorCode.CAPACITY_REQUIRED
    assert (await refused(town, "ann", capacity=750)).code is ErrorCode.INVALID_CAPACITY
    error = await refused(town, "ann", capacity=500, sku=BASE)
    assert error.code is ErrorCode.INVALID_CAPACITY


async def test_another_capacity_replaces_the_first(town: Town) -> None:
    """ASG-4: which goes back to its pool, and serves who waits for it."""
    await crew(town, "ann", "ben", pools=pools(c500=1, c1000=1))
    first = await assigned(town, "ann", capacity=500)
    waits = await assigned(town, "ben", capacity=500)
    assert outcomes(waits) == {"ben": "waiting insufficient_licenses"}
    await assigned(town, "ann", capacity=1000)
    assert await capacities(town, "ann") == ([1000], {1000})
    assert await now(town, first) == {"ann": "released"}
    assert await now(town, waits) == {"ben": "assigned"}
    assert await told(town) == {waits.request_id}
    assert await sound(town)


async def test_the_same_again_consumes_nothing(town: Town) -> None:
    """ASG-4: not even when none is free."""
    await crew(town, "ann", pools=pools(c500=1))
    await assigned(town, "ann")
    assert outcomes(await assigned(town, "ann", capacity=500)) == {"ann": "assigned"}
    assert outcomes(await assigned(town, "ann", sku=BASE)) == {"ann": "assigned"}
    assert await counted(town) == (1, 1, 0)


async def test_who_waits_for_another_keeps_what_they_hold(town: Town) -> None:
    """ASG-4: until it comes."""
    await crew(town, "ann", "ben", pools=pools(c500=1, c1000=1))
    await assigned(town, "ann", capacity=500)
    await assigned(town, "ben", capacity=1000)
    waits = await assigned(town, "ann", capacity=1000)
    assert await capacities(town, "ann") == ([500], {500})
    await unassigned(town, "ben")
    assert await now(town, waits) == {"ann": "assigned"}
    assert await counted(town) == (1, 0, 0)


async def test_what_was_asked_before_does_not_replace_what_was_got_since(town: Town) -> None:
    await crew(town, "ann", pools=pools(c1000=1))
    before = await assigned(town, "ann", capacity=500)
    twice = await assigned(town, "ann", capacity=1000)
    assert outcomes(twice) == {"ann": "assigned"}
    assert await now(town, before) == {"ann": "refused conflict"}
    assert await told(town) == {before.request_id}
    await bought(town, 500)
    assert await capacities(town, "ann") == ([1000], {1000})


async def test_a_user_who_waits_twice_is_served_once(town: Town) -> None:
    await crew(town, "ann", "ben", pools=pools(c500=0))
    waiting = [await assigned(town, "ann", capacity=500) for _ in range(2)]
    await bought(town, quantity=2)
    assert [await now(town, each) for each in waiting] == [{"ann": "assigned"}] * 2
    assert await counted(town) == (2, 1, 0)


async def test_a_repeated_request_returns_how_it_stands(town: Town) -> None:
    """Whoever carries it out again after a crash assigns nothing twice."""
    await crew(town, "ann", "ben", pools=pools(c500=2))
    request = a_request("ann", by=BOSS)
    first = await town.store.assignments.assign(request, NOON)
    await unassigned(town, "ann")
    again = await town.store.assignments.assign(request, NOON)
    assert outcomes(first) == {"ann": "assigned"}
    assert outcomes(again) == {"ann": "released"}
    assert await counted(town) == (2, 0, 0)


async def test_who_is_not_on_the_account_is_refused(town: Town) -> None:
    """The others are not; but they are by an atomic request."""
    await crew(town, "ann", pools=pools(c500=1))
    both = await assigned(town, "sue@solo.example", "ann")
    assert outcomes(both) == {"sue": "refused not_found", "ann": "assigned"}
    assert outcomes(await unassigned(town, "sue@solo.example")) == {"sue": "refused not_found"}
    error = await refused(town, "ann", "sue@solo.example", atomic=True)
    assert error.code is ErrorCode.NOT_FOUND


async def test_only_admins_of_a_paid_account_assign(town: Town) -> None:
    await crew(town, "ann", pools=pools(c500=1))
    assert (await refused(town, "ann", by=named("ann"))).code is ErrorCode.NOT_AUTHORIZED
    assert (await refused(town, "ann", by=ADMIN)).code is ErrorCode.NOT_AUTHORIZED
    assert (await refused(town, "ann", account="nobody")).code is ErrorCode.NOT_FOUND
    error = await refused(town, "sue@solo.example", account="solo", by="sue@solo.example")
    assert error.code is ErrorCode.TARGET_NOT_PAID
    with pytest.raises(Refused) as caught:
        await unassigned(town, "ann", by=named("ann"))
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED
    with pytest.raises(Refused) as caught:
        await town.store.assignments.assignment("nothing")
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_a_base_license_is_not_taken_from_beside_an_addon(town: Town) -> None:
    """ASG-7: unless both are taken, which names the meetings."""
    await crew(town, "ann", pools=pools(c500=1))
    await assigned(town, "ann")
    [refused_] = await unassigned(town, "ann", sku=BASE)
    assert outcomes([refused_]) == {"ann": "refused dependency_violation"}
    assert refused_.error
    [meeting] = cast(list[dict[str, Any]], refused_.error["meetings"])
    assert (meeting["id"], meeting["capacity"]) == ("m", 500)
    [taken] = await unassigned(town, "ann", sku=BASE, cascade=True)
    assert (taken.state, taken.capacity) == ("released", None)
    assert [meeting.id for meeting in taken.meetings] == ["m"]
    assert await capacities(town, "ann") == ([], {100})
    assert not (await seen(town, "ann")).licensed
    assert await sound(town)


async def test_taking_what_nobody_holds_is_done_already(town: Town) -> None:
    """And who waited for it does so no longer."""
    await crew(town, "ann", basic=["ben"], licenses=1)
    waits = await assigned(town, "ann", capacity=500)
    assert outcomes(await unassigned(town, "ann")) == {"ann": "released"}
    assert await now(town, waits) == {"ann": "released"}
    assert await told(town) == {waits.request_id}
    assert outcomes(await unassigned(town, "ann", "ben", sku=BASE)) == {
        "ann": "released",
        "ben": "released",
    }
    assert await sound(town)


async def test_a_base_license_that_was_taken_is_not_given_back_by_what_waits(town: Town) -> None:
    await crew(town, "ann", licenses=1)
    await assigned(town, "ann", capacity=500, give_base_license=True)
    await unassigned(town, "ann", sku=BASE)
    assert not (await seen(town, "ann")).licensed


async def test_who_loses_the_base_license_waits_for_that_again(town: Town) -> None:
    await crew(town, "ann", licenses=1)
    waits = await assigned(town, "ann", capacity=500)
    await unassigned(town, "ann", sku=BASE)
    assert await now(town, waits) == {"ann": "waiting base_license_required"}
    assert await told(town) == {waits.request_id}


async def test_base_licenses_wait_for_each_other(town: Town) -> None:
    """ASG-5: of a workplace pool as well, also for the seat of an invitation that ended."""
    await crew(town, "ann", basic=["ben", "cid"], licenses=2)
    invite = town.invite("new@person.example", "crew", license=License.LICENSED, by=BOSS)
    record = await town.pending(invite)
    waits = await assigned(town, "ben", "cid", sku=BASE)
    assert set(outcomes(waits).values()) == {"waiting insufficient_licenses"}
    await town.store.invitations.end(invite.invitation_id, ended(record))
    assert await now(town, waits) == {
        "ben": "assigned",
        "cid": "waiting insufficient_licenses",
    }
    await unassigned(town, "ann", sku=BASE)
    assert await now(town, waits) == {"ben": "assigned", "cid": "assigned"}
    assert await told(town) == {waits.request_id}
    assert await sound(town)


async def test_who_is_removed_gives_both_licenses_back(town: Town) -> None:
    """TRF-3: others who wait get them, and the person waits no more."""
    await crew(town, "ann", "ben", basic=["cid"], licenses=2, pools=pools(c500=1))
    await assigned(town, "ann")
    own = await assigned(town, "ann", capacity=1000)
    waits = await assigned(town, "ben", "cid", capacity=500)
    base = await assigned(town, "cid", sku=BASE)
    await town.store.remedies.remove_user("crew", named("ann"), Removal.UNLINK, NOON)
    assert await now(town, waits) == {"ben": "assigned", "cid": "waiting insufficient_licenses"}
    assert await now(town, base) == {"cid": "assigned"}
    assert await now(town, own) == {"ann": "refused not_found"}
    assert {own.request_id, waits.request_id, base.request_id} == await told(town)
    assert await sound(town)


async def test_who_joins_another_account_leaves_the_addon_behind(town: Town) -> None:
    """TRF-3: the admin there is told which, and the meetings hold 100."""
    await town.store.directory.import_(
        directory(
            account(
                "lone",
                user(
                    "lia@lone.example",
                    "owner",
                    licensed=True,
                    meetings=[MEETING],
                    addons=[{"sku": "large-meeting", "capacity": 500}],
                ),
                plan="free",
            )
        )
    )
    invite = town.invite("lia@lone.example")
    await town.joined(invite)
    parties = await town.store.invitations.parties(invite)
    assert [addon.capacity for addon in parties.licenses_left] == [500]
    lia = (await town.account("acme")).user("lia@lone.example")
    assert lia
    assert (lia.addons, {meeting.capacity for meeting in lia.meetings}) == ((), {100})
    assert await sound(town)


async def test_a_pool_shrinks_by_who_is_named_and_then_by_the_latest(town: Town) -> None:
    """ADD-6: and who waits is not served from what has ended."""
    await crew(town, "ann", "ben", "cid", "dee", pools=pools(c500=3))
    for name in ("ann", "ben", "cid", "dee"):
        await assigned(town, name)
    async with writing(town.engine) as session:
        assert await holders(session, "crew", LARGE, 500) == [
            named(name) for name in ("ann", "ben", "cid")
        ]
        released = await shrink(
            session, "crew", LARGE, 500, quantity=2, release=[named("ann")], at=NOON
        )
    assert released == [named("ann"), named("cid")]
    assert await counted(town) == (1, 1, 1)
    assert await capacities(town, "cid") == ([], {100})
    assert await sound(town)


async def test_base_licenses_that_end_take_the_addons_along(town: Town) -> None:
    """ADD-6: a seat that is promised stays (INV-15)."""
    await crew(town, "ann", "ben", licenses=3, pools=pools(c500=1))
    await assigned(town, "ben")
    waits = await assigned(town, "ann")
    await town.pending(town.invite("new@x.example", "crew", license=License.LICENSED, by=BOSS))
    async with writing(town.engine) as session:
        released = await shrink(session, "crew", BASE, 0, quantity=1, release=[], at=NOON)
    assert released == [named("ben")]
    assert await now(town, waits) == {"ann": "assigned"}
    async with writing(town.engine) as session:
        released = await shrink(session, "crew", BASE, 0, quantity=9, release=[], at=NOON)
        assert await shrink(session, "crew", LARGE, 3000, quantity=1, release=[], at=NOON) == []
    assert released == [named("ann")]
    assert await counted(town, None) == (1, 0, 0)
    assert await counted(town) == (1, 0, 0)
    assert await sound(town)


async def test_an_import_serves_who_waits(town: Town) -> None:
    await crew(town, "ann", basic=["ben"], licenses=1)
    waits = await assigned(town, "ann", "ben", capacity=500)
    await crew(town, "ann", "ben", pools=pools(c500=2))
    assert await now(town, waits) == {"ann": "assigned", "ben": "assigned"}
    assert await told(town) == {waits.request_id}
    assert await sound(town)


async def test_pools_are_reported_with_who_holds_and_who_waits(town: Town) -> None:
    await crew(town, "ann", basic=["ben"], licenses=2, pools=pools(c500=1))
    await assigned(town, "ann", "ben", capacity=500)
    await assigned(town, "ann", capacity=3000)
    base, large, none = await town.store.assignments.licenses("crew")
    assert (base.sku, base.capacity, base.bought, base.free) == (BASE, None, 2, 1)
    assert base.holders == (named("ann"),)
    assert (large.capacity, large.bought, large.assigned, large.free) == (500, 1, 1, 0)
    assert (large.holders, large.waiting) == ((named("ann"),), (named("ben"),))
    assert (none.capacity, none.bought, none.waiting) == (3000, 0, (named("ann"),))
    with pytest.raises(Refused):
        await town.store.assignments.licenses("nobody")
