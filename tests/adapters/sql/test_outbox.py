"""The outbox: signals are committed with the change and read oldest first (OPS-1)."""

from typing import Any

import pytest

from domain.error import Refused
from tests.builders.account import NOON, account, directory, user
from tests.builders.invitation import StoreScenario

KIM = "kim@crowd.example"


async def changed(scenario: StoreScenario, **more: Any) -> None:
    await scenario.store.directory.import_(directory(account("crowd", **more)))


async def test_signals_are_read_oldest_first_until_done(scenario: StoreScenario) -> None:
    """OPS-1: marking one done twice changes nothing."""
    invite = scenario.new_invite(KIM)
    await scenario.send(invite)
    for _ in range(3):
        await changed(scenario)
    first, second = await scenario.store.outbox.oldest(2)
    assert first.number < second.number
    assert (first.workflow_id, first.run_id) == (
        invite.workflow_id,
        f"run-{invite.invitation_id}",
    )
    for number in (first.number, first.number):
        await scenario.store.outbox.done(number)
    left, _ = await scenario.store.outbox.oldest(10)
    assert left == second


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
