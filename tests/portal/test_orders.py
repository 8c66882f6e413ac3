"""The page of orders and credit, by real requests of admins and operators."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.sql.database.schema import InvoiceRow
from adapters.sql.database.transaction import writing
from domain.assignment import AssignLicenses
from domain.license import Sku
from domain.order import Order, OrderState
from tests.eventually import eventually
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_sign_in import OPERATOR, csrf_of, portal_of, session_of
from tests.world import ADMIN, LICENSED, MEMBER, OWNER, World, licensed_users

TERMS = {
    "sku": "large-meeting",
    "capacity": "500",
    "quantity": "3",
    "cycle": "monthly",
    "portal": "plans",
}


@pytest.fixture
async def admin(visitor: Visitor) -> Visitor:
    """Sign an admin in."""
    await session_of(visitor, ADMIN)
    return visitor


@pytest.fixture
async def operator(world: World) -> AsyncIterator[Visitor]:
    """Sign an operator in."""
    async with portal_of(world, operators=frozenset({OPERATOR})) as visitor:
        await session_of(visitor, OPERATOR)
        yield visitor


def path_of(visitor: Visitor, page: str = "/orders") -> str:
    return f"/admin/{visitor.world.account}{page}"


async def orders_page(visitor: Visitor, query: str = "") -> ReadPage:
    return await visitor.get(path_of(visitor, f"/orders{query}"))


async def post(visitor: Visitor, page: str, **form: str) -> ReadPage:
    """Post a form with the token of the visitor's session."""
    token = csrf_of(await orders_page(visitor))
    return await visitor.post(path_of(visitor, page), csrf_token=token, **form)


async def followed(visitor: Visitor, answer: ReadPage) -> ReadPage:
    """Return the page that an action leads to."""
    assert answer.status == 303, answer.html
    return await visitor.get(answer.response.headers["location"])


async def orders_of(world: World) -> list[Order]:
    return await world.orders.list(world.account)


async def the_order(world: World) -> Order:
    [order] = await orders_of(world)
    return order


async def reviews(world: World) -> list[str]:
    """Return the e-mails about reviews."""
    return [mail.text for mail in world.mails(event="order_review")]


async def in_review(visitor: Visitor, **terms: str) -> tuple[Order, ReadPage]:
    """Open a review; return the order and its page."""
    page = await followed(
        visitor, await post(visitor, "/buy", **TERMS | {"portal": "account"} | terms)
    )
    return await the_order(visitor.world), page


def price_of(page: ReadPage) -> Decimal:
    return Decimal(page.attribute("data-total") or "")


async def owe(world: World, **more: Any) -> None:
    """Import an open invoice."""
    invoice = {"id": "inv-7", "amount_due": "120.00", "due_on": "2026-11-30"}
    await world.imported(world.account, invoices=[invoice], **more)


# The price.


async def test_the_price_is_shown_before_anything_is_ordered(admin: Visitor) -> None:
    """ADD-4: now and later, exactly as the order has it; no order is written."""
    page = await post(admin, "/buy/price", **TERMS)
    assert (page.status, page.name, page.state) == (200, "orders", "priced")
    assert await orders_of(admin.world) == []
    assert page.attribute("data-then") == "150.00"
    assert "€150.00 for each month from" in page.text
    assert page.form("buy")["quantity"] == "3"
    bought = await admin.post(path_of(admin, "/buy"), **page.form("buy"))
    order = await the_order(admin.world)
    assert order.quote.due_now.amount == price_of(page)
    assert "You have bought 3 × Large Meeting 500" in (await followed(admin, bought)).text


