"""Orders are quoted, paid once for each term, reduced with a term, and end once."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from activities.order import OrderPayment
from domain.account import Directory
from domain.announcement import ACCOUNT_CLOSED
from domain.charge import EXAMPLE_CARD
from domain.day import begin
from domain.error import ErrorCode, Refused
from domain.invitation import Choice
from domain.license import Sku
from domain.order import Order, OrderState
from tests.builders.invitation import ADMIN, NOON, Town, account, directory, user
from tests.builders.order import BOSS, DAY, STAFF, Shop, an_order, eur
from tests.builders.refund import balances

APRIL = date(2026, 4, 1)
RENEWAL = begin(APRIL, "Europe/Berlin")
PLAN = {
    "id": "plan",
    "product": "Business",
    "kind": "plan",
    "quantity": 1,
    "cycle": "annual",
    "period_start": "2025-07-01",
    "period_end": "2026-07-01",
    "payments": [],
}
DECLINING = [{"id": "visa", "kind": "card", "declines": 1}, {"id": "giro", "kind": "bank"}]


@pytest.fixture
async def shop(town: Town) -> Shop:
    shop = Shop(town)
    await shop.open()
    return shop


async def sound(shop: Shop) -> None:
    assert (await shop.town.store.audit()).violations == ()


async def line(shop: Shop, order: Order) -> dict[str, Any]:
    found = (await shop.town.account("firm")).subscriptions
    [listed] = [each for each in found if each.id == order.order_id]
    return listed.model_dump(mode="json")


def states(order: Order) -> list[tuple[str, str]]:
    return [(f"{invoice.amount.amount:f}", invoice.state) for invoice in order.invoices]


# What it costs, and who may buy.


async def test_a_quote_changes_nothing_and_the_draft_is_kept_once(shop: Shop) -> None:
    """ADD-4: 2 × 50.00 × 30/31 to the first of the next month; the example's prices."""
    order, orders = an_order(), shop.town.store.orders
    quoted = await orders.quoted(order, NOON)
    assert quoted.quote.due_now == eur("96.77")
    assert quoted.quote.then == eur("100.00")
    assert quoted.quote.next_billing_date == APRIL
    assert quoted.quote.prices == "example"
    assert await orders.listed("firm") == []
    assert await orders.open(order, NOON) == quoted
    assert await orders.open(order, NOON + 9 * DAY) == quoted
    assert await orders.listed("firm") == [quoted] == [await orders.latest(order.order_id)]


async def test_an_imported_catalogue_and_an_annual_plan_say_what_is_due(shop: Shop) -> None:
    """ADD-4: 2 × 400.00 × 121/365, to the end of the plan's year."""
    await shop.open(subscriptions=[PLAN])
    prices = {"large-meeting": {"500": 40}}
    await shop.town.store.directory.import_(directory(catalog=prices))
    quoted = await shop.town.store.orders.quoted(an_order(cycle="annual"), NOON)
    assert quoted.quote.due_now == eur("265.21")
    assert quoted.quote.then == eur("800.00")
    assert quoted.quote.next_billing_date == date(2026, 7, 1)
    assert quoted.quote.prices == "imported"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"account": "nobody"}, ErrorCode.NOT_FOUND),
        ({"bought_by": STAFF[0]}, ErrorCode.NOT_AUTHORIZED),
        ({"bought_by": ADMIN}, ErrorCode.NOT_AUTHORIZED),
        ({"account": "solo", "bought_by": "sue@solo.example"}, ErrorCode.TARGET_NOT_PAID),
        ({"capacity": 750}, ErrorCode.INVALID_CAPACITY),
        ({"quantity": 10**6 + 1}, ErrorCode.INVALID_QUANTITY),
    ],
)
async def test_what_may_not_be_bought_is_refused(
    shop: Shop, more: dict[str, object], code: ErrorCode
) -> None:
    """ADD-1, ADD-2: nothing is kept."""
    orders = shop.town.store.orders
    for ask in (orders.quoted, orders.open):
        with pytest.raises(Refused) as refused:
            await ask(an_order(**more), NOON)
        assert refused.value.code is code
    assert await orders.listed("firm") == []


