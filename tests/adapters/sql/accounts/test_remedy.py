"""Remedies clear blockers once, and insert outbox rows in the same transaction (BLK)."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from adapters.sql.accounts.remedy import SqlRemedies
from domain.account import Account
from domain.error import ErrorCode, Refused
from domain.invitation import Invite
from domain.letter.membership import RemovedLetter
from domain.remedy import Changed, Removal
from tests.builders.account import ADMIN, NOON, account, directory, user
from tests.builders.invitation import StoreScenario
from tests.builders.refund import LINE

KIM, LEE = "kim@crowd.example", "lee@crowd.example"
LATER = NOON + timedelta(hours=2)
MEETING = {"id": "m1", "topic": "Weekly", "starts_at": "2026-04-01T09:00:00Z"}

Remedy = Callable[[SqlRemedies], Awaitable[list[Changed]]]


def remove(how: Removal, email: str = LEE, name: str = "crowd") -> Remedy:
    return lambda remedies: remedies.remove_user(name, email, how, LATER)


def remove_room(remedies: SqlRemedies) -> Awaitable[list[Changed]]:
    return remedies.remove_room("crowd", "blue", LATER)


def reactivate(remedies: SqlRemedies) -> Awaitable[list[Changed]]:
    return remedies.reactivate("crowd", LATER)


def cancel_plan(remedies: SqlRemedies) -> Awaitable[list[Changed]]:
    return remedies.cancel_plan("crowd", LATER)


async def crowd(scenario: StoreScenario, **more: Any) -> None:
    await scenario.store.directory.import_(directory(account("crowd", **more)))
    await scenario.take_signals()


async def refusal(scenario: StoreScenario, remedy: Remedy) -> Refused:
    with pytest.raises(Refused) as refused:
        await remedy(scenario.store.remedies)
    return refused.value


async def current_account(scenario: StoreScenario, email: str) -> Account | None:
    accounts = (await scenario.store.directory.export(None)).accounts
    return next((account for account in accounts if account.user(email)), None)


async def kims_invitation(scenario: StoreScenario) -> Invite:
    """Send an invitation to the owner of the crowd account, who has blockers."""
    invite = scenario.new_invite(KIM)
    await scenario.send(invite)
    return invite


async def test_an_unlinked_user_gets_a_free_account_with_their_data(
    scenario: StoreScenario,
) -> None:
    """BLK-1: settings, recordings, chat and meetings move along; licenses stay."""
    lee = user(LEE, name="Lee", licensed=True, settings={"e2ee": "on"}, recordings=3)
    lee |= {"meetings": [MEETING], "chat_messages": 7, "addons": [{"capacity": 500}]}
    await crowd(scenario, users=[lee])
    [changed] = await remove(Removal.UNLINK)(scenario.store.remedies)
    own = await current_account(scenario, LEE)
    assert own
    assert changed == Changed(kind="user", id=LEE, to=own.id)
    assert re.fullmatch(r"personal-[0-9a-f]{16}", own.id)
    assert (own.name, own.plan, own.currency, own.country) == ("Lee", "free", "EUR", "DE")
    assert own.owner
    assert (own.owner.licensed, own.owner.addons) == (False, ())
    assert (own.owner.settings, own.owner.recordings) == ({"e2ee": "on"}, 3)
    assert (own.owner.chat_messages, len(own.owner.meetings)) == (7, 1)
    assert await scenario.users("crowd") == {KIM}
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize("how", list(Removal))
async def test_a_removed_user_is_notified_once(scenario: StoreScenario, how: Removal) -> None:
    """BLK-1, OPS-1: with the owner's name, before their own name is deleted."""
    await crowd(scenario, users=[user(LEE, name="Lee")])
    for _ in range(2):
        await remove(how)(scenario.store.remedies)
    [letter] = await scenario.queued_letters()
    assert isinstance(letter, RemovedLetter)
    assert (letter.reader.email, letter.reader.name, letter.how) == (LEE, "Lee", how)
    assert letter.contact and letter.contact.email == KIM


async def test_the_account_of_an_unlinked_user_without_a_name_has_a_default_name(
    scenario: StoreScenario,
) -> None:
    """BLK-1: it is called "Personal account"."""
    await remove(Removal.UNLINK)(scenario.store.remedies)
    own = await current_account(scenario, LEE)
    assert own
    assert own.name == "Personal account"


async def test_the_license_of_an_unlinked_user_returns_to_the_pool(scenario: StoreScenario) -> None:
    """ASG-6: the pool has room for another licensed user."""
    await crowd(scenario, licenses=1, users=[user(LEE, licensed=True)])
    await remove(Removal.UNLINK)(scenario.store.remedies)
    await crowd(scenario, users=[user("new@crowd.example", licensed=True)])
    assert (await scenario.account("crowd")).licenses == 1
    assert (await scenario.store.audit()).violations == ()