async def test_the_form_can_be_filled_by_a_link(admin: Visitor) -> None:
    """A page that misses base licenses leads here."""
    page = await orders_page(admin, "?sku=workplace&quantity=4")
    assert '<option value="workplace" selected>' in page.html
    assert '<option value="" selected>' in page.html
    assert 'value="4"' in page.html


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"quantity": "0"}, "invalid_quantity", "whole number"),
        ({"quantity": "1.5"}, "invalid_quantity", "whole number"),
        ({"quantity": "1e3"}, "invalid_quantity", "whole number"),
        ({"quantity": "٣"}, "invalid_quantity", "whole number"),
        ({"quantity": ""}, "invalid_quantity", "whole number"),
        ({"quantity": "1000001"}, "invalid_quantity", "1 to 1,000,000"),
        ({"capacity": "10000"}, "invalid_capacity", "webinars for up to 10,000"),
        ({"capacity": "700"}, "invalid_capacity", "webinars"),
        ({"capacity": ""}, "invalid_capacity", "webinars"),
        ({"sku": "workplace"}, "invalid_capacity", "no capacity"),
        ({"sku": "phone"}, "invalid_input", "can’t be used"),
        ({"cycle": "weekly"}, "invalid_cycle", "monthly or annual"),
        ({"portal": "shop"}, "invalid_input", "can’t be used"),
    ],
)
@pytest.mark.parametrize("path", ["/buy/price", "/buy"])
async def test_wrong_terms_are_refused_with_the_entered_values(
    admin: Visitor, path: str, wrong: dict[str, str], code: str, words: str
) -> None:
    """ADD-1: 422, nothing is ordered, and what was entered is still there."""
    page = await post(admin, path, **TERMS | wrong)
    assert (page.status, page.name, page.error) == (422, "orders", code)
    assert words in page.text
    quantity = (TERMS | wrong)["quantity"]
    assert (
        f'name="quantity" inputmode="numeric" autocomplete="off" maxlength="20" value="{quantity}"'
        in page.html
    )
    assert await orders_of(admin.world) == []


async def test_a_changed_price_is_shown_before_it_is_charged(admin: Visitor) -> None:
    """The form keeps the amount that was shown; another one orders nothing."""
    page = await post(admin, "/buy/price", **TERMS)
    stale = page.form("buy") | {"shown": "1.00 150.00 EUR"}
    again = await admin.post(path_of(admin, "/buy"), **stale)
    assert (again.status, again.error, again.state) == (409, "quote_expired", "priced")
    assert price_of(again) == price_of(page)
    assert await orders_of(admin.world) == []


async def test_credit_is_named_as_used_first(admin: Visitor) -> None:
    """ADD-4: the payment method is charged the rest."""
    await admin.world.imported(admin.world.account, credit="2.00")
    page = await post(admin, "/buy/price", **TERMS | {"cycle": "annual"})
    rest = price_of(page) - 2
    assert "€2.00 of the account’s credit is used first." in page.text
    assert f"€{rest:,.2f} is charged to the payment method" in page.text


async def test_yen_have_no_decimals(admin: Visitor) -> None:
    """ISO 4217: JPY has no minor unit."""
    world = admin.world
    await world.imported(
        "tokyo", users=[("kai@tokyo.example", "owner")], currency="JPY", credit="300"
    )
    await session_of(admin, "kai@tokyo.example")
    token = csrf_of(await admin.get("/admin/tokyo/orders"))
    page = await admin.post("/admin/tokyo/buy/price", csrf_token=token, **TERMS)
    assert page.attribute("data-then") == "150"
    assert "¥150 for each month" in page.text
    assert "¥50.00" not in page.html
    await admin.post("/admin/tokyo/buy", **page.form("buy"))
    page = await admin.get("/admin/tokyo/orders")
    assert re.fullmatch(r"\d+", page.attribute("data-credit") or "")
    assert not re.search(r"¥[\d,]+\.", page.html)


# The portal `plans`.