async def test_an_unknown_order_or_account_is_not_found(shop: Shop) -> None:
    orders = shop.town.store.orders
    for ask in (orders.latest, orders.listed):
        with pytest.raises(Refused) as refused:
            await ask("nothing")
        assert refused.value.code is ErrorCode.NOT_FOUND


# The first payment.


async def test_what_is_paid_grows_the_pool_and_is_listed_beside_the_plan(shop: Shop) -> None:
    """ADD-5."""
    order = await shop.bought()
    assert order.state is OrderState.ACTIVE
    assert states(order) == [("96.77", "paid")]
    assert order.invoices[0].id == f"{order.order_id}/1"
    assert order.paid_until == RENEWAL
    assert await shop.pool() == (2, 0)
    listed = await line(shop, order)
    [payment] = listed.pop("payments")
    assert (payment["method"], payment["amount"]) == ("card", "96.77")
    assert payment["id"].startswith("ch_")
    assert listed == {
        "id": order.order_id,
        "product": "Large Meeting 500",
        "kind": "addon",
        "quantity": 2,
        "cycle": "monthly",
        "period_start": "2026-03-02",
        "period_end": "2026-04-01",
        "cancellation_pending": False,
        "discount": "0.00",
        "tax": "0.00",
    }
    assert await balances(shop.town.engine) == {
        "methods/firm": "EUR -9677",
        "prepaid/firm": "EUR 9677",
    }
    await sound(shop)


async def test_base_licenses_are_bought_without_a_capacity(shop: Shop) -> None:
    order = await shop.bought(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=3))
    assert await shop.pool(capacity=None) == (7, 4)
    assert (await line(shop, order))["product"] == "Workplace"
    await sound(shop)


async def test_who_waits_is_served_by_a_purchase(shop: Shop) -> None:
    """ASG-5: in the same transaction."""
    await shop.bought(an_order(quantity=1))
    await shop.assigned(*STAFF)
    assert await shop.pool() == (1, 1)
    await shop.bought()
    assert await shop.holders() == [*STAFF]
    await sound(shop)


async def test_credit_is_used_first_and_the_rest_is_charged(shop: Shop) -> None:
    """ADD-4."""
    await shop.open(credit="30.00")
    order = await shop.bought()
    found = [(each["method"], each["amount"]) for each in (await line(shop, order))["payments"]]
    assert sorted(found) == [("card", "66.77"), ("credit", "30.00")]
    credit = await shop.town.store.credits.show("firm")
    assert credit.balance == eur("0.00")
    assert credit.entries[-1].invoice == f"{order.order_id}/1"
    await sound(shop)


async def test_what_credit_pays_whole_is_not_charged(shop: Shop) -> None:
    await shop.open(credit="100.00")
    order = await shop.bought()
    assert states(order) == [("96.77", "paid")]
    assert await balances(shop.town.engine, "credit/firm", "methods/firm") == {
        "credit/firm": "EUR 323"
    }
    await sound(shop)


async def test_what_costs_nothing_is_paid_at_once(shop: Shop) -> None:
    prices = {"large-meeting": {"500": 0}}
    await shop.town.store.directory.import_(directory(catalog=prices))
    order = await shop.bought()
    assert states(order) == [("0.00", "paid")]
    assert await shop.pool() == (2, 0)
    await sound(shop)


async def test_the_methods_are_tried_in_order(shop: Shop) -> None:
    """ADD-4: the card declines, the bank pays."""
    await shop.open(payment_methods=DECLINING)
    order = await shop.bought()
    [payment] = (await line(shop, order))["payments"]
    assert payment["method"] == "bank"


async def test_a_declined_payment_keeps_its_credit_and_is_tried_anew(shop: Shop) -> None:
    """ADD-4: each try is counted from the first failure; later credit is used as well."""
    methods = [{"id": "visa", "kind": "card", "declines": 2}]
    await shop.open(credit="30.00", payment_methods=methods)
    failed = await shop.declined(await shop.placed())
    assert failed.state is OrderState.PAYMENT_FAILED
    assert (failed.tries, failed.failed_since) == (1, NOON)
    assert failed.next_try_at() == NOON + DAY
    assert states(failed) == [("96.77", "failed")]
    assert await shop.pool() == (0, 0)
    await sound(shop)
    await shop.town.store.directory.import_(directory(firm_with(credit="40.00")))
    again = await shop.declined(failed, NOON + DAY)
    assert (again.tries, again.next_try_at()) == (2, NOON + 3 * DAY)
    paid = await shop.paid(again, NOON + 3 * DAY)
    assert (paid.tries, paid.failed_since) == (0, None)
    found = [(each["method"], each["amount"]) for each in (await line(shop, paid))["payments"]]
    assert sorted(found) == [("card", "56.77"), ("credit", "40.00")]
    await sound(shop)


