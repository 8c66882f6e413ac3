"""The reading of orders, invoices and credit by page, on both databases."""

from datetime import timedelta

import pytest

from domain.error import ErrorCode, Refused
from domain.order import OrderState
from domain.remedy import Removal
from tests.adapters.sql.money.test_order import PLAN
from tests.builders.account import NOON, account, directory, eur, user
from tests.builders.invitation import StoreScenario
from tests.builders.order import BUYER, OrderScenario, an_order

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def orders(scenario: StoreScenario) -> OrderScenario:
    return OrderScenario(scenario)


async def test_the_page_has_plan_orders_invoices_and_credit(orders: OrderScenario) -> None:
    """ADD-5, QUO-7: one line for the plan, one for the order; owed and credit are two amounts."""
    await orders.import_account(
        subscriptions=[PLAN],
        credit="5.00",
        collection="net_terms",
        invoices=[
            {"id": "late", "amount_due": "20.00", "due_on": "2026-05-01"},
            {"id": "early", "amount_due": "10.00", "due_on": "2026-04-01"},
            {"id": "done", "amount_due": "0.00", "due_on": "2026-03-01", "status": "paid"},
        ],
    )
    order = await orders.buy()
    pages = orders.scenario.store.pages.billing
    page = await pages.page("firm", changed="done")
    assert [line.id for line in page.lines] == ["plan"]
    assert [each.order_id for each in page.orders.rows] == [order.order_id]
    assert [each.id for each in page.invoices.rows] == ["early", "late"]
    assert (page.owed, page.credit) == (eur("30.00"), eur("0.00"))
    assert [(each.amount, each.invoice) for each in page.entries.rows] == [
        (eur("-5.00"), f"{order.order_id}/1"),
        (eur("5.00"), None),
    ]
    assert page.changed
    assert page.changed.status == "paid"
    assert [each.id for each in (await pages.page("firm", paid=True)).invoices.rows] == ["done"]
    assert (await pages.page("firm", ended=True)).orders.rows == ()


async def test_orders_are_read_page_by_page(orders: OrderScenario) -> None:
    """The newest first, each order once, ended ones apart."""
    await orders.import_account()
    opened = [
        await orders.scenario.store.orders.open(
            an_order(order_id=f"or-{n:02}"), NOON + n // 2 * MINUTE
        )
        for n in range(55)
    ]
    await orders.apply_events(opened[7], "give_up")
    pages = orders.scenario.store.pages.billing
    first = (await pages.page("firm")).orders
    rest = (await pages.page("firm", orders_after=first.more)).orders
    assert (len(first.rows), rest.more) == (50, None)
    read = [each.order_id for each in (*first.rows, *rest.rows)]
    assert read == [f"or-{n:02}" for n in range(54, -1, -1) if n != 7]
    [ended] = (await pages.page("firm", ended=True)).orders.rows
    assert (ended.order_id, ended.state) == ("or-07", OrderState.CANCELLED)


async def test_entries_of_credit_are_read_page_by_page(orders: OrderScenario) -> None:
    """The newest first, each entry once; an odd cursor is ignored."""
    store = orders.scenario.store
    await orders.import_account(
        credit="60.00",
        collection="net_terms",
        invoices=[
            {"id": f"i{n:02}", "amount_due": "1.00", "due_on": "2026-04-01"} for n in range(55)
        ],
    )
    for n in range(55):
        await store.credits.apply("firm", f"i{n:02}", NOON)
    first = (await store.pages.billing.page("firm")).entries
    rest = (await store.pages.billing.page("firm", entries_after=first.more)).entries
    invoices = [each.invoice for each in (*first.rows, *rest.rows)]
    assert invoices == [*(f"i{n:02}" for n in range(54, -1, -1)), None]
    odd = await store.pages.billing.page("firm", entries_after="9" * 30, orders_after="or-none")
    assert odd.entries == first


async def test_prices_are_in_the_accounts_currency(orders: OrderScenario) -> None:
    """ISO 4217: no decimals for JPY, three for KWD."""
    store = orders.scenario.store
    for name, currency in (("tokyo", "JPY"), ("kuwait", "KWD")):
        boss = user(f"boss@{name}.example", "owner")
        await store.directory.import_(directory(account(name, boss, currency=currency)))
    found = {}
    for name in ("tokyo", "kuwait"):
        prices = list((await store.pages.billing.page(name)).price_list())
        assert len(prices) == 10
        found[name] = prices[0].annual
    assert found["tokyo"].minor_units == 130
    assert f"{found['kuwait'].amount:f}" == "130.000"


async def test_an_unknown_account_has_no_page(orders: OrderScenario) -> None:
    """`not_found`, as everywhere."""
    with pytest.raises(Refused) as refused:
        await orders.scenario.store.pages.billing.page("nobody")
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_changes_are_read_page_by_page_with_their_people(orders: OrderScenario) -> None:
    """OPS-8: the newest first, only those of the account."""
    await orders.import_account()
    store = orders.scenario.store
    await store.remedies.remove_user("firm", "ann@firm.example", Removal.UNLINK, NOON, by=BUYER)
    for n in range(51):
        await store.changes.record("remove-room", f"r{n}", by=BUYER, at=NOON, account="firm")
    await store.changes.record("remove-room", "other", by=BUYER, at=NOON, account="acme")
    first = await store.changes.page("firm")
    rest = await store.changes.page("firm", first.more)
    assert [each.change.subject for each in first.rows] == [f"r{n}" for n in range(50, 0, -1)]
    people = {each.change.action: each.person for each in rest.rows}
    assert people["remove-user --unlink"] == "ann@firm.example"
    assert rest.more is None
