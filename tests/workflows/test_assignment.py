"""Tests of the AddonAssignment workflow: results, waiting and letters (ASG)."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from domain.assignment import Assignment, AssignmentResult, AssignmentState
from domain.error import ErrorCode, Refused, Unavailable
from domain.license import Sku
from runtime.wiring import worker_for
from tests.eventually import eventually
from tests.workflows.small_limits import worker_with_short_runs
from tests.world import (
    ADMIN,
    ANN,
    BASIC,
    BOB,
    CLEO,
    LICENSED,
    MEMBER,
    World,
    licensed_users,
    refusal_of,
)
from workflows.assignment import AssignmentWorkflow


@pytest.fixture
async def acme(world: World) -> World:
    """Return a world with three licensed users, a basic one, and two Large Meeting licenses."""
    await licensed_users(world)
    return world


async def assign(
    world: World, *emails: str, atomic: bool = False, give_base_license: bool = False
) -> list[AssignmentResult]:
    return await world.licenses.assign(
        world.account,
        Sku.LARGE_MEETING,
        emails,
        ADMIN,
        atomic=atomic,
        give_base_license=give_base_license,
    )


async def assign_base(world: World, *emails: str) -> list[AssignmentResult]:
    return await world.licenses.assign(world.account, Sku.WORKPLACE, emails, ADMIN)


def states(results: Sequence[AssignmentResult]) -> list[str]:
    return [result.state.value for result in results]


def reasons(results: Sequence[AssignmentResult]) -> list[object]:
    return [result.error and result.error["code"] for result in results]


async def until_states(world: World, *wanted: str) -> Assignment:
    """Return the last request when its users have the states `wanted`."""
    handle = await world.last_request()
    return await eventually(
        lambda: handle.query(AssignmentWorkflow.view),
        lambda assignment: states(assignment.results) == [*wanted],
    )


async def test_two_licenses_for_three_users_serve_the_third_after_a_purchase(acme: World) -> None:
    """ASG-5: without another request; users and admin are notified, waiting users are not."""
    results = await assign(acme, *LICENSED)
    assert states(results) == ["assigned", "assigned", "waiting"]
    assert reasons(results) == [None, None, "insufficient_licenses"]
    await acme.mailed("license_assigned", ANN)
    await acme.mailed("license_assigned", BOB)
    assert not acme.mails(to=CLEO)
    assert not acme.mails(event="license_served")

    await acme.bought(500)
    ended = await (await acme.last_request()).result()
    assert states(ended.results) == ["assigned"] * 3
    assert [entry.event for entry in ended.journal] == ["request", "wait", "assign"]
    await acme.mailed("license_assigned", CLEO)
    letter = await acme.mailed("license_served", ADMIN)
    assert CLEO in letter.text
    assert ANN not in letter.text
    assert await acme.audit() == ()


async def test_an_atomic_request_for_three_users_and_two_licenses_assigns_none(acme: World) -> None:
    """ASG-5: `atomic`."""
    results = await assign(acme, *LICENSED, atomic=True)
    assert states(results) == ["refused"] * 3
    assert "insufficient_licenses" in reasons(results)
    [_, pool] = await acme.licenses.licenses(acme.account)
    assert (pool.assigned, pool.free) == (0, 2)
    request = await acme.last_request()
    assert (await request.result()).state is AssignmentState.REFUSED
    # A refusal is no failed activity.
    events = (await request.fetch_history()).events
    assert not any(event.HasField("activity_task_failed_event_attributes") for event in events)
    assert not acme.mails()


async def test_a_basic_user_waits_for_a_base_license_and_is_served_when_it_arrives(
    acme: World,
) -> None:
    """ASG-1: best effort."""
    [result] = await assign(acme, BASIC)
    assert (result.state, reasons([result])) == ("waiting", ["base_license_required"])
    await acme.licenses.unassign(acme.account, Sku.WORKPLACE, [ANN], ADMIN)
    request = await acme.last_request()
    assert states(await assign_base(acme, BASIC)) == ["assigned"]
    ended = await request.result()
    assert states(ended.results) == ["assigned"]
    await acme.mailed("license_served", ADMIN)


async def test_an_atomic_request_refuses_a_basic_user(acme: World) -> None:
    """ASG-1: `base_license_required`, with its message."""
    [result] = await assign(acme, BASIC, atomic=True)
    assert result.error
    assert result.error["code"] == "base_license_required"
    assert "Only paid users can enable this feature" in str(result.error["message"])


async def test_each_user_has_one_row_in_the_order_requested(acme: World) -> None:
    """ASG-5: repeats once; a refused user is shown as given and affects no other."""
    results = await assign(acme, " Nobody@acme.example ", "no address", BOB, BOB.upper())
    assert [result.email for result in results] == ["Nobody@acme.example", "no address", BOB]
    assert states(results) == ["refused", "refused", "assigned"]
    assert reasons(results) == ["not_found", "invalid_email", None]


async def test_an_unauthorized_request_starts_no_workflow(acme: World) -> None:
    refused = acme.licenses.assign(acme.account, Sku.LARGE_MEETING, [ANN], MEMBER)
    assert await refusal_of(refused) == "not_authorized"
    assert await acme.requests() == []


@pytest.mark.parametrize("count", [0, 101])
async def test_a_request_has_one_to_a_hundred_users(acme: World, count: int) -> None:
    """ASG-5."""
    emails = [f"user-{number}@acme.example" for number in range(count)]
    assert await refusal_of(assign(acme, *emails)) == "invalid_input"
    unassigned = acme.licenses.unassign(acme.account, Sku.WORKPLACE, emails, ADMIN)
    assert await refusal_of(unassigned) == "invalid_input"


async def test_a_capacity_that_is_not_sold_is_refused_for_every_user(acme: World) -> None:
    """ADD-1: the whole request has the same reason."""
    results = await acme.licenses.assign(
        acme.account, Sku.LARGE_MEETING, [ANN, BOB], ADMIN, capacity=750
    )
    assert reasons(results) == ["invalid_capacity"] * 2


async def test_a_license_without_a_signal_is_found_within_a_day(
    world_without_worker: World,
) -> None:
    """ASG-5: the relay may be down, or the store was changed by hand."""
    world = world_without_worker.patient()
    await licensed_users(world)
    async with worker_for(world.temporal.client, world.settings, world.store):
        assert states(await assign(world, *LICENSED)) == ["assigned", "assigned", "waiting"]
        await world.bought(500)
        request = await world.last_request()
        await world.clock.pass_time(request.id, timedelta(days=1))
        assert states((await request.result()).results) == ["assigned"] * 3


async def test_without_a_worker_the_outcome_is_unknown_and_the_request_is_carried_out_later(
    world_without_worker: World,
) -> None:
    """ASG-5: repeating the request is not necessary."""
    world = world_without_worker
    await licensed_users(world)
    with pytest.raises(Unavailable) as unavailable:
        await assign(world, ANN)
    assert unavailable.value.outcome_unknown
    async with world.working():
        assert states((await (await world.last_request()).result()).results) == ["assigned"]


async def test_a_long_wait_continues_as_new_and_loses_nothing(
    world_without_worker: World,
) -> None:
    """ASG-5: journal, results and waiting users are carried over."""
    world = world_without_worker.patient()
    await licensed_users(world)
    async with worker_with_short_runs(world):
        await assign(world, *LICENSED)
        request = await world.last_request()
        runs = set[str]()

        async def signal() -> int:
            await request.signal(AssignmentWorkflow.licenses_freed)
            runs.add((await request.describe()).run_id)
            return len(runs)

        await eventually(signal, lambda count: count >= 3)
        seen = await until_states(world, "assigned", "assigned", "waiting")
        assert [entry.event for entry in seen.journal] == ["request", "wait"]
        await world.bought(500)
        await until_states(world, "assigned", "assigned", "assigned")
        await world.mailed("license_served", ADMIN)
        assert len(world.mails(to=ANN, event="license_assigned")) == 1


async def test_no_license_waits_for_a_mail_server(acme: World) -> None:
    """ASG-3, OPS-2: an assignment takes effect at once."""
    acme.smtp.answers["MAIL"] = "451 4.3.0 try later"
    assert states(await assign(acme, ANN)) == ["assigned"]
    assert (await (await acme.last_request()).result()).state is AssignmentState.ASSIGNED
    acme.smtp.answers.clear()
    await acme.mailed("license_assigned", ANN)


async def test_a_refused_address_does_not_keep_others_from_being_notified(acme: World) -> None:
    """OPS-2: a letter belongs to one recipient."""
    acme.smtp.unknown.add(ANN)
    await assign(acme, ANN, BOB)
    await acme.mailed("license_assigned", BOB)


async def test_the_ui_shows_no_address(acme: World) -> None:
    """PRI: neither in Current Details nor in search attributes or summaries."""
    await assign(acme, *LICENSED, BASIC)
    request = await acme.last_request()
    seen = await request.describe()
    assert seen.search_attributes["LifecycleState"] == ["waiting"]
    assert seen.search_attributes["AccountId"] == [acme.account]
    details = str(await request.query("__temporal_workflow_metadata"))
    assert "2 waiting, 2 assigned" in details
    assert "`base_license_required` (1)" in details
    waiting = "c…@acme.example (`insufficient_licenses`), b…@acme.example (`base_license_required`)"
    assert f"{waiting}, since 20" in details
    shown = f"{details} {await seen.static_summary()} {seen.id}"
    assert not any(email in shown for email in (*LICENSED, BASIC, ADMIN))


async def test_a_user_who_loses_a_license_is_notified_and_one_without_is_not(acme: World) -> None:
    """ASG-3: effective at once."""
    await assign(acme, ANN)
    results = await acme.licenses.unassign(
        acme.account, Sku.LARGE_MEETING, [BOB, ANN, "stranger@x.example"], ADMIN
    )
    assert states(results) == ["released", "released", "refused"]
    await acme.mailed("license_released", ANN)
    assert not acme.mails(to=BOB)


async def test_a_base_license_under_an_add_on_is_kept_unless_cascaded(acme: World) -> None:
    """ASG-7."""
    await assign(acme, ANN)
    [kept] = await acme.licenses.unassign(acme.account, Sku.WORKPLACE, [ANN], ADMIN)
    assert reasons([kept]) == ["dependency_violation"]
    [taken] = await acme.licenses.unassign(acme.account, Sku.WORKPLACE, [ANN], ADMIN, cascade=True)
    assert taken.state is AssignmentState.RELEASED
    letter = await acme.mailed("license_released", ANN)
    assert "you are a basic user now" in letter.text


async def test_webinar_licenses_are_assigned_beside_large_meeting_ones(acme: World) -> None:
    """ASG-8: Current Details, letters and refusals name the kind."""
    await acme.imported(acme.account, pools=[{"sku": "webinar", "capacity": 1000, "bought": 1}])
    await assign(acme, ANN)
    both = [ANN, BOB]
    results = await acme.licenses.assign(acme.account, Sku.WEBINAR, both, ADMIN, capacity=1000)
    assert states(results) == ["assigned", "waiting"]
    assert results[1].error
    assert results[1].error["message"] == f"{acme.account} has no free Webinar 1000 license."
    request = await acme.last_request()
    assert "Webinar 1000" in str(await request.query("__temporal_workflow_metadata"))
    letter = await acme.mailed("license_assigned", ANN, times=2)
    assert "A webinar license of the account" in letter.text
    [kept] = await acme.licenses.unassign(acme.account, Sku.WORKPLACE, [ANN], ADMIN)
    assert kept.error
    assert "Large Meeting 500 and Webinar 1000" in str(kept.error["message"])
    await acme.licenses.unassign(acme.account, Sku.WEBINAR, [ANN], ADMIN)
    letter = await acme.mailed("license_released", ANN)
    assert "All webinars that you host" in letter.text
    assert states((await request.result()).results) == ["released", "assigned"]


async def test_a_waiting_user_who_is_unassigned_waits_no_longer(acme: World) -> None:
    """ASG-5: the admin is notified that no user waits; the user had no license to lose."""
    await assign(acme, *LICENSED)
    await acme.licenses.unassign(acme.account, Sku.LARGE_MEETING, [CLEO], ADMIN)
    ended = await (await acme.last_request()).result()
    assert states(ended.results) == ["assigned", "assigned", "released"]
    letter = await acme.mailed("license_served", ADMIN)
    assert "1 user has no such license now" in letter.text
    assert not acme.mails(to=CLEO)


async def test_assigning_the_same_license_again_consumes_nothing(acme: World) -> None:
    """ASG-4."""
    for _ in range(2):
        assert states(await assign(acme, ANN)) == ["assigned"]
    [_, pool] = await acme.licenses.licenses(acme.account)
    assert pool.assigned == 1


async def test_a_user_who_holds_the_license_is_not_notified_again(acme: World) -> None:
    """ASG-4: also users who waited twice, and the admin."""
    await assign(acme, ANN)
    await assign(acme, ANN, BOB)
    for _ in range(2):
        await assign(acme, CLEO)
    await acme.bought(500)
    await (await acme.last_request()).result()
    await acme.mailed("license_assigned", CLEO)
    await acme.mailed("license_served", ADMIN)
    await acme.licenses.unassign(acme.account, Sku.LARGE_MEETING, LICENSED, ADMIN)
    for email in LICENSED:
        await acme.mailed("license_released", email)
        assert len(acme.mails(to=email, event="license_assigned")) == 1
    assert len(acme.mails(to=ADMIN, event="license_served")) == 1


async def test_a_request_whose_workflow_was_terminated_is_restarted(
    acme: World,
) -> None:
    """ASG-5: waiting users are served and notified, and nobody is notified twice."""
    await assign(acme, *LICENSED)
    await acme.mailed("license_assigned", BOB)
    client, request = acme.temporal.client, await acme.last_request()
    await request.terminate("by hand")
    await acme.recover(request.id)
    await until_states(acme, "assigned", "assigned", "waiting")
    await acme.recover(request.id)
    await acme.bought(500)
    ended = await client.get_workflow_handle(request.id).result()
    assert [result["state"] for result in ended["results"]] == ["assigned"] * 3
    await acme.mailed("license_assigned", CLEO)
    await acme.mailed("license_served", ADMIN)
    assert len(acme.mails(to=ANN, event="license_assigned")) == 1


async def test_a_cancellation_in_temporal_leaves_a_request_whose_users_wait(acme: World) -> None:
    """OPS-10: it is a journal entry, and the users are served."""
    await assign(acme, *LICENSED)
    request = await acme.last_request()
    await request.cancel()
    await eventually(
        lambda: request.query(AssignmentWorkflow.view),
        lambda assignment: assignment.journal[-1].event == "cancel_requested",
    )
    await acme.bought(500)
    ended = await request.result()
    assert states(ended.results) == ["assigned"] * 3
    assert [entry.event for entry in ended.journal] == [
        "request",
        "wait",
        "cancel_requested",
        "assign",
    ]


async def test_releases_need_no_workflow(world_without_worker: World) -> None:
    """OPS-1, ASG-7: the letters are rows of the release, and are sent when a worker starts."""
    world = world_without_worker
    await licensed_users(world)
    released = await world.licenses.unassign(world.account, Sku.WORKPLACE, [ANN], ADMIN)
    assert states(released) == ["released"]
    async with world.working():
        await world.mailed("license_released", ANN)


async def test_a_refusal_of_the_whole_request_is_an_error(acme: World) -> None:
    with pytest.raises(Refused) as refused:
        await acme.licenses.assign("nowhere", Sku.LARGE_MEETING, [ANN], ADMIN)
    assert refused.value.code is ErrorCode.NOT_FOUND