async def test_an_order_is_placed_at_once(admin: Visitor) -> None:
    """ADD-3, ADD-5: by the admin, paid, and listed beside the plan."""
    answer = await post(admin, "/buy", **TERMS)
    page = await followed(admin, answer)
    order = await the_order(admin.world)
    assert (order.state, order.quantity, order.bought_by) == (OrderState.ACTIVE, 3, ADMIN)
    assert order.journal[0].by == ADMIN
    assert page.attribute("data-ordered") == order.order_id
    assert page.all("data-order") == [order.order_id]
    assert "3 × Large Meeting 500" in page.text
    assert "€150.00" in page.text
    [invoice] = order.invoices
    page = await admin.get(path_of(admin, f"/orders/{order.order_id}"))
    assert (page.name, page.state) == ("order", "active")
    assert page.all("data-invoice") == [invoice.id]
    assert f"€{invoice.amount.amount:,.2f}" in page.text
    assert "Licenses added" in page.text
    assert await admin.world.audit() == ()


async def test_a_double_click_places_one_order(admin: Visitor) -> None:
    """The same form twice, at once and afterwards."""
    form = (await post(admin, "/buy/price", **TERMS)).form("buy")
    first, second = await asyncio.gather(
        *(admin.post(path_of(admin, "/buy"), **form) for _ in range(2))
    )
    third = await admin.post(path_of(admin, "/buy"), **form)
    order = await the_order(admin.world)
    places = {each.response.headers["location"] for each in (first, second, third)}
    assert places == {path_of(admin, f"/orders?ordered={order.order_id}")}
    assert [each.state for each in order.invoices] == ["paid"]


async def test_the_same_form_with_other_terms_is_a_conflict(admin: Visitor) -> None:
    """The key of a form belongs to one order."""
    form = (await post(admin, "/buy/price", **TERMS)).form("buy")
    assert (await admin.post(path_of(admin, "/buy"), **form)).status == 303
    page = await admin.post(path_of(admin, "/buy"), **form | {"quantity": "9"})
    assert (page.status, page.error) == (409, "conflict")
    assert (await the_order(admin.world)).quantity == 3


async def test_two_purchases_are_two_orders(admin: Visitor) -> None:
    """Each price that is shown has a key of its own."""
    for _ in range(2):
        form = (await post(admin, "/buy/price", **TERMS)).form("buy")
        assert (await admin.post(path_of(admin, "/buy"), **form)).status == 303
    assert len(await orders_of(admin.world)) == 2


async def test_a_declined_payment_says_what_to_do(admin: Visitor) -> None:
    """ADD-4: no refusal; the order, the amount, the next attempt and the remedy."""
    card = {"id": "card-1", "kind": "card", "declines": 9}
    await admin.world.imported(admin.world.account, payment_methods=[card])
    page = await followed(admin, await post(admin, "/buy", **TERMS))
    order = await the_order(admin.world)
    assert order.state is OrderState.PAYMENT_FAILED
    assert (page.status, page.name) == (200, "orders")
    amount = f"€{order.quote.due_now.amount:,.2f}"
    assert f"{amount} could not be charged, after 1 attempt." in page.text
    assert "replace the payment method of the account, or cancel the order" in page.text
    page = await admin.get(path_of(admin, f"/orders/{order.order_id}"))
    assert page.state == "payment_failed"
    assert "1 charge tried" in page.text
    assert "Nothing has been paid. The order ends at once" in page.text
    cancelled = await post(admin, f"/orders/{order.order_id}/cancel")
    assert (await followed(admin, cancelled)).state == "cancelled"
    assert "It was never paid" in (await orders_page(admin, "?orders=ended")).text


@pytest.mark.parametrize(
    ("change", "words"), [({"plan": "free"}, "free plan"), ({"suspended": True}, "suspended")]
)
async def test_an_account_that_cannot_buy_says_why(
    admin: Visitor, change: dict[str, Any], words: str
) -> None:
    """ADD-2: no form is shown, and a forged one is refused."""
    token = csrf_of(await orders_page(admin))
    await admin.world.imported(admin.world.account, **change)
    page = await orders_page(admin)
    assert words in page.text
    assert "/buy" not in page.html
    page = await admin.post(path_of(admin, "/buy"), csrf_token=token, **TERMS)
    assert (page.status, page.error) == (409, "target_not_paid")