async def test_a_deleted_user_who_joins_again_has_no_former_data(
    scenario: StoreScenario,
) -> None:
    """BLK-1: profile, settings and meetings are deleted."""
    lee = user(LEE, name="Lee", locale="fr", settings={"e2ee": "on"}, contacts=9)
    await crowd(scenario, users=[lee | {"meetings": [MEETING], "webinars": [MEETING]}])
    assert await remove(Removal.DELETE)(scenario.store.remedies) == [Changed(kind="user", id=LEE)]
    assert await current_account(scenario, LEE) is None
    kept = await scenario.send_and_accept(scenario.new_invite(LEE))
    assert {item.count for item in kept.manifest} == {0}
    lee_again = (await scenario.account("acme")).user(LEE)
    assert lee_again
    assert (lee_again.name, lee_again.locale, lee_again.settings) == (None, None, {})
    assert (lee_again.contacts, lee_again.meetings, lee_again.webinars) == (0, (), ())
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize("how", Removal)
async def test_removing_a_former_user_changes_nothing(
    scenario: StoreScenario, how: Removal
) -> None:
    """BLK-1: a repeated remedy changes nothing."""
    await remove(Removal.UNLINK)(scenario.store.remedies)
    before = await scenario.store.directory.export(None)
    assert await remove(how)(scenario.store.remedies) == []
    assert await scenario.store.directory.export(None) == before


async def test_an_unlinked_user_of_a_paid_account_may_be_invited(scenario: StoreScenario) -> None:
    """SRC-4: after that account has unlinked them."""
    await remove(Removal.UNLINK, "max@rich.example", "rich")(scenario.store.remedies)
    await scenario.send_and_accept(scenario.new_invite("max@rich.example"))
    assert (await scenario.store.audit()).violations == ()


async def test_an_owner_cannot_be_removed(scenario: StoreScenario) -> None:
    """BLK-1: only other users can be unlinked or deleted."""
    refused = await refusal(scenario, remove(Removal.UNLINK, KIM))
    assert refused.code is ErrorCode.CONFLICT
    assert "owns crowd" in refused.message


@pytest.mark.parametrize("how", Removal)
async def test_the_owner_stays_when_all_others_are_removed(
    scenario: StoreScenario, how: Removal
) -> None:
    """BLK-1, AUD: with or without other users, the account has one owner."""
    await remove(how)(scenario.store.remedies)
    assert (await refusal(scenario, remove(how, KIM))).code is ErrorCode.CONFLICT
    crowd = await scenario.account("crowd")
    assert [(each.email, each.role) for each in crowd.users] == [(KIM, "owner")]


@pytest.mark.parametrize(
    "remedy",
    [
        remove(Removal.UNLINK, "nobody@crowd.example"),
        remove(Removal.DELETE, ADMIN),
        remove(Removal.UNLINK, LEE, "nowhere"),
        lambda remedies: remedies.remove_room("crowd", "red", LATER),
        lambda remedies: remedies.remove_room("nowhere", "blue", LATER),
        lambda remedies: remedies.reactivate("nowhere", LATER),
        lambda remedies: remedies.cancel_plan("nowhere", LATER),
    ],
    ids=[
        "user",
        "user of another account",
        "account of a user",
        "room",
        "account of a room",
        "account to reactivate",
        "account to cancel",
    ],
)
async def test_an_unknown_user_room_or_account_is_not_found(
    scenario: StoreScenario, remedy: Remedy
) -> None:
    """BLK-1, BLK-3: each remedy answers `not_found`."""
    assert (await refusal(scenario, remedy)).code is ErrorCode.NOT_FOUND


async def test_a_room_is_deleted(scenario: StoreScenario) -> None:
    """BLK-1: deleting the rooms is a remedy."""
    assert await remove_room(scenario.store.remedies) == [Changed(kind="room", id="blue")]
    assert (await scenario.account("crowd")).rooms == ()


async def test_a_plan_is_cancelled_and_reactivated_once(scenario: StoreScenario) -> None:
    """BLK-3: only the plan's line changes, not that of an add-on."""
    await crowd(
        scenario, subscriptions=[LINE, {**LINE, "id": "x", "kind": "addon", "payments": []}]
    )
    for remedy in (cancel_plan, reactivate):
        assert await remedy(scenario.store.remedies) == [Changed(kind="subscription", id="sub-1")]
        assert await remedy(scenario.store.remedies) == []


async def test_an_account_without_a_plan_cannot_cancel_it(scenario: StoreScenario) -> None:
    """BLK-3: cancelling is refused, reactivating changes nothing."""
    assert (await refusal(scenario, cancel_plan)).code is ErrorCode.CONFLICT
    assert await reactivate(scenario.store.remedies) == []


@pytest.mark.parametrize(
    "remedy",
    [remove(Removal.UNLINK), remove(Removal.DELETE), remove_room, cancel_plan, reactivate],
    ids=["unlink", "delete", "remove room", "cancel", "reactivate"],
)
async def test_a_remedy_signals_the_owner_s_invitations(
    scenario: StoreScenario, remedy: Remedy
) -> None:
    """BLK-4: each open invitation with a workflow; a repeated remedy signals nothing."""
    ending = remedy is reactivate
    await crowd(scenario, subscriptions=[{**LINE, "cancellation_pending": ending}])
    invite = await kims_invitation(scenario)
    await scenario.claim(scenario.new_invite(KIM, into="zeta", by="zoe@zeta.example"))
    await scenario.send(scenario.new_invite("sue@solo.example"))
    assert await remedy(scenario.store.remedies)
    [signalled] = await scenario.take_signals()
    assert (signalled.workflow_id, signalled.run_id, signalled.at) == (
        invite.workflow_id,
        f"run-{invite.invitation_id}",
        LATER,
    )
    if remedy is not remove_room:
        assert await remedy(scenario.store.remedies) == []
        assert await scenario.take_signals() == []