async def test_what_is_given_up_gives_its_credit_back(shop: Shop) -> None:
    """CRD-1: by another entry."""
    methods = [{"id": "visa", "kind": "card", "declines": 9}]
    await shop.open(credit="30.00", payment_methods=methods)
    failed = await shop.declined(await shop.placed())
    for _ in range(2):
        voided = await shop.town.store.orders.void(failed, NOON + 7 * DAY)
    cancelled = await shop.moved(voided, "give_up")
    assert states(cancelled) == [("96.77", "void")]
    credit = await shop.town.store.credits.show("firm")
    assert credit.balance == eur("30.00")
    assert [entry.kind for entry in credit.entries[1:]] == ["applied", "reversed"]
    await sound(shop)


# Once.


async def test_a_lost_answer_is_looked_for_and_nothing_is_charged_twice(shop: Shop) -> None:
    """REF-5, for charges: the provider took it, and its answer was lost."""
    order = await shop.placed()
    lossy = Shop(shop.town, frozenset({"timeout-after"}))
    with pytest.raises(TimeoutError):
        await lossy.charged(order, NOON)
    charged = await lossy.charged(order, NOON, attempt=2)
    assert charged.paid
    assert await balances(shop.town.engine, "methods/firm") == {"methods/firm": "EUR -9677"}
    assert await shop.pool() == (2, 0)
    await sound(shop)


async def test_a_charge_that_is_asked_for_again_is_booked_once(shop: Shop) -> None:
    """A worker that died after the transaction: the same order comes once more."""
    order = await shop.placed()
    first = await shop.charged(order, NOON)
    again = await shop.charged(order, NOON + DAY, attempt=2)
    assert again == first
    assert await shop.pool() == (2, 0)
    await sound(shop)


async def test_a_decline_that_is_asked_for_again_is_counted_once(shop: Shop) -> None:
    await shop.open(payment_methods=[{"id": "visa", "kind": "card", "declines": 1}])
    order = await shop.placed()
    first = await shop.charged(order, NOON)
    assert await shop.charged(order, NOON, attempt=2) == first
    assert first.order.tries == 1
    assert first.failure == "card_declined"


async def test_a_decline_that_comes_late_does_not_undo_a_payment(shop: Shop) -> None:
    order = await shop.placed()
    paid = (await shop.charged(order, NOON)).order
    assert await shop.town.store.orders.declined(order, NOON) == paid


async def test_ten_bookings_of_one_payment_are_one(shop: Shop) -> None:
    orders = shop.town.store.orders
    placed = await orders.invoice(await shop.placed(), NOON)
    payment = OrderPayment(method=EXAMPLE_CARD, provider_id="ch_1", amount=eur("96.77"))
    kept = await asyncio.gather(*(orders.paid(placed, payment, NOON) for _ in range(10)))
    assert all(order == kept[0] for order in kept)
    assert await shop.pool() == (2, 0)
    await sound(shop)


async def test_two_orders_at_once_do_not_use_the_same_credit(shop: Shop) -> None:
    await shop.open(credit="100.00")
    orders = [await shop.placed() for _ in range(5)]
    await asyncio.gather(*(shop.paid(order) for order in orders))
    assert await balances(shop.town.engine, "credit/firm") == {}
    assert await shop.pool() == (10, 0)
    await sound(shop)


