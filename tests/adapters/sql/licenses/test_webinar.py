"""Webinar licenses are add-ons of their own kind, beside Large Meeting (ASG-8)."""

from typing import Any, cast

import pytest

from adapters.sql.database.transaction import writing
from adapters.sql.licenses.pool import grow, holders, shrink
from domain.error import ErrorCode, Refused
from domain.license import Sku
from tests.builders.account import NOON, account, directory, user
from tests.builders.assignment import (
    BASE,
    HOSTED,
    LARGE,
    WEBINAR,
    assign,
    audit_passes,
    crew_email,
    crew_user,
    current_outcomes,
    held_capacities,
    import_crew,
    name_pools,
    outcomes,
    pool_counts,
    pools,
    unassign,
)
from tests.builders.invitation import StoreScenario

BOTH = (LARGE, WEBINAR)


async def held(scenario: StoreScenario, name: str) -> list[tuple[list[int], set[int | None]]]:
    """Return the held capacities of each kind, with those of meetings and of webinars."""
    return [await held_capacities(scenario, name, sku) for sku in BOTH]


async def import_both(scenario: StoreScenario, *names: str, **more: Any) -> None:
    """Import Bea's account with one license of each kind."""
    both = [*pools(LARGE, c500=1), *pools(WEBINAR, c1000=1)]
    await import_crew(scenario, *names, **{"pools": both, **more})


async def test_a_user_holds_one_license_of_each_kind(scenario: StoreScenario) -> None:
    """ASG-8, ASG-3: each sets the capacity of its own events, and is released alone."""
    await import_both(scenario, "ann")
    await assign(scenario, "ann", sku=LARGE)
    assert await held(scenario, "ann") == [([500], {500}), ([], {None})]
    await assign(scenario, "ann", sku=WEBINAR)
    assert await held(scenario, "ann") == [([500], {500}), ([1000], {1000})]
    [released] = await unassign(scenario, "ann", sku=WEBINAR)
    assert (released.state, released.capacity) == ("released", 1000)
    assert [webinar.id for webinar in released.webinars] == ["w"]
    assert released.meetings == ()
    assert await held(scenario, "ann") == [([500], {500}), ([], {100})]
    assert await pool_counts(scenario, 1000, WEBINAR) == (1, 0, 0)
    assert await pool_counts(scenario, 500, LARGE) == (1, 1, 0)
    assert await audit_passes(scenario)


async def test_another_capacity_replaces_the_license_of_the_same_kind(
    scenario: StoreScenario,
) -> None:
    """ASG-4, ASG-8: the first returns to its pool; the other kind stays."""
    both = [*pools(LARGE, c500=1), *pools(WEBINAR, c500=1, c10000=1)]
    await import_crew(scenario, "ann", "ben", pools=both)
    for sku, capacity in ((LARGE, 500), (WEBINAR, 500)):
        await assign(scenario, "ann", sku=sku, capacity=capacity)
    waits = await assign(scenario, "ben", sku=WEBINAR, capacity=500)
    assert outcomes(waits) == {"ben": "waiting insufficient_licenses"}
    await assign(scenario, "ann", sku=WEBINAR, capacity=10000)
    assert await held(scenario, "ann") == [([500], {500}), ([10000], {10000})]
    assert await current_outcomes(scenario, waits) == {"ben": "assigned"}
    assert await audit_passes(scenario)


async def test_a_free_license_of_the_other_kind_serves_no_user(scenario: StoreScenario) -> None:
    """ASG-5, ASG-8: users wait for the kind that they were promised."""
    await import_crew(scenario, "ann", pools=[*pools(LARGE, c500=1), *pools(WEBINAR, c500=0)])
    waits = await assign(scenario, "ann", sku=WEBINAR, capacity=500)
    assert outcomes(waits) == {"ann": "waiting insufficient_licenses"}
    assert await pool_counts(scenario, 500, WEBINAR) == (0, 0, 1)
    assert outcomes(await assign(scenario, "ann", sku=LARGE)) == {"ann": "assigned"}
    assert await current_outcomes(scenario, waits) == {"ann": "waiting insufficient_licenses"}
    async with writing(scenario.engine) as session:
        await grow(session, "crew", WEBINAR, 500, quantity=1, at=NOON)
        await name_pools(session)
    assert await current_outcomes(scenario, waits) == {"ann": "assigned"}
    assert await held(scenario, "ann") == [([500], {500})] * 2
    assert await audit_passes(scenario)


async def test_the_capacity_may_be_omitted_by_kind(scenario: StoreScenario) -> None:
    """ASG-2, ASG-8: pools of the other kind do not count."""
    both = [*pools(LARGE, c500=1, c1000=1), *pools(WEBINAR, c3000=1)]
    await import_crew(scenario, "ann", pools=both)
    [assigned] = (await assign(scenario, "ann", sku=WEBINAR)).results
    assert assigned.capacity == 3000
    with pytest.raises(Refused) as caught:
        await assign(scenario, "ann", sku=LARGE)
    assert caught.value.code is ErrorCode.CAPACITY_REQUIRED
    with pytest.raises(Refused) as caught:
        await assign(scenario, "ann", sku=LARGE, capacity=10000)
    assert caught.value.code is ErrorCode.INVALID_CAPACITY


