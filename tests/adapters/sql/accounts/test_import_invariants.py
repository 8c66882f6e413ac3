"""An import leaves each account in its currency and with one owner (CRD-4, AUD)."""

from typing import Any

import pytest

from domain.error import ErrorCode, Refused
from domain.refund import PartState
from tests.builders.account import ACME, ADMIN, NOON, OWNER, account, directory, user
from tests.builders.invitation import StoreScenario
from tests.builders.order import OrderScenario, an_order
from tests.builders.refund import LINE, book, request_refund, with_part_states

IN_EUR = "the account has records in EUR: "
NO_OWNER = "an account with users has one owner; none would be left"
TWO_OWNERS = "an account has one owner; name the new role of the present owner"
RITA = "rita@rich.example"
INVOICE = {"id": "inv-1", "amount_due": "990.00", "due_on": "2026-04-01"}


async def mistakes_of(scenario: StoreScenario, *accounts: object) -> dict[str, str]:
    """Import the accounts; return the reason of each mistake by its path, and check the export."""
    before = await scenario.store.directory.export(None)
    with pytest.raises(Refused) as refused:
        await scenario.store.directory.import_(directory(*accounts))
    assert refused.value.code is ErrorCode.INVALID_INPUT
    assert await scenario.store.directory.export(None) == before
    mistakes = refused.value.details["mistakes"]
    assert isinstance(mistakes, list)
    found = await scenario.store.directory.errors(directory(*accounts))
    assert [{"path": path, "reason": reason} for path, reason in found] == mistakes
    return dict(found)


def rich(**more: Any) -> dict[str, object]:
    """Return the account `rich` of the scenario, with other money."""
    return account("rich", plan="pro", **more)


# The currency.


@pytest.mark.parametrize(
    ("money", "listed"),
    [
        ({"credit": "50.00", "collection": "net_terms"}, "credit of 50.00"),
        ({"subscriptions": [LINE]}, "payment card-1, payment bank-1, payment old-1"),
        ({"invoices": [INVOICE]}, "invoice inv-1"),
        (
            {"credit": "50.00", "collection": "net_terms", "invoices": [INVOICE]},
            "credit of 50.00, invoice inv-1",
        ),
        (
            {"invoices": [{**INVOICE, "id": f"i{number}"} for number in range(22)]},
            ", ".join(f"invoice i{number}" for number in range(20)) + " and 2 more",
        ),
    ],
    ids=["credit", "payments", "open invoice", "both", "many"],
)
async def test_an_account_with_money_keeps_its_currency(
    scenario: StoreScenario, money: dict[str, Any], listed: str
) -> None:
    """CRD-4: the error lists everything in the present currency."""
    await scenario.store.directory.import_(directory(rich(**money)))
    found = await mistakes_of(scenario, ACME, rich(currency="USD"))
    assert found == {"accounts[1].currency": IN_EUR + listed}


async def test_an_account_with_a_live_order_keeps_its_currency(scenario: StoreScenario) -> None:
    """CRD-4: also before the order is paid; its invoices are in the currency of its quote."""
    purchases = OrderScenario(scenario)
    await purchases.import_account()
    order = await scenario.store.orders.open(an_order(), NOON)
    found = await mistakes_of(scenario, account("firm", plan="business", currency="JPY"))
    assert found == {"accounts[0].currency": f"{IN_EUR}order {order.order_id}"}
    placed = await purchases.apply_events(order, "place")
    await purchases.apply_events(placed, "decline", "cancel")
    await scenario.store.directory.import_(
        directory(account("firm", plan="business", currency="JPY"))
    )
    assert (await scenario.account("firm")).currency == "JPY"
    assert (await scenario.store.audit()).violations == ()


