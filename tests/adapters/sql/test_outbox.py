"""The outbox: rows of the commit, leased by one worker at a time (OPS-1)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import JSON, insert, type_coerce, update

from adapters.sql.database.schema import OutboxRow
from adapters.sql.database.transaction import writing
from domain.error import Refused
from tests.builders.account import NOON, account, directory, user
from tests.builders.invitation import StoreScenario

KIM = "kim@crowd.example"


async def changed(scenario: StoreScenario, **more: Any) -> None:
    await scenario.store.directory.import_(directory(account("crowd", **more)))


async def test_a_leased_row_is_due_again_when_its_lease_ends(scenario: StoreScenario) -> None:
    """OPS-1: meanwhile no other worker gets it; the oldest row is leased first."""
    invite, outbox = scenario.new_invite(KIM), scenario.store.outbox
    await scenario.send(invite)
    for _ in range(3):
        await changed(scenario)
    first, second = await outbox.lease(2, timedelta())
    assert first.number < second.number
    assert (first.workflow_id, first.run_id) == (
        invite.workflow_id,
        f"run-{invite.invitation_id}",
    )
    leased = await outbox.lease(10, timedelta(minutes=1))
    assert {row.number for row in leased} >= {first.number, second.number}
    assert {row.attempts for row in leased} == {1, 2}
    assert await outbox.lease(10, timedelta(minutes=1)) == []


async def test_a_worker_whose_lease_has_ended_changes_nothing(scenario: StoreScenario) -> None:
    """OPS-1: the number of attempts identifies the lease."""
    outbox = scenario.store.outbox
    await scenario.send(scenario.new_invite(KIM))
    await changed(scenario)
    [late] = await outbox.lease(1, timedelta())
    [leased] = await outbox.lease(1, timedelta())
    await outbox.done(late)
    await outbox.give_up(late, "too late")
    await outbox.postpone(late, timedelta(hours=1))
    [again] = await outbox.lease(1, timedelta())
    assert again.number == leased.number
    await outbox.done(again)
    assert await outbox.lease(1, timedelta()) == []


async def test_concurrent_workers_never_lease_the_same_row(scenario: StoreScenario) -> None:
    """OPS-1: each row is leased by one worker, and a second lease waits for no first one."""
    outbox = scenario.store.outbox
    await scenario.send(scenario.new_invite(KIM))
    for _ in range(20):
        await changed(scenario)
    leases = await asyncio.gather(*(outbox.lease(5, timedelta(minutes=1)) for _ in range(8)))
    numbers = [row.number for lease in leases for row in lease]
    assert len(numbers) == len(set(numbers)) == 20


async def test_a_row_that_was_given_up_is_due_again_after_a_retry(
    scenario: StoreScenario,
) -> None:
    """OPS-1: an operator may repeat or discard it."""
    outbox = scenario.store.outbox
    await scenario.send(scenario.new_invite(KIM))
    await changed(scenario)
    [row] = await outbox.lease(1, timedelta())
    await outbox.give_up(row, "No such user.")
    assert await outbox.lease(1, timedelta()) == []
    assert await outbox.retry(row.number)
    assert [each.number for each in await outbox.lease(1, timedelta())] == [row.number]
    assert await outbox.discard(row.number)
    assert not await outbox.discard(row.number)
    assert not await outbox.retry(row.number)


async def test_a_letter_of_a_later_release_stops_no_other_row(scenario: StoreScenario) -> None:
    """OPS-1: the row is leased, listed and reported like any other."""
    outbox = scenario.store.outbox
    unknown = {"letter": {"event": "greeting", "reader": {"email": KIM}}, "to_operators": False}
    async with writing(scenario.engine) as session:
        await session.execute(
            insert(OutboxRow).values(
                kind="letter", key="greeting.1", workflow_id="", at=NOON, given_up=False
            )
        )
        await session.execute(
            update(OutboxRow).values(letter=type_coerce(unknown, JSON), created_at=NOON)
        )
    await scenario.send(scenario.new_invite(KIM))
    await changed(scenario)
    leased = await outbox.lease(10, timedelta())
    assert [row.kind for row in leased] == ["letter", "signal"]
    assert [row.key for row in await outbox.listed()] == ["greeting.1", None]
    [case] = await scenario.store.attention.cases()
    assert "The e-mail greeting to k…@crowd.example" in case.message


async def test_a_repeated_start_is_one_row(scenario: StoreScenario) -> None:
    """OPS-1: any number of workflows is inserted in bounded transactions."""
    outbox = scenario.store.outbox
    ids = [f"addon/acme/or-{number}" for number in range(1_200)]
    for _ in range(2):
        await outbox.add_starts(ids, after=timedelta())
    rows = await outbox.listed()
    assert [row.workflow_id for row in rows] == ids
    assert {row.account for row in rows} == {"acme"}
    assert set(await outbox.starts_of(ids[:3])) == set(ids[:3])


async def test_numbers_of_signals_are_never_reused(scenario: StoreScenario) -> None:
    """OPS-1: marking one done never removes a later one."""
    await scenario.send(scenario.new_invite(KIM))
    await changed(scenario)
    [first] = await scenario.take_signals()
    await changed(scenario)
    [second] = await scenario.take_signals()
    assert second.number > first.number


async def test_an_import_signals_the_owners_of_its_accounts(
    scenario: StoreScenario,
) -> None:
    """BLK-4: the current and the former owner, whether it blocks or unblocks them."""
    invite = scenario.new_invite(KIM)
    await scenario.send(invite)
    await scenario.send(scenario.new_invite("lee@crowd.example"))
    await scenario.send(scenario.new_invite("sue@solo.example"))
    await changed(scenario, users=[user(KIM), user("lee@crowd.example", "owner")])
    signalled = {signal.workflow_id for signal in await scenario.take_signals()}
    assert signalled == {
        "invitation/acme/key-of-kim@crowd.example",
        "invitation/acme/key-of-lee@crowd.example",
    }


async def test_a_refused_import_signals_nothing(scenario: StoreScenario) -> None:
    """OPS-1: a signal is a row of the commit."""
    await scenario.send(scenario.new_invite(KIM))
    with pytest.raises(Refused):
        await changed(scenario, managed_domains=["gmail.com"])
    assert await scenario.take_signals() == []


async def test_a_leaving_member_signals_the_owner(
    scenario: StoreScenario,
) -> None:
    """BLK-6: the owner's invitation resumes when the last of them has left."""
    invite = scenario.new_invite(KIM)
    await scenario.send(invite)
    await scenario.send_and_accept(scenario.new_invite("lee@crowd.example"))
    [signalled] = await scenario.take_signals()
    assert (signalled.workflow_id, signalled.at > NOON) == (invite.workflow_id, True)