# The portal `account`.


async def test_a_review_is_confirmed(admin: Visitor) -> None:
    """ADD-3: nothing is charged before; a second click changes nothing."""
    order, page = await in_review(admin)
    assert (page.status, page.name, page.state) == (200, "order-review", "review")
    assert price_of(page) == order.quote.due_now.amount
    assert (order.invoices, order.portal) == ((), "account")
    confirm = page.form(f"orders/{order.order_id}/confirm")
    where = path_of(admin, f"/orders/{order.order_id}/confirm")
    answers = await asyncio.gather(*(admin.post(where, **confirm) for _ in range(2)))
    answers = [*answers, await admin.post(where, **confirm)]
    assert [each.status for each in answers] == [303, 303, 303]
    page = await followed(admin, answers[0])
    assert "You have bought 3 × Large Meeting 500" in page.text
    order = await the_order(admin.world)
    assert (order.state, len(order.invoices)) == (OrderState.ACTIVE, 1)
    assert [each.by for each in order.journal if each.event == "confirm"] == [ADMIN]


async def test_a_review_is_edited_before_it_is_confirmed(admin: Visitor) -> None:
    """ADD-3: one step cancels it and opens another; no e-mail says that it was cancelled."""
    order, page = await in_review(admin)
    form = page.form(f"orders/{order.order_id}/edit")
    terms = {"capacity": "1000", "quantity": "2", "cycle": "annual"}
    where = path_of(admin, f"/orders/{order.order_id}/edit")
    answer = await admin.post(where, **form | terms)
    page = await followed(admin, answer)
    assert page.name == "order-review"
    old, new = await orders_of(admin.world)
    assert (old.state, old.note) == (OrderState.CANCELLED, "replaced")
    assert (new.capacity, new.quantity, new.cycle, new.portal) == (1000, 2, "annual", "account")
    assert page.attribute("data-then") == "1800.00"
    repeated = await admin.post(where, **form | terms)
    assert repeated.response.headers["location"] == answer.response.headers["location"]
    assert len(await orders_of(admin.world)) == 2
    await eventually(
        lambda: reviews(admin.world), until=lambda texts: any("1,800.00" in text for text in texts)
    )
    assert admin.world.mails(event="order_cancelled") == []


async def test_a_wrong_edit_keeps_the_review(admin: Visitor) -> None:
    """ADD-1: refused before anything changes, with the entered values."""
    order, _ = await in_review(admin)
    page = await post(
        admin, f"/orders/{order.order_id}/edit", capacity="1000", quantity="x", cycle="annual"
    )
    assert (page.status, page.name, page.error) == (422, "order-review", "invalid_quantity")
    assert 'value="x"' in page.html
    assert '<option value="1000" selected>' in page.html
    assert (await the_order(admin.world)).state is OrderState.REVIEW


async def test_a_placed_order_is_not_edited(admin: Visitor) -> None:
    """An edit that arrives after the confirmation cancels nothing."""
    await post(admin, "/buy", **TERMS)
    order = await the_order(admin.world)
    page = await post(
        admin, f"/orders/{order.order_id}/edit", capacity="500", quantity="1", cycle="monthly"
    )
    assert (page.status, page.name, page.error) == (409, "order", "conflict")
    assert (await the_order(admin.world)).quantity_then is None


async def test_a_review_is_cancelled(admin: Visitor) -> None:
    """ADD-6: never paid; confirming it afterwards is a conflict."""
    order, page = await in_review(admin)
    confirm = page.form(f"orders/{order.order_id}/confirm")
    page = await followed(admin, await post(admin, f"/orders/{order.order_id}/cancel"))
    assert (page.name, page.state) == ("order", "cancelled")
    assert "Nothing was charged." in page.text
    page = await admin.post(path_of(admin, f"/orders/{order.order_id}/confirm"), **confirm)
    assert (page.status, page.name, page.error) == (409, "order", "conflict")


