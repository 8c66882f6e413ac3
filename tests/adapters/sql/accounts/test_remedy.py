"""Remedies change what blocks an owner, once, and announce it in the same transaction."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from adapters.sql.accounts.remedy import SqlRemedies
from domain.account import Account
from domain.error import ErrorCode, Refused
from domain.invitation import Invite
from domain.remedy import Changed, Removal
from tests.builders.invitation import ADMIN, NOON, Town, account, directory, user
from tests.builders.refund import LINE, balances

KIM, LEE = "kim@crowd.example", "lee@crowd.example"
LATER = NOON + timedelta(hours=2)
MEETING = {"id": "m1", "topic": "Weekly", "starts_at": "2026-04-01T09:00:00Z"}

Remedy = Callable[[SqlRemedies], Awaitable[list[Changed]]]


def remove(how: Removal, email: str = LEE, name: str = "crowd") -> Remedy:
    return lambda remedies: remedies.remove_user(name, email, how, LATER)


def pay(invoice: str = "i1") -> Remedy:
    return lambda remedies: remedies.pay_invoice("crowd", invoice, LATER)


def remove_room(remedies: SqlRemedies) -> Awaitable[list[Changed]]:
    return remedies.remove_room("crowd", "blue", LATER)


def reactivate(remedies: SqlRemedies) -> Awaitable[list[Changed]]:
    return remedies.reactivate("crowd", LATER)


def cancel_plan(remedies: SqlRemedies) -> Awaitable[list[Changed]]:
    return remedies.cancel_plan("crowd", LATER)


async def crowd(town: Town, **more: Any) -> None:
    await town.store.directory.import_(directory(account("crowd", **more)))
    await town.announced()


async def refusal(town: Town, remedy: Remedy) -> Refused:
    with pytest.raises(Refused) as refused:
        await remedy(town.store.remedies)
    return refused.value


async def home_of(town: Town, email: str) -> Account | None:
    accounts = (await town.store.directory.export(None)).accounts
    return next((account for account in accounts if account.user(email)), None)


async def kims(town: Town) -> Invite:
    """The invitation of the owner of the crowd, who is blocked."""
    invite = town.invite(KIM)
    await town.pending(invite)
    return invite


async def test_an_unlinked_user_has_a_free_account_with_all_that_is_theirs(town: Town) -> None:
    lee = user(LEE, name="Lee", licensed=True, settings={"e2ee": "on"}, recordings=3)
    lee |= {"meetings": [MEETING], "chat_messages": 7, "addons": [{"capacity": 500}]}
    await crowd(town, users=[lee])
    [changed] = await remove(Removal.UNLINK)(town.store.remedies)
    own = await home_of(town, LEE)
    assert own
    assert changed == Changed(kind="user", id=LEE, to=own.id)
    assert re.fullmatch(r"personal-[0-9a-f]{16}", own.id)
    assert (own.name, own.plan, own.currency, own.country) == ("Lee", "free", "EUR", "DE")
    assert own.owner
    assert (own.owner.licensed, own.owner.addons) == (False, ())
    assert (own.owner.settings, own.owner.recordings) == ({"e2ee": "on"}, 3)
    assert (own.owner.chat_messages, len(own.owner.meetings)) == (7, 1)
    assert await town.users("crowd") == {KIM}
    assert (await town.store.audit()).violations == ()


async def test_an_unlinked_user_without_a_name_has_a_personal_account(town: Town) -> None:
    await remove(Removal.UNLINK)(town.store.remedies)
    own = await home_of(town, LEE)
    assert own
    assert own.name == "Personal account"


async def test_a_license_is_given_back_to_the_pool(town: Town) -> None:
    await crowd(town, licenses=1, users=[user(LEE, licensed=True)])
    await remove(Removal.UNLINK)(town.store.remedies)
    await crowd(town, users=[user("new@crowd.example", licensed=True)])
    assert (await town.account("crowd")).licenses == 1
    assert (await town.store.audit()).violations == ()


async def test_a_deleted_user_is_gone_and_comes_again_as_somebody_new(town: Town) -> None:
    lee = user(LEE, name="Lee", locale="fr", settings={"e2ee": "on"}, contacts=9)
    await crowd(town, users=[lee | {"meetings": [MEETING], "webinars": [MEETING]}])
    assert await remove(Removal.DELETE)(town.store.remedies) == [Changed(kind="user", id=LEE)]
    assert await home_of(town, LEE) is None
    kept = await town.joined(town.invite(LEE))
    assert {item.count for item in kept.manifest} == {0}
    lee_again = (await town.account("acme")).user(LEE)
    assert lee_again
    assert (lee_again.name, lee_again.locale, lee_again.settings) == (None, None, {})
    assert (lee_again.contacts, lee_again.meetings, lee_again.webinars) == (0, (), ())
    assert (await town.store.audit()).violations == ()


@pytest.mark.parametrize("how", Removal)
async def test_removing_who_has_left_changes_nothing(town: Town, how: Removal) -> None:
    await remove(Removal.UNLINK)(town.store.remedies)
    before = await town.store.directory.export(None)
    assert await remove(how)(town.store.remedies) == []
    assert await town.store.directory.export(None) == before


async def test_an_unlinked_user_of_a_paid_account_may_be_invited(town: Town) -> None:
    """SRC-4: after that account has unlinked them."""
    await remove(Removal.UNLINK, "max@rich.example", "rich")(town.store.remedies)
    await town.joined(town.invite("max@rich.example"))
    assert (await town.store.audit()).violations == ()


async def test_an_owner_is_not_removed(town: Town) -> None:
    refused = await refusal(town, remove(Removal.UNLINK, KIM))
    assert refused.code is ErrorCode.CONFLICT
    assert "owns crowd" in refused.message


@pytest.mark.parametrize(
    "remedy",
    [
        remove(Removal.UNLINK, "nobody@crowd.example"),
        remove(Removal.DELETE, ADMIN),
        remove(Removal.UNLINK, LEE, "nowhere"),
        pay("i9"),
        lambda remedies: remedies.pay_invoice("nowhere", "i1", LATER),
        lambda remedies: remedies.remove_room("crowd", "red", LATER),
        lambda remedies: remedies.remove_room("nowhere", "blue", LATER),
        lambda remedies: remedies.reactivate("nowhere", LATER),
        lambda remedies: remedies.cancel_plan("nowhere", LATER),
    ],
    ids=[
        "user",
        "user of another account",
        "account of a user",
        "invoice",
        "account of an invoice",
        "room",
        "account of a room",
        "account to reactivate",
        "account to cancel",
    ],
)
async def test_what_is_unknown_is_not_found(town: Town, remedy: Remedy) -> None:
    assert (await refusal(town, remedy)).code is ErrorCode.NOT_FOUND


async def test_a_room_is_deleted(town: Town) -> None:
    assert await remove_room(town.store.remedies) == [Changed(kind="room", id="blue")]
    assert (await town.account("crowd")).rooms == ()


async def test_an_invoice_is_paid_once_by_the_example_card(town: Town) -> None:
    """BLK-2: no method is listed; the entry is as large as what was open."""
    assert await pay()(town.store.remedies) == [Changed(kind="invoice", id="i1")]
    assert await pay()(town.store.remedies) == []
    [invoice] = (await town.account("crowd")).invoices
    assert (f"{invoice.amount_due}", invoice.status) == ("0.00", "paid")
    assert await balances(town.engine) == {
        "methods/crowd": "EUR -990",
        "revenue/crowd": "EUR 990",
    }
    assert (await town.store.audit()).violations == ()


async def test_an_invoice_that_grows_again_is_paid_again(town: Town) -> None:
    await pay()(town.store.remedies)
    more = {"id": "i1", "amount_due": "19.90", "due_on": "2026-01-31", "status": "open"}
    await crowd(town, invoices=[more])
    assert await pay()(town.store.remedies) == [Changed(kind="invoice", id="i1")]
    assert await balances(town.engine, "methods/crowd") == {"methods/crowd": "EUR -1990"}
    assert (await town.store.audit()).violations == ()


async def test_an_open_invoice_of_nothing_is_paid_without_a_charge(town: Town) -> None:
    await crowd(town, invoices=[{"id": "i1", "amount_due": "0.00", "due_on": "2026-01-31"}])
    await town.store.directory.import_(directory(account("crowd")))
    assert await pay()(town.store.remedies)


async def test_methods_are_tried_in_order_and_each_try_counts(town: Town) -> None:
    """A method declines its first charges: that counts also when the answer is no."""
    methods = [
        {"id": "a", "kind": "card", "declines": 2},
        {"id": "b", "kind": "bank", "declines": 1},
    ]
    await crowd(town, payment_methods=methods)
    assert (await refusal(town, pay())).code is ErrorCode.PAYMENT_DECLINED
    declines = [method.declines for method in (await town.account("crowd")).payment_methods]
    assert declines == [1, 0]
    assert (await town.account("crowd")).invoices[0].status == "open"
    assert await pay()(town.store.remedies)
    declines = [method.declines for method in (await town.account("crowd")).payment_methods]
    assert declines == [0, 0]
    assert (await town.store.audit()).violations == ()


async def test_a_plan_is_cancelled_and_reactivated_once(town: Town) -> None:
    """BLK-3: an add-on of its own goes on."""
    await crowd(town, subscriptions=[LINE, {**LINE, "id": "x", "kind": "addon", "payments": []}])
    for remedy in (cancel_plan, reactivate):
        assert await remedy(town.store.remedies) == [Changed(kind="subscription", id="sub-1")]
        assert await remedy(town.store.remedies) == []


async def test_without_a_plan_there_is_nothing_to_cancel(town: Town) -> None:
    assert (await refusal(town, cancel_plan)).code is ErrorCode.CONFLICT
    assert await reactivate(town.store.remedies) == []


@pytest.mark.parametrize(
    "remedy",
    [remove(Removal.UNLINK), remove(Removal.DELETE), remove_room, pay(), cancel_plan, reactivate],
    ids=["unlink", "delete", "remove room", "pay", "cancel", "reactivate"],
)
async def test_what_a_remedy_changes_is_announced_to_the_owner(town: Town, remedy: Remedy) -> None:
    """BLK-4: to every open invitation that has a workflow; a repeat has nothing to say."""
    ending = remedy is reactivate
    await crowd(town, subscriptions=[{**LINE, "cancellation_pending": ending}])
    invite = await kims(town)
    await town.claimed(town.invite(KIM, into="zeta", by="zoe@zeta.example"))
    await town.pending(town.invite("sue@solo.example"))
    assert await remedy(town.store.remedies)
    [told] = await town.announced()
    assert (told.workflow_id, told.run_id, told.at) == (
        invite.workflow_id,
        f"run-{invite.invitation_id}",
        LATER,
    )
    if remedy is not remove_room:
        assert await remedy(town.store.remedies) == []
        assert await town.announced() == []


async def test_a_declined_charge_announces_nothing(town: Town) -> None:
    await crowd(town, payment_methods=[{"id": "a", "kind": "card", "declines": 1}])
    await kims(town)
    await refusal(town, pay())
    assert await town.announced() == []