async def test_an_older_record_is_not_kept(shop: Shop) -> None:
    opened = await shop.town.store.orders.open(an_order(), NOON)
    placed = await shop.moved(opened, "place")
    assert await shop.town.store.orders.keep(opened) == placed


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO order_invoices SELECT order_id, number, '2027-01-01', period_end, currency,"
        " amount, from_credit, credit_tried, state, at, NULL FROM order_invoices",
        "INSERT INTO order_invoices SELECT order_id, 2, period_start, period_end, currency,"
        " amount, from_credit, credit_tried, state, at, NULL FROM order_invoices",
        "INSERT INTO order_invoices SELECT order_id, 2, '2027-01-01', period_end, currency,"
        " amount, from_credit, credit_tried, state, at, payment FROM order_invoices",
        "UPDATE order_invoices SET from_credit = amount + 1",
        "UPDATE order_invoices SET state = 'open'",
    ],
)
async def test_the_database_keeps_one_invoice_a_term_and_one_payment_an_invoice(
    shop: Shop, statement: str
) -> None:
    await shop.bought()
    with pytest.raises(IntegrityError):
        async with shop.town.engine.begin() as connection:
            await connection.execute(text(statement))


async def test_each_try_of_each_method_is_a_request_of_its_own(shop: Shop) -> None:
    """ADD-4: `<invoice>/<try>/<method>`, and the money is for what is left after credit."""
    methods = [{"id": name, "kind": "card", "declines": 1} for name in ("visa", "amex")]
    await shop.open(credit="30.00", payment_methods=methods)
    order = await shop.paid(await shop.declined(await shop.placed()), NOON + DAY)
    async with shop.town.engine.begin() as connection:
        rows = await connection.execute(
            text("SELECT key, amount / 100, state FROM provider_charges ORDER BY at, key DESC")
        )
        made = [tuple(row) for row in rows]
    invoice = order.invoices[0].id
    assert made == [
        (f"{invoice}/0/visa", 6677, "declined"),
        (f"{invoice}/0/amex", 6677, "declined"),
        (f"{invoice}/1/visa", 6677, "succeeded"),
    ]


# What a file says of licenses that were bought here.


async def exported(shop: Shop) -> Directory:
    return await shop.town.store.directory.export("firm")


async def imported_again(shop: Shop, file: Directory) -> None:
    """As if it came from a file: with all that it names, and no more."""
    await shop.town.store.directory.import_(Directory.model_validate_json(file.model_dump_json()))


def large(bought: int) -> list[dict[str, object]]:
    return [{"sku": "large-meeting", "capacity": 500, "bought": bought}]


async def test_a_file_says_what_was_there_and_takes_nothing_that_was_bought(shop: Shop) -> None:
    """The same file again changes nothing, and what it says anew is the difference."""
    await shop.open(licenses=6, pools=large(5))
    await shop.bought()
    await shop.bought(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=3))
    assert (await shop.pool(), await shop.pool(capacity=None)) == ((7, 0), (9, 4))
    await shop.open(licenses=6, pools=large(5))
    assert (await shop.pool(), await shop.pool(capacity=None)) == ((7, 0), (9, 4))
    await shop.open(licenses=5, pools=large(8))
    assert (await shop.pool(), await shop.pool(capacity=None)) == ((10, 0), (8, 4))
    await shop.open(licenses=5, pools=large(8))
    assert (await shop.pool(), await shop.pool(capacity=None)) == ((10, 0), (8, 4))
    await sound(shop)


async def test_an_export_of_what_was_bought_imports_to_the_same(shop: Shop) -> None:
    """Here it changes nothing; where nobody bought anything it is all there."""
    await shop.open(licenses=6, pools=large(5))
    await shop.bought()
    file = await exported(shop)
    await imported_again(shop, file)
    assert await exported(shop) == file
    [firm] = file.accounts
    moved = firm.model_copy(update={"id": "moved", "users": ()})
    await imported_again(shop, Directory(accounts=(moved,)))
    assert (await shop.town.store.directory.export("moved")).accounts == (moved,)
    [pool] = firm.pools
    more = firm.model_copy(update={"pools": (pool.model_copy(update={"bought": 9}),)})
    await imported_again(shop, Directory(accounts=(more,)))
    assert await shop.pool() == (9, 0)


async def test_what_an_order_took_along_does_not_come_back_with_a_file(shop: Shop) -> None:
    """ADD-6: neither with the first file nor with an export from before its end."""
    await shop.open(pools=large(5))
    order = await shop.bought()
    before = await exported(shop)
    over, _ = await shop.town.store.orders.term_ended(await shop.planned(order, 0), RENEWAL)
    await shop.moved(over, "end", at=RENEWAL)
    assert await shop.pool() == (5, 0)
    after = await exported(shop)
    assert [line.id for line in after.accounts[0].subscriptions] == []
    for file in (before, after):
        await imported_again(shop, file)
        assert (await shop.pool(), await exported(shop)) == ((5, 0), after)
    await shop.open(pools=large(5))
    assert await shop.pool() == (5, 0)