@pytest.mark.parametrize("collection", ["net_terms", "autopay"])
async def test_credit_that_pays_an_invoice_signals_the_owner(
    scenario: StoreScenario, collection: str
) -> None:
    """BLK-2, CRD-3: automatically or by an operator, it may have been the last blocker."""
    invite = scenario.new_invite(KIM)
    await scenario.send(invite)
    await changed(scenario, collection=collection, credit="20.00")
    if collection == "net_terms":
        await scenario.take_signals()
        await scenario.store.credits.apply("crowd", "i1", NOON)
    signalled = {signal.workflow_id for signal in await scenario.take_signals()}
    assert signalled == {invite.workflow_id}


async def test_a_refused_claim_signals_nothing(scenario: StoreScenario) -> None:
    """OPS-1: a signal is a row of the commit."""
    await scenario.send(scenario.new_invite(KIM))
    invite = scenario.new_invite("max@rich.example")
    with pytest.raises(Refused):
        await scenario.claim(invite)
    assert await scenario.take_signals() == []


async def test_an_answered_or_ended_invitation_gets_no_signal(
    scenario: StoreScenario,
) -> None:
    """BLK-4: only invitations that can still be answered."""
    await scenario.send_and_accept(scenario.new_invite("sue@solo.example"))
    await scenario.store.directory.import_(directory(account("acme", plan="business")))
    assert await scenario.take_signals() == []