async def test_both_accounts_of_a_refund_under_way_keep_their_currency(
    scenario: StoreScenario,
) -> None:
    """CRD-4, REF-4: a failed refund is converted to credit of the target."""
    plan, refund = await request_refund(scenario)
    acme = {**ACME, "currency": "USD"}
    under_way = f"{IN_EUR}refund {plan.refund_id}"
    # The part that was paid from credit is credit of the target by now.
    found = await mistakes_of(scenario, acme)
    assert found == {
        "accounts[0].currency": under_way.replace("refund", "credit of 10.00, refund", 1)
    }
    source = account("paid", plan="pro", state="closed", currency="USD")
    found = await mistakes_of(scenario, source)
    assert under_way.removeprefix(IN_EUR) in found["accounts[0].currency"]
    await book(scenario, with_part_states(refund, PartState.SUCCEEDED, PartState.SUCCEEDED), NOON)


async def test_an_account_without_money_may_change_its_currency(scenario: StoreScenario) -> None:
    """CRD-4: paid invoices and past entries do not matter."""
    await scenario.store.directory.import_(directory(rich(invoices=[INVOICE])))
    await scenario.pay_invoice("rich", "inv-1")
    await scenario.store.directory.import_(directory(rich(currency="USD")))
    assert (await scenario.account("rich")).currency == "USD"
    assert (await scenario.store.audit()).violations == ()


async def test_credit_of_another_currency_does_not_count(scenario: StoreScenario) -> None:
    """CRD-4: the file's credit is compared with what was named in its currency."""

    async def imported(currency: str, credit: str) -> str:
        more: dict[str, Any] = {"currency": currency, "credit": credit}
        await scenario.store.directory.import_(directory(rich(collection="net_terms", **more)))
        assert (await scenario.store.audit()).violations == ()
        return f"{(await scenario.account('rich')).credit:f}"

    invoice = {**INVOICE, "amount_due": "50.00"}
    await scenario.store.directory.import_(
        directory(rich(collection="net_terms", credit="50.00", invoices=[invoice]))
    )
    await scenario.store.credits.apply("rich", "inv-1", NOON)
    assert await imported("USD", "20.00") == "20.00"
    assert await imported("USD", "50.00") == "50.00"
    assert await imported("USD", "0.00") == "0.00"
    assert await imported("EUR", "50.00") == "0.00"
    assert await imported("EUR", "60.00") == "10.00"


# The owner.


@pytest.mark.parametrize(
    ("entry", "path", "reason"),
    [
        (account("fresh", user("x@fresh.example")), "users", NO_OWNER),
        (account("fresh", user("x@fresh.example", "admin")), "users", NO_OWNER),
        (rich(users=[user(RITA, "member")]), "users", NO_OWNER),
        (rich(users=[user(RITA, "admin"), user("new@rich.example")]), "users", NO_OWNER),
        (rich(users=[user("max@rich.example", "owner")]), "users", TWO_OWNERS),
    ],
    ids=["new", "new with an admin", "lowered", "lowered and others", "two"],
)
async def test_an_account_with_users_has_one_owner(
    scenario: StoreScenario, entry: object, path: str, reason: str
) -> None:
    """AUD: without an owner, nobody could buy, leave or settle."""
    assert await mistakes_of(scenario, ACME, entry) == {f"accounts[1].{path}": reason}


async def test_the_owner_may_change_in_one_file(scenario: StoreScenario) -> None:
    """AUD: the former owner gets another role in the same file."""
    users = [user("max@rich.example", "owner"), user(RITA, "member")]
    await scenario.store.directory.import_(directory(rich(users=users)))
    owner = (await scenario.account("rich")).owner
    assert owner and owner.email == "max@rich.example"


async def test_an_account_without_users_needs_no_owner(scenario: StoreScenario) -> None:
    """AUD: its users may follow in another file, together with the owner."""
    await scenario.store.directory.import_(directory(account("fresh")))
    found = await mistakes_of(scenario, account("fresh", user("x@fresh.example")))
    assert found == {"accounts[0].users": NO_OWNER}
    await scenario.store.directory.import_(
        directory(account("fresh", user("x@fresh.example", "owner")))
    )


async def test_a_file_that_names_a_few_users_keeps_the_owner(scenario: StoreScenario) -> None:
    """AUD: users that the file does not name stay, the owner among them."""
    await scenario.store.directory.import_(directory(account("acme", user(ADMIN), plan="pro")))
    owner = (await scenario.account("acme")).owner
    assert owner and owner.email == OWNER