async def test_nobody_loses_a_license_by_what_a_file_says(shop: Shop) -> None:
    """Nor does an order: it is a mistake of the file."""
    await shop.open(licenses=4, pools=large(2))
    await shop.bought()
    await shop.assigned(*STAFF)
    with pytest.raises(Refused) as refused:
        await shop.open(licenses=4, pools=large(0))
    assert refused.value.details["mistakes"] == [
        {"path": "accounts[0].pools[0].bought", "reason": "3 licenses are assigned"}
    ]
    assert await shop.pool() == (4, 3)


# Renewals, and the end of the term.


async def test_missed_renewals_are_billed_one_by_one(shop: Shop) -> None:
    """ADD-7: each for its own term, in order; what was paid before is earned."""
    order = await shop.bought()
    late = RENEWAL + timedelta(days=80)
    dates = []
    while order.paid_until and order.paid_until <= late:
        dates.append(order.quote.next_billing_date.isoformat())
        order = await shop.paid(order, late)
    assert dates == ["2026-04-01", "2026-05-01", "2026-06-01"]
    assert states(order) == [("96.77", "paid"), *[("100.00", "paid")] * 3]
    assert order.quote.next_billing_date == date(2026, 7, 1)
    assert order.quote.due_now == eur("96.77")
    listed = await line(shop, order)
    assert (listed["period_start"], listed["period_end"]) == ("2026-06-01", "2026-07-01")
    assert len(listed["payments"]) == 1
    assert await balances(shop.town.engine) == {
        "methods/firm": "EUR -39677",
        "prepaid/firm": "EUR 10000",
        "revenue/firm": "EUR 29677",
    }
    assert await shop.pool() == (2, 0)
    await sound(shop)


async def test_a_renewal_that_is_asked_for_again_is_booked_once(shop: Shop) -> None:
    order = await shop.bought()
    first = await shop.charged(order, RENEWAL)
    assert await shop.charged(order, RENEWAL, attempt=2) == first
    assert states(first.order) == [("96.77", "paid"), ("100.00", "paid")]
    await sound(shop)


async def test_a_new_price_applies_after_the_renewal_that_was_announced(shop: Shop) -> None:
    order = await shop.bought()
    prices = {"large-meeting": {"500": 60}}
    await shop.town.store.directory.import_(directory(catalog=prices))
    order = await shop.paid(order, RENEWAL)
    assert states(order)[-1] == ("100.00", "paid")
    assert order.quote.then == eur("120.00")


async def test_a_reduction_takes_effect_with_the_term(shop: Shop) -> None:
    """ADD-6: no refund; who is named loses the license first."""
    order = await shop.bought(an_order(quantity=3))
    await shop.assigned(*STAFF)
    with pytest.raises(Refused) as refused:
        await shop.planned(order, 2)
    assert refused.value.code is ErrorCode.ASSIGNED_EXCEEDS_QUANTITY
    assert refused.value.details["holders"] == [*STAFF]
    order = await shop.planned(order, 2, [STAFF[0]])
    assert (order.quantity, order.quantity_then) == (3, 2)
    assert order.quote.then == eur("100.00")
    assert await shop.pool() == (3, 3)
    reduced, released = await shop.town.store.orders.term_ended(order, RENEWAL)
    assert released == (STAFF[0],)
    assert (reduced.quantity, reduced.quantity_then, reduced.release) == (2, None, ())
    again = await shop.town.store.orders.term_ended(order, RENEWAL)
    assert again == (reduced, released)
    assert await shop.pool() == (2, 2)
    order = await shop.paid(await shop.moved(reduced, "reduce"), RENEWAL)
    assert states(order)[-1] == ("100.00", "paid")
    assert (await line(shop, order))["quantity"] == 2
    await sound(shop)


async def test_a_reduction_may_be_taken_back_before_it_takes_effect(shop: Shop) -> None:
    order = await shop.planned(await shop.bought(), 1)
    order = await shop.planned(order, 2)
    assert (order.quantity_then, order.quote.then) == (None, eur("100.00"))