async def test_an_operator_acts_for_the_owner(operator: Visitor) -> None:
    """OPS-8: every entry names the operator and the owner."""
    order, _ = await in_review(operator)
    for_owner = f"operator {OPERATOR} for {OWNER}"
    assert (order.bought_by, order.journal[0].by) == (OWNER, for_owner)
    await post(operator, f"/orders/{order.order_id}/confirm")
    await post(operator, f"/orders/{order.order_id}/change", quantity="2")
    page = await followed(operator, await post(operator, f"/orders/{order.order_id}/cancel"))
    order = await the_order(operator.world)
    by = {entry.event: entry.by for entry in order.journal}
    assert (by["confirm"], by["change_quantity"], by["cancel"]) == (for_owner,) * 3
    assert f"operator {OPERATOR} for {OWNER}" in page.text


async def test_an_order_of_another_account_is_unknown(admin: Visitor) -> None:
    """404 for reading and for every action, as for an order that does not exist."""
    await admin.world.imported("other", users=[("boss@other.example", "owner")])
    other = await admin.world.orders.buy(
        "other", Sku.WORKPLACE, quantity=1, cycle="monthly", by="boss@other.example"
    )
    for order_id in (other.order_id, "or-unknown", "x%00y"):
        page = await admin.get(path_of(admin, f"/orders/{order_id}"))
        assert (page.status, page.name) == (404, "not-found")
        for action in ("confirm", "cancel", "edit", "change"):
            page = await post(admin, f"/orders/{order_id}/{action}", **TERMS)
            assert (page.status, page.name) == (404, "not-found")
    page = await orders_page(admin, f"?ordered={other.order_id}")
    assert other.order_id not in page.html
    assert (await admin.world.orders.show(other.order_id)).quantity_then is None


# Fewer licenses.


async def holders(world: World) -> Order:
    """Buy two licenses and give both away; return the order."""
    await licensed_users(world)
    await world.imported(
        world.account, pools=[{"sku": "large-meeting", "capacity": 500, "bought": 0}]
    )
    order = await world.orders.buy(
        world.account, Sku.LARGE_MEETING, capacity=500, quantity=2, cycle="monthly", by=ADMIN
    )
    request = AssignLicenses(
        request_id="two",
        account=world.account,
        sku=Sku.LARGE_MEETING,
        capacity=500,
        emails=LICENSED[:2],
        by=ADMIN,
    )
    await world.store.assignments.assign(request, datetime.now(UTC))
    return order


async def test_a_smaller_quantity_names_the_holders_to_release(admin: Visitor) -> None:
    """ADD-6: check boxes for the holders; the choice takes effect with the term."""
    order = await holders(admin.world)
    page = await post(admin, f"/orders/{order.order_id}/change", quantity="1")
    assert (page.status, page.error) == (409, "assigned_exceeds_quantity")
    assert "Choose at least 1 more user, who loses the license" in page.text
    assert re.findall(r'name="release" value="([^"]*)"', page.html) == list(LICENSED[:2])
    assert (
        'name="quantity" inputmode="numeric" autocomplete="off" maxlength="20" value="1"'
        in page.html
    )
    answer = await post(
        admin, f"/orders/{order.order_id}/change", quantity="1", release=LICENSED[0]
    )
    page = await followed(admin, answer)
    assert "1 license from" in page.text
    assert LICENSED[0] in page.text
    order = await the_order(admin.world)
    assert (order.quantity_then, order.release) == (1, (LICENSED[0],))
    assert order.journal[-1].by == ADMIN
    await followed(admin, await post(admin, f"/orders/{order.order_id}/change", quantity="2"))
    assert (await the_order(admin.world)).quantity_then is None


