"""Licenses are assigned to users, released, and given to users who wait (ASG)."""

from typing import Any, cast

import pytest

from adapters.sql.database.transaction import writing
from adapters.sql.licenses.pool import grow, holders, shrink
from domain.error import ErrorCode, Refused
from domain.invitation import License
from domain.letter.license import LicenseServedLetter
from domain.license import Sku
from domain.remedy import Removal
from tests.builders.account import ADMIN, NOON, account, directory, user
from tests.builders.assignment import (
    BASE,
    CREW_OWNER,
    LARGE,
    MEETING,
    an_assignment_request,
    assign,
    audit_passes,
    crew_email,
    crew_user,
    current_outcomes,
    held_capacities,
    import_crew,
    name_pools,
    notified_requests,
    outcomes,
    pool,
    pool_counts,
    pools,
    unassign,
)
from tests.builders.invitation import StoreScenario, ended


async def refused(scenario: StoreScenario, *names: str, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await assign(scenario, *names, **more)
    assert await audit_passes(scenario)
    return caught.value


async def bought(
    scenario: StoreScenario, capacity: int = 500, quantity: int = 1, sku: Sku = LARGE
) -> None:
    async with writing(scenario.engine) as session:
        await grow(session, "crew", sku, capacity, quantity=quantity, at=NOON)
        await name_pools(session)


async def test_every_meeting_of_a_holder_has_the_capacity_at_once(scenario: StoreScenario) -> None:
    """ASG-3: 100 again after the license is released."""
    await import_crew(scenario, "ann", pools=pools(c500=1))
    assert outcomes(await assign(scenario, "ann")) == {"ann": "assigned"}
    assert await held_capacities(scenario, "ann") == ([500], {500})
    [row] = await unassign(scenario, "ann")
    assert (row.state, row.capacity) == ("released", 500)
    assert [meeting.id for meeting in row.meetings] == ["m"]
    assert await held_capacities(scenario, "ann") == ([], {100})
    assert await pool_counts(scenario) == (1, 0, 0)
    assert await audit_passes(scenario)


async def test_users_without_a_license_wait_and_are_served_oldest_first(
    scenario: StoreScenario,
) -> None:
    """ASG-5: two licenses, three users; then one is bought and one becomes free."""
    await import_crew(scenario, "ann", "ben", "cid", "dee", pools=pools(c500=2))
    first = await assign(scenario, "ann", "ben", "cid")
    second = await assign(scenario, "dee")
    assert outcomes(first)["cid"] == "waiting insufficient_licenses"
    assert (await pool(scenario)).waiting == (crew_email("cid"), crew_email("dee"))
    await bought(scenario)
    assert await current_outcomes(scenario, first) == dict.fromkeys(
        ("ann", "ben", "cid"), "assigned"
    )
    assert await notified_requests(scenario) == {first.request_id}
    await unassign(scenario, "ann")
    assert await current_outcomes(scenario, second) == {"dee": "assigned"}
    assert await current_outcomes(scenario, first) == {
        "ann": "released",
        "ben": "assigned",
        "cid": "assigned",
    }
    assert await notified_requests(scenario) == {second.request_id}
    assert await pool_counts(scenario) == (3, 3, 0)
    assert await audit_passes(scenario)


async def letters(scenario: StoreScenario) -> list[tuple[str, str]]:
    """Return event and reader of the queued letters, the oldest first."""
    queued = await scenario.queued_letters()
    return [(letter.event, letter.reader.email.partition("@")[0]) for letter in queued]


async def test_the_letters_of_an_assignment_are_rows_of_its_transaction(
    scenario: StoreScenario,
) -> None:
    """ASG-3, ASG-5, OPS-1: each is queued once, also if the request is repeated."""
    await import_crew(scenario, "ann", "ben", "cid", pools=pools(c500=1))
    request = an_assignment_request("ann", "ben", "cid")
    for _ in range(2):
        await scenario.store.assignments.assign(request, NOON)
    assert await letters(scenario) == [("license_assigned", "ann")]
    await bought(scenario)
    assert await letters(scenario) == [("license_assigned", "ann"), ("license_assigned", "ben")]
    await unassign(scenario, "cid", "ann")
    assert (await letters(scenario))[2:] == [("license_served", "bea"), ("license_released", "ann")]
    [served] = [
        each for each in await scenario.queued_letters() if isinstance(each, LicenseServedLetter)
    ]
    assert (served.served, served.without) == ((crew_email("ben"),), (crew_email("cid"),))
    # TXT-4: the reader is the only admin.
    assert served.contact is None


async def test_a_user_served_by_another_request_gets_one_letter(scenario: StoreScenario) -> None:
    """ASG-4: the other request ends without a letter."""
    await import_crew(scenario, "ann")
    for _ in range(2):
        await assign(scenario, "ann", capacity=500)
    await bought(scenario)
    assert await letters(scenario) == [("license_assigned", "ann"), ("license_served", "bea")]


async def test_an_atomic_request_assigns_all_or_none(scenario: StoreScenario) -> None:
    """ASG-5: the error is that of the first user without a license; every user has a result."""
    await import_crew(scenario, "ann", "ben", "cid", pools=pools(c500=2))
    error = await refused(scenario, "ann", "ben", "cid", atomic=True)
    assert error.code is ErrorCode.INSUFFICIENT_LICENSES
    rows = cast(list[dict[str, Any]], error.details["results"])
    assert [(row["state"], row["error"]["code"]) for row in rows] == [
        ("refused", "insufficient_licenses")
    ] * 3
    assert await pool_counts(scenario) == (2, 0, 0)
    assert await held_capacities(scenario, "ann") == ([], {None})
    both = await assign(scenario, "ann", "ben", atomic=True)
    assert outcomes(both) == {"ann": "assigned", "ben": "assigned"}


async def test_an_addon_needs_a_base_license(scenario: StoreScenario) -> None:
    """ASG-1: the user is refused, or waits for a base license."""
    await import_crew(scenario, basic=["ann"], licenses=1, pools=pools(c500=1))
    error = await refused(scenario, "ann", atomic=True)
    assert error.code is ErrorCode.BASE_LICENSE_REQUIRED
    assert error.message == "Only paid users can enable this feature"
    waits = await assign(scenario, "ann")
    assert outcomes(waits) == {"ann": "waiting base_license_required"}
    assert outcomes(await assign(scenario, "ann", sku=BASE)) == {"ann": "assigned"}
    assert await current_outcomes(scenario, waits) == {"ann": "assigned"}
    assert await notified_requests(scenario) == {waits.request_id}
    assert await audit_passes(scenario)


@pytest.mark.parametrize("free", [1, 0])
@pytest.mark.parametrize("atomic", [True, False])
async def test_a_free_base_license_may_be_given_first(
    scenario: StoreScenario, free: int, *, atomic: bool
) -> None:
    """ASG-1: with none free, as without `--give-base-license`."""
    await import_crew(scenario, basic=["ann"], licenses=free, pools=pools(c500=1))
    options = {"atomic": atomic, "give_base_license": True}
    if free:
        assert outcomes(await assign(scenario, "ann", **options)) == {"ann": "assigned"}
        assert (await crew_user(scenario, "ann")).licensed
    elif atomic:
        assert (await refused(scenario, "ann", **options)).code is ErrorCode.BASE_LICENSE_REQUIRED
    else:
        waits = await assign(scenario, "ann", **options)
        assert outcomes(waits) == {"ann": "waiting base_license_required"}
        await bought(scenario, 0, sku=BASE)
        assert await current_outcomes(scenario, waits) == {"ann": "assigned"}
    assert await audit_passes(scenario)


@pytest.mark.parametrize(
    ("bought_before", "capacity"),
    [
        ({"c500": 1}, 500),
        ({"c500": 0, "c1000": 1}, 1000),
        ({"c500": 1, "c1000": 1}, 1000),
    ],
)
async def test_the_capacity_may_be_omitted_when_only_one_is_possible(
    scenario: StoreScenario, bought_before: dict[str, int], capacity: int
) -> None:
    """ASG-2: the only one, or the only one with a free license."""
    await import_crew(scenario, "ann", "ben", pools=pools(**bought_before))
    if len(bought_before) > 1 and bought_before["c500"]:
        await assign(scenario, "ben", capacity=500)
    [result] = (await assign(scenario, "ann")).results
    assert result.capacity == capacity


async def test_with_several_possible_capacities_one_is_required(scenario: StoreScenario) -> None:
    """ASG-2, ADD-1: `capacity_required`, and `invalid_capacity` for an unknown one."""
    await import_crew(scenario, "ann", pools=pools(c500=1, c1000=1))
    assert (await refused(scenario, "ann")).code is ErrorCode.CAPACITY_REQUIRED
    assert (await refused(scenario, "ann", capacity=750)).code is ErrorCode.INVALID_CAPACITY
    error = await refused(scenario, "ann", capacity=500, sku=BASE)
    assert error.code is ErrorCode.INVALID_CAPACITY


async def test_another_capacity_replaces_the_first(scenario: StoreScenario) -> None:
    """ASG-4: the first returns to its pool and serves a waiting user."""
    await import_crew(scenario, "ann", "ben", pools=pools(c500=1, c1000=1))
    first = await assign(scenario, "ann", capacity=500)
    waits = await assign(scenario, "ben", capacity=500)
    assert outcomes(waits) == {"ben": "waiting insufficient_licenses"}
    await assign(scenario, "ann", capacity=1000)
    assert await held_capacities(scenario, "ann") == ([1000], {1000})
    assert await current_outcomes(scenario, first) == {"ann": "released"}
    assert await current_outcomes(scenario, waits) == {"ben": "assigned"}
    assert await notified_requests(scenario) == {waits.request_id}
    assert await audit_passes(scenario)


async def test_assigning_the_same_license_again_consumes_nothing(scenario: StoreScenario) -> None:
    """ASG-4: also when none is free."""
    await import_crew(scenario, "ann", pools=pools(c500=1))
    await assign(scenario, "ann")
    assert outcomes(await assign(scenario, "ann", capacity=500)) == {"ann": "assigned"}
    assert outcomes(await assign(scenario, "ann", sku=BASE)) == {"ann": "assigned"}
    assert await pool_counts(scenario) == (1, 1, 0)


async def test_a_user_who_waits_for_another_capacity_keeps_the_first(
    scenario: StoreScenario,
) -> None:
    """ASG-4: the first is replaced only when the other is free."""
    await import_crew(scenario, "ann", "ben", pools=pools(c500=1, c1000=1))
    await assign(scenario, "ann", capacity=500)
    await assign(scenario, "ben", capacity=1000)
    waits = await assign(scenario, "ann", capacity=1000)
    assert await held_capacities(scenario, "ann") == ([500], {500})
    await unassign(scenario, "ben")
    assert await current_outcomes(scenario, waits) == {"ann": "assigned"}
    assert await pool_counts(scenario) == (1, 0, 0)


async def test_an_older_waiting_request_does_not_replace_a_later_license(
    scenario: StoreScenario,
) -> None:
    """ASG-4: it is refused with `conflict`."""
    await import_crew(scenario, "ann", pools=pools(c1000=1))
    before = await assign(scenario, "ann", capacity=500)
    twice = await assign(scenario, "ann", capacity=1000)
    assert outcomes(twice) == {"ann": "assigned"}
    assert await current_outcomes(scenario, before) == {"ann": "refused conflict"}
    assert await notified_requests(scenario) == {before.request_id}
    await bought(scenario, 500)
    assert await held_capacities(scenario, "ann") == ([1000], {1000})


async def test_a_user_who_waits_twice_is_served_once(scenario: StoreScenario) -> None:
    """ASG-4: both requests are satisfied by one license."""
    await import_crew(scenario, "ann", "ben", pools=pools(c500=0))
    waiting = [await assign(scenario, "ann", capacity=500) for _ in range(2)]
    await bought(scenario, quantity=2)
    assert [await current_outcomes(scenario, each) for each in waiting] == [{"ann": "assigned"}] * 2
    assert await pool_counts(scenario) == (2, 1, 0)


async def test_a_repeated_request_returns_its_current_results(scenario: StoreScenario) -> None:
    """ASG-4: a retry after a crash assigns nothing again."""
    await import_crew(scenario, "ann", "ben", pools=pools(c500=2))
    request = an_assignment_request("ann", by=CREW_OWNER)
    first = await scenario.store.assignments.assign(request, NOON)
    await unassign(scenario, "ann")
    again = await scenario.store.assignments.assign(request, NOON)
    assert outcomes(first) == {"ann": "assigned"}
    assert outcomes(again) == {"ann": "released"}
    assert await pool_counts(scenario) == (2, 0, 0)


async def test_a_user_of_another_account_is_refused(scenario: StoreScenario) -> None:
    """ASG-5: only that user, or with `atomic` the whole request."""
    await import_crew(scenario, "ann", pools=pools(c500=1))
    both = await assign(scenario, "sue@solo.example", "ann")
    assert outcomes(both) == {"sue": "refused not_found", "ann": "assigned"}
    assert outcomes(await unassign(scenario, "sue@solo.example")) == {"sue": "refused not_found"}
    error = await refused(scenario, "ann", "sue@solo.example", atomic=True)
    assert error.code is ErrorCode.NOT_FOUND


async def test_only_admins_of_a_paid_account_assign(scenario: StoreScenario) -> None:
    """Contract, error codes: `not_authorized`, `target_not_paid` or `not_found`."""
    await import_crew(scenario, "ann", pools=pools(c500=1))
    assert (await refused(scenario, "ann", by=crew_email("ann"))).code is ErrorCode.NOT_AUTHORIZED
    assert (await refused(scenario, "ann", by=ADMIN)).code is ErrorCode.NOT_AUTHORIZED
    assert (await refused(scenario, "ann", account="nobody")).code is ErrorCode.NOT_FOUND
    error = await refused(scenario, "sue@solo.example", account="solo", by="sue@solo.example")
    assert error.code is ErrorCode.TARGET_NOT_PAID
    with pytest.raises(Refused) as caught:
        await unassign(scenario, "ann", by=crew_email("ann"))
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED
    with pytest.raises(Refused) as caught:
        await scenario.store.assignments.assignment("nothing")
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_a_base_license_with_an_addon_is_released_by_cascade_only(
    scenario: StoreScenario,
) -> None:
    """ASG-7: the refusal and the cascade list the meetings."""
    await import_crew(scenario, "ann", pools=pools(c500=1))
    await assign(scenario, "ann")
    [refused_] = await unassign(scenario, "ann", sku=BASE)
    assert outcomes([refused_]) == {"ann": "refused dependency_violation"}
    assert refused_.error
    [meeting] = cast(list[dict[str, Any]], refused_.error["meetings"])
    assert (meeting["id"], meeting["capacity"]) == ("m", 500)
    [taken] = await unassign(scenario, "ann", sku=BASE, cascade=True)
    assert (taken.state, taken.capacity) == ("released", None)
    assert [meeting.id for meeting in taken.meetings] == ["m"]
    assert await held_capacities(scenario, "ann") == ([], {100})
    assert not (await crew_user(scenario, "ann")).licensed
    assert await audit_passes(scenario)


async def test_releasing_a_license_that_is_not_held_succeeds(scenario: StoreScenario) -> None:
    """ASG-5: a user who waited for it waits no longer."""
    await import_crew(scenario, "ann", basic=["ben"], licenses=1)
    waits = await assign(scenario, "ann", capacity=500)
    assert outcomes(await unassign(scenario, "ann")) == {"ann": "released"}
    assert await current_outcomes(scenario, waits) == {"ann": "released"}
    assert await notified_requests(scenario) == {waits.request_id}
    assert outcomes(await unassign(scenario, "ann", "ben", sku=BASE)) == {
        "ann": "released",
        "ben": "released",
    }
    assert await audit_passes(scenario)


async def test_a_waiting_request_does_not_restore_a_released_base_license(
    scenario: StoreScenario,
) -> None:
    """ASG-1: `--give-base-license` applies at the request only."""
    await import_crew(scenario, "ann", licenses=1)
    await assign(scenario, "ann", capacity=500, give_base_license=True)
    await unassign(scenario, "ann", sku=BASE)
    assert not (await crew_user(scenario, "ann")).licensed


async def test_a_waiting_user_who_loses_the_base_license_waits_for_one(
    scenario: StoreScenario,
) -> None:
    """ASG-1: the reason becomes `base_license_required`."""
    await import_crew(scenario, "ann", licenses=1)
    waits = await assign(scenario, "ann", capacity=500)
    await unassign(scenario, "ann", sku=BASE)
    assert await current_outcomes(scenario, waits) == {"ann": "waiting base_license_required"}
    assert await notified_requests(scenario) == {waits.request_id}


async def test_users_wait_for_base_licenses_too(scenario: StoreScenario) -> None:
    """ASG-5, INV-15: the seat of an ended invitation serves them as well."""
    await import_crew(scenario, "ann", basic=["ben", "cid"], licenses=2)
    invite = scenario.new_invite(
        "new@person.example", "crew", license=License.LICENSED, by=CREW_OWNER
    )
    record = await scenario.send(invite)
    waits = await assign(scenario, "ben", "cid", sku=BASE)
    assert set(outcomes(waits).values()) == {"waiting insufficient_licenses"}
    await scenario.store.invitations.end(invite.invitation_id, ended(record))
    assert await current_outcomes(scenario, waits) == {
        "ben": "assigned",
        "cid": "waiting insufficient_licenses",
    }
    await unassign(scenario, "ann", sku=BASE)
    assert await current_outcomes(scenario, waits) == {"ben": "assigned", "cid": "assigned"}
    assert await notified_requests(scenario) == {waits.request_id}
    assert await audit_passes(scenario)


async def test_a_removed_user_releases_both_licenses(scenario: StoreScenario) -> None:
    """ASG-5: waiting users get them, and the removed user waits no longer."""
    await import_crew(scenario, "ann", "ben", basic=["cid"], licenses=2, pools=pools(c500=1))
    await assign(scenario, "ann")
    own = await assign(scenario, "ann", capacity=1000)
    waits = await assign(scenario, "ben", "cid", capacity=500)
    base = await assign(scenario, "cid", sku=BASE)
    await scenario.store.remedies.remove_user("crew", crew_email("ann"), Removal.UNLINK, NOON)
    assert await current_outcomes(scenario, waits) == {
        "ben": "assigned",
        "cid": "waiting insufficient_licenses",
    }
    assert await current_outcomes(scenario, base) == {"cid": "assigned"}
    assert await current_outcomes(scenario, own) == {"ann": "refused not_found"}
    assert {own.request_id, waits.request_id, base.request_id} == await notified_requests(scenario)
    assert await audit_passes(scenario)


async def test_a_user_who_joins_another_account_loses_the_addon(scenario: StoreScenario) -> None:
    """TRF-3: the admins get the list, and the meetings have capacity 100."""
    await scenario.store.directory.import_(
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
    invite = scenario.new_invite("lia@lone.example")
    await scenario.send_and_accept(invite)
    parties = await scenario.store.invitations.parties(invite)
    assert [addon.capacity for addon in parties.licenses_left] == [500]
    lia = (await scenario.account("acme")).user("lia@lone.example")
    assert lia
    assert (lia.addons, {meeting.capacity for meeting in lia.meetings}) == ((), {100})
    assert await audit_passes(scenario)


async def test_a_reduced_pool_releases_named_holders_then_the_latest(
    scenario: StoreScenario,
) -> None:
    """ADD-6: waiting users are not served from licenses that ended."""
    await import_crew(scenario, "ann", "ben", "cid", "dee", pools=pools(c500=3))
    for name in ("ann", "ben", "cid", "dee"):
        await assign(scenario, name)
    async with writing(scenario.engine) as session:
        assert await holders(session, "crew", LARGE, 500) == [
            crew_email(name) for name in ("ann", "ben", "cid")
        ]
        released = await shrink(
            session, "crew", LARGE, 500, quantity=2, release=[crew_email("ann")], at=NOON
        )
        await name_pools(session)
    assert released == [crew_email("ann"), crew_email("cid")]
    assert await pool_counts(scenario) == (1, 1, 1)
    assert await held_capacities(scenario, "cid") == ([], {100})
    assert await audit_passes(scenario)


async def test_base_licenses_that_end_release_the_addons_too(scenario: StoreScenario) -> None:
    """ADD-6, INV-15: a reserved seat stays."""
    await import_crew(scenario, "ann", "ben", licenses=3, pools=pools(c500=1))
    await assign(scenario, "ben")
    waits = await assign(scenario, "ann")
    await scenario.send(
        scenario.new_invite("new@x.example", "crew", license=License.LICENSED, by=CREW_OWNER)
    )
    async with writing(scenario.engine) as session:
        released = await shrink(session, "crew", BASE, 0, quantity=1, release=[], at=NOON)
        await name_pools(session)
    assert released == [crew_email("ben")]
    assert await current_outcomes(scenario, waits) == {"ann": "assigned"}
    async with writing(scenario.engine) as session:
        released = await shrink(session, "crew", BASE, 0, quantity=9, release=[], at=NOON)
        await name_pools(session)
        assert await shrink(session, "crew", LARGE, 3000, quantity=1, release=[], at=NOON) == []
        await name_pools(session)
    assert released == [crew_email("ann")]
    assert await pool_counts(scenario, None) == (1, 0, 0)
    assert await pool_counts(scenario) == (1, 0, 0)
    assert await audit_passes(scenario)


async def test_an_import_of_licenses_serves_waiting_users(scenario: StoreScenario) -> None:
    """ASG-5: in the transaction of the import."""
    await import_crew(scenario, "ann", basic=["ben"], licenses=1)
    waits = await assign(scenario, "ann", "ben", capacity=500)
    await import_crew(scenario, "ann", "ben", pools=pools(c500=2))
    assert await current_outcomes(scenario, waits) == {"ann": "assigned", "ben": "assigned"}
    assert await notified_requests(scenario) == {waits.request_id}
    assert await audit_passes(scenario)


async def test_pools_list_their_holders_and_waiting_users(scenario: StoreScenario) -> None:
    """ASG-5, ADD-5: bought, reserved, assigned and free."""
    await import_crew(scenario, "ann", basic=["ben"], licenses=2, pools=pools(c500=1))
    await assign(scenario, "ann", "ben", capacity=500)
    await assign(scenario, "ann", capacity=3000)
    base, large, none = await scenario.store.assignments.licenses("crew")
    assert (base.sku, base.capacity, base.bought, base.free) == (BASE, None, 2, 1)
    assert base.holders == (crew_email("ann"),)
    assert (large.capacity, large.bought, large.assigned, large.free) == (500, 1, 1, 0)
    assert (large.holders, large.waiting) == ((crew_email("ann"),), (crew_email("ben"),))
    assert (none.capacity, none.bought, none.waiting) == (3000, 0, (crew_email("ann"),))
    with pytest.raises(Refused):
        await scenario.store.assignments.licenses("nobody")