async def test_two_orders_do_not_count_on_the_same_free_license(shop: Shop) -> None:
    """ADD-6: of four licenses three are assigned, so that one may go."""
    first, second = await shop.bought(), await shop.bought()
    await shop.assigned(*STAFF)
    await shop.planned(first, 1)
    with pytest.raises(Refused) as refused:
        await shop.planned(second, 1)
    assert refused.value.code is ErrorCode.ASSIGNED_EXCEEDS_QUANTITY
    await shop.planned(second, 1, [STAFF[2]])


async def test_a_seat_that_is_reserved_counts_as_assigned(shop: Shop) -> None:
    """ADD-6, INV-15: four base licenses are assigned; with one more reserved none may go."""
    order = await shop.bought(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=1))
    async with shop.town.engine.begin() as connection:
        await connection.execute(
            text("UPDATE license_pools SET reserved = 1 WHERE account_id = 'firm' AND capacity = 0")
        )
    with pytest.raises(Refused):
        await shop.planned(order, 0)


async def test_a_cancelled_order_ends_with_its_term(shop: Shop) -> None:
    """ADD-6: its licenses are released, those assigned last first."""
    other, order = await shop.bought(an_order(quantity=1)), await shop.bought()
    await shop.assigned(*STAFF)
    order = await shop.planned(order, 0, everybody=True)
    assert order.quote.then == eur("0.00")
    over, released = await shop.town.store.orders.term_ended(order, RENEWAL)
    ended = await shop.moved(over, "end", at=RENEWAL)
    assert ended.state is OrderState.ENDED
    assert (set(released), ended.quantity) == ({STAFF[1], STAFF[2]}, 2)
    assert await shop.holders() == [STAFF[0]]
    assert await balances(shop.town.engine) == {
        "methods/firm": "EUR -14516",
        "prepaid/firm": "EUR 4839",
        "revenue/firm": "EUR 9677",
    }
    assert (await shop.town.store.orders.latest(other.order_id)).state is OrderState.ACTIVE
    await sound(shop)


async def test_a_declined_renewal_that_is_given_up_ends_the_order(shop: Shop) -> None:
    """ADD-7: the licenses go on working until then, and the credit is given back."""
    order = await shop.bought()
    await shop.assigned(STAFF[0])
    await shop.town.store.directory.import_(
        directory(
            firm_with(
                credit="30.00", payment_methods=[{"id": "visa", "kind": "card", "declines": 9}]
            )
        )
    )
    failed = await shop.declined(order, RENEWAL)
    assert await shop.pool() == (2, 1)
    over, released = await shop.town.store.orders.term_ended(failed, RENEWAL + 7 * DAY)
    ended = await shop.moved(over, "end", at=RENEWAL + 7 * DAY)
    assert released == (STAFF[0],)
    assert states(ended) == [("96.77", "paid"), ("100.00", "void")]
    assert await shop.pool() == (0, 0)
    assert await balances(shop.town.engine) == {
        "credit/firm": "EUR 3000",
        "methods/firm": "EUR -9677",
        "opening/firm": "EUR -3000",
        "revenue/firm": "EUR 9677",
    }
    await sound(shop)


async def test_whoever_has_left_is_still_told_in_their_language(shop: Shop) -> None:
    order = await shop.bought()
    parties = await shop.town.store.orders.order_parties(order, (STAFF[1],))
    assert parties.account_name == "Firm"
    assert parties.buyer.email == BOSS
    assert [reader.email for reader in parties.holders] == [STAFF[1]]
    gone = order.model_copy(update={"bought_by": "left@firm.example"})
    assert (await shop.town.store.orders.order_parties(gone, ())).buyer.email == BOSS


# The account closes behind its owner.


async def closed(shop: Shop, choice: Choice = Choice.REFUND, at: datetime = NOON) -> None:
    invite = shop.town.invite(BOSS)
    await shop.town.settle(invite, await shop.town.pending(invite), choice, at=at)


async def alone(shop: Shop, **more: object) -> None:
    """The boss has nobody to leave behind."""
    firm = account("firm", user(BOSS, "owner", licensed=True), plan="business", billing_day=1)
    await shop.town.store.directory.import_(directory({**firm, **more}))