@pytest.mark.parametrize("quantity", ["0", "3", "-1", "1.0", " 1", ""])
async def test_a_quantity_out_of_range_is_refused(admin: Visitor, quantity: str) -> None:
    """ADD-6: from 1 to the present quantity."""
    order = await holders(admin.world)
    page = await post(admin, f"/orders/{order.order_id}/change", quantity=quantity)
    assert (page.status, page.error) == (422, "invalid_quantity")
    assert "from 1 to 2" in page.text
    assert f'value="{quantity}"' in page.html


async def test_an_order_is_cancelled_with_its_term(admin: Visitor) -> None:
    """ADD-6: with holders only when they may lose their licenses."""
    order = await holders(admin.world)
    page = await post(admin, f"/orders/{order.order_id}/cancel")
    assert (page.status, page.error) == (409, "assigned_exceeds_quantity")
    assert "2 users hold these licenses:" in page.text
    answer = await post(admin, f"/orders/{order.order_id}/cancel", release_all="1")
    page = await followed(admin, answer)
    assert (page.name, page.state) == ("order", "active")
    assert "Nothing more is charged." in page.text
    assert "/cancel" not in page.html
    assert (await the_order(admin.world)).quantity_then == 0
    assert "Cancelled, works until the term ends" in (await orders_page(admin)).text


# Invoices and credit.


async def test_credit_and_balance_owed_are_two_things(admin: Visitor) -> None:
    """QUO-7: each with its own amount; credit takes nothing off what is owed until applied."""
    await owe(admin.world, credit="50.00", collection="net_terms")
    page = await orders_page(admin)
    assert (page.attribute("data-credit"), page.attribute("data-owed")) == ("50.00", "120.00")
    assert "Apply €50.00 of credit" in page.text
    page = await followed(admin, await post(admin, "/credit/apply", invoice="inv-7"))
    assert (page.attribute("data-credit"), page.attribute("data-owed")) == ("0.00", "70.00")
    assert "€70.00 of the invoice inv-7 is still open." in page.text
    assert "-€50.00" in page.text
    entry = (await admin.world.store.credits.show(admin.world.account)).entries[-1]
    assert (entry.invoice, entry.by) == ("inv-7", ADMIN)
    page = await post(admin, "/credit/apply", invoice="inv-7")
    assert (page.status, page.error) == (409, "conflict")
    assert await admin.world.audit() == ()


async def test_an_invoice_is_paid(admin: Visitor) -> None:
    """BLK-2: by the payment methods, once, in the admin's name."""
    await owe(admin.world)
    for _ in range(2):
        page = await followed(admin, await post(admin, "/invoices/pay", invoice="inv-7"))
        assert "The invoice inv-7 is paid." in page.text
        assert page.attribute("data-owed") == "0.00"
    page = await orders_page(admin, "?invoices=paid")
    assert page.all("data-invoice") == ["inv-7"]
    assert "1 charge tried" in page.text
    async with writing(admin.world.store.engine) as session:
        row = await session.get_one(InvoiceRow, (admin.world.account, "inv-7"))
        assert row.paid_by == ADMIN


async def test_a_declined_invoice_stays_open(admin: Visitor) -> None:
    """BLK-2: the refusal says what to do."""
    card = {"id": "card-1", "kind": "card", "declines": 1}
    await owe(admin.world, payment_methods=[card])
    page = await post(admin, "/invoices/pay", invoice="inv-7")
    assert (page.status, page.name, page.error) == (409, "orders", "payment_declined")
    assert "The invoice stays open." in page.text
    assert page.attribute("data-owed") == "120.00"
    assert "1 charge tried" in page.text


async def test_only_an_operator_records_a_payment_elsewhere(
    admin: Visitor, operator: Visitor
) -> None:
    """No form for admins; a forged one is unknown."""
    await owe(admin.world)
    assert "paid-outside" not in (await orders_page(admin)).html
    forged = await post(admin, "/invoices/paid-outside", invoice="inv-7", reference="bank 1")
    assert forged.status == 404
    page = await post(operator, "/invoices/paid-outside", invoice="inv-7", reference=" ")
    assert (page.status, page.error) == (422, "invalid_input")
    answer = await post(operator, "/invoices/paid-outside", invoice="inv-7", reference="bank 1")
    assert "The invoice inv-7 is paid." in (await followed(operator, answer)).text
    assert "Paid elsewhere: bank 1" in (await orders_page(operator, "?invoices=paid")).text


