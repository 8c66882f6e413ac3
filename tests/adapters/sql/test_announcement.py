"""The outbox: announced with the change, oldest first, until it was told."""

from typing import Any

import pytest

from domain.error import Refused
from tests.builders.invitation import NOON, Town, account, directory, user

KIM = "kim@crowd.example"


async def changed(town: Town, **more: Any) -> None:
    await town.store.directory.import_(directory(account("crowd", **more)))


async def test_announcements_are_told_oldest_first_and_once(town: Town) -> None:
    invite = town.invite(KIM)
    await town.pending(invite)
    for _ in range(3):
        await changed(town)
    first, second = await town.store.announcements.oldest(2)
    assert first.number < second.number
    assert (first.workflow_id, first.run_id) == (
        invite.workflow_id,
        f"run-{invite.invitation_id}",
    )
    for number in (first.number, first.number):
        await town.store.announcements.done(number)
    left, _ = await town.store.announcements.oldest(10)
    assert left == second


async def test_a_number_is_never_given_again(town: Town) -> None:
    """Who has read an announcement takes away that one, not a later one."""
    await town.pending(town.invite(KIM))
    await changed(town)
    [first] = await town.announced()
    await changed(town)
    [second] = await town.announced()
    assert second.number > first.number


async def test_an_import_is_announced_to_the_owners_of_its_accounts(town: Town) -> None:
    """BLK-4: whether it blocks them or clears their way; also who no longer owns it."""
    invite = town.invite(KIM)
    await town.pending(invite)
    await town.pending(town.invite("lee@crowd.example"))
    await town.pending(town.invite("sue@solo.example"))
    await changed(town, users=[user(KIM), user("lee@crowd.example", "owner")])
    told = {announcement.workflow_id for announcement in await town.announced()}
    assert told == {
        "invitation/acme/key-of-kim@crowd.example",
        "invitation/acme/key-of-lee@crowd.example",
    }


async def test_an_import_that_is_refused_announces_nothing(town: Town) -> None:
    await town.pending(town.invite(KIM))
    with pytest.raises(Refused):
        await changed(town, managed_domains=["gmail.com"])
    assert await town.announced() == []


async def test_who_leaves_is_announced_to_the_owner_they_leave_behind(town: Town) -> None:
    """BLK-6: the owner's invitation resumes when the last of them has gone."""
    invite = town.invite(KIM)
    await town.pending(invite)
    await town.joined(town.invite("lee@crowd.example"))
    [told] = await town.announced()
    assert (told.workflow_id, told.at > NOON) == (invite.workflow_id, True)


@pytest.mark.parametrize("collection", ["net_terms", "autopay"])
async def test_credit_that_pays_an_invoice_is_announced(town: Town, collection: str) -> None:
    """BLK-2, CRD-3: by itself or by an operator, it may have been the last that blocked."""
    invite = town.invite(KIM)
    await town.pending(invite)
    await changed(town, collection=collection, credit="20.00")
    if collection == "net_terms":
        await town.announced()
        await town.store.credits.apply("crowd", "i1", NOON)
    told = {announcement.workflow_id for announcement in await town.announced()}
    assert told == {invite.workflow_id}


async def test_what_was_refused_announces_nothing(town: Town) -> None:
    await town.pending(town.invite(KIM))
    invite = town.invite("max@rich.example")
    with pytest.raises(Refused):
        await town.claimed(invite)
    assert await town.announced() == []


async def test_an_answered_or_ended_invitation_is_not_told(town: Town) -> None:
    await town.joined(town.invite("sue@solo.example"))
    await town.store.directory.import_(directory(account("acme", plan="business")))
    assert await town.announced() == []