async def test_a_webinar_license_needs_a_base_license(scenario: StoreScenario) -> None:
    """ASG-1, ASG-8: a free base license may be given first."""
    await import_crew(scenario, basic=["ann"], licenses=1, pools=pools(WEBINAR, c500=1))
    with pytest.raises(Refused) as caught:
        await assign(scenario, "ann", sku=WEBINAR, atomic=True)
    assert caught.value.code is ErrorCode.BASE_LICENSE_REQUIRED
    given = await assign(scenario, "ann", sku=WEBINAR, atomic=True, give_base_license=True)
    assert outcomes(given) == {"ann": "assigned"}
    assert (await crew_user(scenario, "ann")).licensed
    assert await audit_passes(scenario)


@pytest.mark.parametrize(
    ("assigned", "named", "meetings", "webinars"),
    [
        ([WEBINAR], "Webinar 1000", [], [("w", 1000)]),
        ([LARGE], "Large Meeting 500", [("m", 500)], []),
        (BOTH, "Large Meeting 500 and Webinar 1000", [("m", 500)], [("w", 1000)]),
    ],
)
async def test_a_base_license_is_released_with_both_kinds_by_cascade_only(
    scenario: StoreScenario,
    assigned: list[Sku],
    named: str,
    meetings: list[tuple[str, int]],
    webinars: list[tuple[str, int]],
) -> None:
    """ASG-7, ASG-8: the refusal and the cascade list what is affected, by kind."""
    await import_both(scenario, "ann")
    for sku in assigned:
        await assign(scenario, "ann", sku=sku)
    [refused] = await unassign(scenario, "ann", sku=BASE)
    assert outcomes([refused]) == {"ann": "refused dependency_violation"}
    assert refused.error
    assert named in str(refused.error["message"])
    for name, expected in (("meetings", meetings), ("webinars", webinars)):
        found = cast(list[dict[str, Any]], refused.error[name])
        assert [(each["id"], each["capacity"]) for each in found] == expected
    [taken] = await unassign(scenario, "ann", sku=BASE, cascade=True)
    assert [(each.id, each.capacity) for each in taken.meetings] == meetings
    assert [(each.id, each.capacity) for each in taken.webinars] == webinars
    ann = await crew_user(scenario, "ann")
    assert (ann.licensed, ann.addons) == (False, ())
    assert await audit_passes(scenario)


async def test_a_user_who_joins_another_account_leaves_both_kinds(scenario: StoreScenario) -> None:
    """TRF-3, ASG-8: the admins get the list, and the webinars have capacity 100."""
    lia: dict[str, Any] = user(
        "lia@lone.example",
        "owner",
        licensed=True,
        addons=[{"sku": "webinar", "capacity": 3000}, {"capacity": 500}],
        **HOSTED,
    )
    await scenario.store.directory.import_(directory(account("lone", lia, plan="free")))
    invite = scenario.new_invite("lia@lone.example")
    await scenario.send_and_accept(invite)
    parties = await scenario.store.invitations.parties(invite)
    assert [(addon.sku, addon.capacity) for addon in parties.licenses_left] == [
        ("large-meeting", 500),
        ("webinar", 3000),
    ]
    moved = (await scenario.account("acme")).user("lia@lone.example")
    assert moved
    assert moved.addons == ()
    assert [each.capacity for each in (*moved.meetings, *moved.webinars)] == [100, 100]
    assert await audit_passes(scenario)


async def test_a_reduced_pool_releases_its_own_kind_alone(scenario: StoreScenario) -> None:
    """ADD-6, ASG-8: pools of the same capacity are not mixed up; base licenses end both."""
    await import_crew(
        scenario, "ann", "ben", pools=[*pools(LARGE, c500=1), *pools(WEBINAR, c500=2)]
    )
    await assign(scenario, "ann", sku=LARGE)
    await assign(scenario, "ann", "ben", sku=WEBINAR)
    async with writing(scenario.engine) as session:
        assert await holders(session, "crew", LARGE, 500) == [crew_email("ann")]
        assert await holders(session, "crew", WEBINAR, 500) == list(map(crew_email, ("ann", "ben")))
        released = await shrink(
            session, "crew", WEBINAR, 500, quantity=1, release=[crew_email("ann")], at=NOON
        )
        await name_pools(session)
    assert released == [crew_email("ann")]
    assert await held(scenario, "ann") == [([500], {500}), ([], {100})]
    assert await audit_passes(scenario)
    await assign(scenario, "ben", sku=LARGE, capacity=500)
    async with writing(scenario.engine) as session:
        await shrink(session, "crew", BASE, 0, quantity=2, release=[], at=NOON)
        await name_pools(session)
    assert await pool_counts(scenario, 500, LARGE) == (1, 0, 1)
    assert await pool_counts(scenario, 500, WEBINAR) == (1, 0, 0)
    assert await audit_passes(scenario)