async def test_orders_end_with_the_account_and_their_unused_value_is_settled(town: Town) -> None:
    """SRC-2, BLK-1: an add-on is no blocker; it ends, and is a line of the quote."""
    shop = Shop(town)
    await alone(shop)
    order = await shop.bought()
    await shop.assigned(BOSS)
    await town.announced()
    await closed(shop, at=NOON + DAY)
    ended = await town.store.orders.latest(order.order_id)
    assert ended.state is OrderState.ENDED
    assert (ended.note, ended.journal[-1].event) == ("account_closed", "end")
    assert await shop.pool() == (0, 0)
    [told] = [each for each in await town.announced() if each.signal == ACCOUNT_CLOSED]
    assert told.workflow_id == order.workflow_id
    [refund] = await town.store.refunds.listed(None)
    # 29 of the 30 days that were paid for are unused.
    assert refund.amount == eur("93.54")
    assert await town.store.orders.keep(order) == ended
    await sound(shop)


async def test_reserved_credit_goes_along_when_the_account_closes(town: Town) -> None:
    """QUO-6: it was not spent."""
    shop = Shop(town)
    await alone(
        shop, credit="30.00", payment_methods=[{"id": "visa", "kind": "card", "declines": 9}]
    )
    failed = await shop.declined(await shop.placed())
    await closed(shop)
    ended = await town.store.orders.latest(failed.order_id)
    assert ended.state is OrderState.CANCELLED
    assert states(ended) == [("96.77", "void")]
    assert (await town.store.credits.show("acme")).balance == eur("30.00")
    charged = await shop.charged(failed, NOON + DAY)
    assert (charged.paid, charged.order) == (False, ended)
    await sound(shop)


async def test_a_charge_that_meets_a_closed_account_is_kept_as_its_credit(town: Town) -> None:
    """The provider has taken it: operators see the credit of a closed account."""
    shop = Shop(town)
    await alone(shop)
    placed = await town.store.orders.invoice(await shop.placed(), NOON)
    await closed(shop)
    payment = OrderPayment(method=EXAMPLE_CARD, provider_id="ch_1", amount=eur("96.77"))
    for _ in range(2):
        kept = await town.store.orders.paid(placed, payment, NOON + DAY)
    assert kept.state is OrderState.CANCELLED
    assert (await town.store.credits.show("firm")).balance == eur("96.77")
    assert len(await town.store.attention.cases()) == 1
    assert await shop.pool() == (0, 0)
    await sound(shop)


# What a file says of it.


def firm_with(**more: object) -> dict[str, object]:
    return {**account("firm", plan="business"), **more}


async def test_what_was_bought_stays_whatever_a_file_says_of_it(shop: Shop) -> None:
    """An export of before names the term that is over by now."""
    order = await shop.bought()
    before = await shop.town.store.directory.export(None)
    order = await shop.paid(order, RENEWAL)
    now = await shop.town.store.directory.export(None)
    await shop.town.store.directory.import_(before)
    assert await shop.town.store.directory.export(None) == now
    assert (await line(shop, order))["period_start"] == "2026-04-01"
    await sound(shop)


# What the audit sees.


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (
            ["UPDATE order_invoices SET state = 'open', payment = NULL"],
            {"AUD": "{order}", "CRD-4": "{order}/1"},
        ),
        (["UPDATE subscriptions SET ended = '2026-03-03'"], {"ADD-5": "{order}"}),
        (
            ["UPDATE order_invoices SET amount = amount + 100"],
            {"CRD-4": "{order}/1", "AUD": "{order}"},
        ),
        (["UPDATE accounts SET state = 'closed' WHERE id = 'firm'"], {"SRC-2": "{order}"}),
        (["UPDATE orders SET state = 'ended'"], {"AUD": "{order}"}),
    ],
)
async def test_an_order_that_is_not_what_it_says_is_named(
    shop: Shop, statements: list[str], found: dict[str, str]
) -> None:
    order = await shop.bought()
    async with shop.town.engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    violations = (await shop.town.store.audit()).violations
    named = {(violation.rule, violation.subject) for violation in violations}
    wanted = {(rule, what.format(order=order.order_id)) for rule, what in found.items()}
    assert wanted <= named