async def test_an_operator_pays_in_the_owners_name(operator: Visitor) -> None:
    """OPS-8: the ledger names both."""
    await owe(operator.world, credit="50.00", collection="net_terms")
    await post(operator, "/credit/apply", invoice="inv-7")
    await post(operator, "/invoices/pay", invoice="inv-7")
    for_owner = f"operator {OPERATOR} for {OWNER}"
    entry = (await operator.world.store.credits.show(operator.world.account)).entries[-1]
    assert entry.by == for_owner
    async with writing(operator.world.store.engine) as session:
        row = await session.get_one(InvoiceRow, (operator.world.account, "inv-7"))
        assert (row.paid_by, row.status) == (for_owner, "paid")


@pytest.mark.parametrize("path", ["/invoices/pay", "/credit/apply"])
async def test_an_unknown_invoice_is_not_found(admin: Visitor, path: str) -> None:
    """Also an id that cannot be one."""
    for invoice in ("inv-0", "x\x00y", "é"):
        assert (await post(admin, path, invoice=invoice)).status == 404


async def test_lists_have_fifty_rows_a_page(admin: Visitor) -> None:
    """Invoices and entries of credit, each row once."""
    world = admin.world
    await world.imported(
        world.account,
        credit="1.00",
        collection="net_terms",
        invoices=[
            {"id": f"inv-{n:03}", "amount_due": "1.00", "due_on": "2026-11-30"} for n in range(60)
        ],
    )
    page = await orders_page(admin)
    first = page.all("data-invoice")
    [more] = re.findall(r"\?(invoices_after=[^\"#]*)", page.html)
    rest = (await orders_page(admin, f"?{more}")).all("data-invoice")
    assert first + rest == [f"inv-{n:03}" for n in range(60)]
    assert page.attribute("data-owed") == "60.00"
    for odd in ("invoices_after=%00", "orders_after=%00", "entries_after=99999999999999999999"):
        assert (await orders_page(admin, f"?{odd}")).status == 200


async def test_the_plan_is_listed_beside_its_add_ons(admin: Visitor) -> None:
    """ADD-5: one table, with what was paid for the plan's term."""
    today = datetime.now(UTC).date()
    plan = {
        "id": "sub-1",
        "product": "Business",
        "kind": "plan",
        "quantity": 10,
        "cycle": "annual",
        "period_start": str(today),
        "period_end": str(today + timedelta(days=365)),
        "payments": [{"id": "pay-1", "method": "card", "amount": "1599.00"}],
    }
    await admin.world.imported(admin.world.account, subscriptions=[plan])
    await post(admin, "/buy", **TERMS)
    page = await orders_page(admin)
    assert page.all("data-line") == ["sub-1"]
    assert "10 × Business the plan of the account annual Active" in page.text
    assert "€1,599.00 paid for this term" in page.text
    assert len(page.all("data-order")) == 1


async def test_reading_changes_nothing(admin: Visitor) -> None:
    """A GET of a form leads to the page."""
    for path in ("/buy", "/buy/price", "/credit/apply", "/invoices/pay", "/orders/or-1/confirm"):
        answer = await admin.get(path_of(admin, path))
        assert (answer.status, answer.response.headers["location"]) == (303, path_of(admin))
    assert await orders_of(admin.world) == []


async def test_a_member_sees_and_buys_nothing(visitor: Visitor) -> None:
    """ADD-2: the answer for an account that does not exist."""
    await session_of(visitor, MEMBER)
    assert (await orders_page(visitor)).status == 404
    assert (await visitor.post(path_of(visitor, "/buy"), **TERMS)).status == 404
