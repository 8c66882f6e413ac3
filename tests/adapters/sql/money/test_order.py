"""Orders in the store: quoted, paid once per term, reduced with the term, and ended once (ADD)."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from activities.order import AmendOrder, OrderPayment, Reduction
from domain.account import Directory
from domain.charge import EXAMPLE_CARD
from domain.day import begin
from domain.error import ErrorCode, Refused
from domain.invitation import Choice
from domain.journal import OPERATOR
from domain.license import Sku
from domain.order import Order, OrderState
from domain.outbox import ACCOUNT_CLOSED
from tests.builders.account import ADMIN, NOON, account, directory, eur, user
from tests.builders.invitation import StoreScenario
from tests.builders.order import BUYER, DAY, STAFF, OrderScenario, an_order
from tests.builders.refund import ledger_balances

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
HOUR = timedelta(hours=1)
DECLINING = [{"id": "visa", "kind": "card", "declines": 1}, {"id": "giro", "kind": "bank"}]


@pytest.fixture
async def purchases(scenario: StoreScenario) -> OrderScenario:
    purchases = OrderScenario(scenario)
    await purchases.import_account()
    return purchases


async def assert_consistent(purchases: OrderScenario) -> None:
    assert (await purchases.scenario.store.audit()).violations == ()


async def line(purchases: OrderScenario, order: Order) -> dict[str, Any]:
    found = (await purchases.scenario.account("firm")).subscriptions
    [listed] = [each for each in found if each.id == order.order_id]
    return listed.model_dump(mode="json")


def states(order: Order) -> list[tuple[str, str]]:
    return [(f"{invoice.amount.amount:f}", invoice.state) for invoice in order.invoices]


# Quotes and authority.


async def test_a_quote_changes_nothing_and_the_draft_is_stored_once(
    purchases: OrderScenario,
) -> None:
    """ADD-4: 2 × 50.00 × 30/31 to the first of the next month, at example prices."""
    order, orders = an_order(), purchases.scenario.store.orders
    quoted = await orders.quoted(order, NOON)
    assert quoted.quote.due_now == eur("96.77")
    assert quoted.quote.then == eur("100.00")
    assert quoted.quote.next_billing_date == APRIL
    assert quoted.quote.prices == "example"
    assert await orders.listed("firm") == []
    assert await orders.open(order, NOON) == quoted
    assert await orders.open(order, NOON + 9 * DAY) == quoted
    assert await orders.listed("firm") == [quoted] == [await orders.latest(order.order_id)]


async def test_an_imported_catalogue_and_an_annual_plan_set_the_amount_due(
    purchases: OrderScenario,
) -> None:
    """ADD-4: 2 × 400.00 × 121/365, to the end of the plan's year."""
    await purchases.import_account(subscriptions=[PLAN])
    prices = {"large-meeting": {"500": 40}}
    await purchases.scenario.store.directory.import_(directory(catalog=prices))
    quoted = await purchases.scenario.store.orders.quoted(an_order(cycle="annual"), NOON)
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
async def test_an_invalid_purchase_is_refused(
    purchases: OrderScenario, more: dict[str, object], code: ErrorCode
) -> None:
    """ADD-1, ADD-2: nothing is stored."""
    orders = purchases.scenario.store.orders
    for call in (orders.quoted, orders.open):
        with pytest.raises(Refused) as refused:
            await call(an_order(**more), NOON)
        assert refused.value.code is code
    assert await orders.listed("firm") == []


async def test_an_unknown_order_or_account_is_not_found(purchases: OrderScenario) -> None:
    """Contract, error codes: `not_found`."""
    orders = purchases.scenario.store.orders
    for call in (orders.latest, orders.listed):
        with pytest.raises(Refused) as refused:
            await call("nothing")
        assert refused.value.code is ErrorCode.NOT_FOUND


# The first payment.


async def test_a_paid_order_grows_the_pool_and_is_listed_beside_the_plan(
    purchases: OrderScenario,
) -> None:
    """ADD-5: the line has the term of the invoice and its payment."""
    order = await purchases.buy()
    assert order.state is OrderState.ACTIVE
    assert states(order) == [("96.77", "paid")]
    assert order.invoices[0].id == f"{order.order_id}/1"
    assert order.paid_until == RENEWAL
    assert await purchases.pool_counts() == (2, 0)
    listed = await line(purchases, order)
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
    assert await ledger_balances(purchases.scenario.engine) == {
        "methods/firm": "EUR -9677",
        "prepaid/firm": "EUR 9677",
    }
    await assert_consistent(purchases)


async def test_base_licenses_are_bought_without_a_capacity(purchases: OrderScenario) -> None:
    """ADD-1, ADD-5: the pool of base licenses grows."""
    order = await purchases.buy(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=3))
    assert await purchases.pool_counts(capacity=None) == (7, 4)
    assert (await line(purchases, order))["product"] == "Workplace"
    await assert_consistent(purchases)


async def test_webinar_licenses_are_bought_for_the_price_of_their_capacity(
    purchases: OrderScenario,
) -> None:
    """ADD-4, ASG-8: 6490 a month, 30 of 31 days; Large Meeting pools stay as they are."""
    order = await purchases.buy(an_order(sku=Sku.WEBINAR, capacity=10000, quantity=1))
    assert states(order) == [("6280.65", "paid")]
    assert await purchases.pool_counts(capacity=10000) == (1, 0)
    assert (await line(purchases, order))["product"] == "Webinar 10000"
    await assert_consistent(purchases)


async def test_a_purchase_serves_waiting_users(purchases: OrderScenario) -> None:
    """ASG-5: in the same transaction."""
    await purchases.buy(an_order(quantity=1))
    await purchases.assign(*STAFF)
    assert await purchases.pool_counts() == (1, 1)
    await purchases.buy()
    assert await purchases.holders() == [*STAFF]
    await assert_consistent(purchases)


async def test_credit_is_used_first_and_the_rest_is_charged(purchases: OrderScenario) -> None:
    """ADD-4: the line has a payment from credit and one by card."""
    await purchases.import_account(credit="30.00")
    order = await purchases.buy()
    found = [
        (each["method"], each["amount"]) for each in (await line(purchases, order))["payments"]
    ]
    assert sorted(found) == [("card", "66.77"), ("credit", "30.00")]
    credit = await purchases.scenario.store.credits.show("firm")
    assert credit.balance == eur("0.00")
    assert credit.entries[-1].invoice == f"{order.order_id}/1"
    await assert_consistent(purchases)


async def test_an_order_covered_by_credit_is_not_charged(purchases: OrderScenario) -> None:
    """ADD-4: credit is used first."""
    await purchases.import_account(credit="100.00")
    order = await purchases.buy()
    assert states(order) == [("96.77", "paid")]
    assert await ledger_balances(purchases.scenario.engine, "credit/firm", "methods/firm") == {
        "credit/firm": "EUR 323"
    }
    await assert_consistent(purchases)


async def test_an_order_of_zero_is_paid_at_once(purchases: OrderScenario) -> None:
    """ADD-4: with a price of 0 nothing is charged."""
    prices = {"large-meeting": {"500": 0}}
    await purchases.scenario.store.directory.import_(directory(catalog=prices))
    order = await purchases.buy()
    assert states(order) == [("0.00", "paid")]
    assert await purchases.pool_counts() == (2, 0)
    await assert_consistent(purchases)


async def test_payment_methods_are_tried_in_order(purchases: OrderScenario) -> None:
    """ADD-4: the card declines, the bank pays."""
    await purchases.import_account(payment_methods=DECLINING)
    order = await purchases.buy()
    [payment] = (await line(purchases, order))["payments"]
    assert payment["method"] == "bank"


async def test_a_declined_payment_keeps_its_credit_and_is_retried(
    purchases: OrderScenario,
) -> None:
    """ADD-4: each retry is counted from the first failure; later credit is used as well."""
    methods = [{"id": "visa", "kind": "card", "declines": 2}]
    await purchases.import_account(credit="30.00", payment_methods=methods)
    failed = await purchases.decline(await purchases.place())
    assert failed.state is OrderState.PAYMENT_FAILED
    assert (failed.tries, failed.failed_since) == (1, NOON)
    assert failed.next_try_at() == NOON + DAY
    assert states(failed) == [("96.77", "failed")]
    assert await purchases.pool_counts() == (0, 0)
    await assert_consistent(purchases)
    await purchases.scenario.store.directory.import_(directory(firm_with(credit="40.00")))
    again = await purchases.decline(failed, NOON + DAY)
    assert (again.tries, again.next_try_at()) == (2, NOON + 3 * DAY)
    paid = await purchases.pay(again, NOON + 3 * DAY)
    assert (paid.tries, paid.failed_since) == (0, None)
    found = [(each["method"], each["amount"]) for each in (await line(purchases, paid))["payments"]]
    assert sorted(found) == [("card", "56.77"), ("credit", "40.00")]
    await assert_consistent(purchases)


async def test_a_cancelled_order_returns_its_credit(purchases: OrderScenario) -> None:
    """CRD-1: by another entry."""
    methods = [{"id": "visa", "kind": "card", "declines": 9}]
    await purchases.import_account(credit="30.00", payment_methods=methods)
    failed = await purchases.decline(await purchases.place())
    for _ in range(2):
        voided = await purchases.scenario.store.orders.void(failed, NOON + 7 * DAY)
    cancelled = await purchases.apply_events(voided, "give_up")
    assert states(cancelled) == [("96.77", "void")]
    credit = await purchases.scenario.store.credits.show("firm")
    assert credit.balance == eur("30.00")
    assert [entry.kind for entry in credit.entries[1:]] == ["applied", "reversed"]
    await assert_consistent(purchases)


# Repeated and concurrent calls.


async def test_a_charge_with_a_lost_response_is_found_and_made_once(
    purchases: OrderScenario,
) -> None:
    """REF-5, ADD-4: the provider made the charge, but its response was lost."""
    order = await purchases.place()
    lossy = OrderScenario(purchases.scenario, frozenset({"timeout-after"}))
    with pytest.raises(TimeoutError):
        await lossy.charge(order, NOON)
    charged = await lossy.charge(order, NOON, attempt=2)
    assert charged.paid
    assert await ledger_balances(purchases.scenario.engine, "methods/firm") == {
        "methods/firm": "EUR -9677"
    }
    assert await purchases.pool_counts() == (2, 0)
    await assert_consistent(purchases)


async def test_a_repeated_charge_is_booked_once(purchases: OrderScenario) -> None:
    """ADD-4: the worker died after the transaction, and the activity is retried."""
    order = await purchases.place()
    first = await purchases.charge(order, NOON)
    again = await purchases.charge(order, NOON + DAY, attempt=2)
    assert again == first
    assert await purchases.pool_counts() == (2, 0)
    await assert_consistent(purchases)


async def test_a_repeated_decline_is_counted_once(purchases: OrderScenario) -> None:
    """ADD-4: a retried activity returns the first decline."""
    await purchases.import_account(payment_methods=[{"id": "visa", "kind": "card", "declines": 1}])
    order = await purchases.place()
    first = await purchases.charge(order, NOON)
    assert await purchases.charge(order, NOON, attempt=2) == first
    assert first.order.tries == 1
    assert first.failure == "card_declined"


async def test_a_late_decline_does_not_undo_a_payment(purchases: OrderScenario) -> None:
    """ADD-4: the paid invoice stays paid."""
    order = await purchases.place()
    paid = (await purchases.charge(order, NOON)).order
    assert await purchases.scenario.store.orders.declined(order, NOON) == paid


async def test_ten_concurrent_bookings_of_one_payment_count_once(purchases: OrderScenario) -> None:
    """ADD-5: the pool grows once."""
    orders = purchases.scenario.store.orders
    placed = await orders.invoice(await purchases.place(), NOON)
    payment = OrderPayment(method=EXAMPLE_CARD, provider_id="pi_1", amount=eur("96.77"))
    kept = await asyncio.gather(*(orders.paid(placed, payment, NOON) for _ in range(10)))
    assert all(order == kept[0] for order in kept)
    assert await purchases.pool_counts() == (2, 0)
    await assert_consistent(purchases)


async def test_concurrent_orders_do_not_use_the_same_credit(purchases: OrderScenario) -> None:
    """CRD-1: credit cannot be drawn twice."""
    await purchases.import_account(credit="100.00")
    orders = [await purchases.place() for _ in range(5)]
    await asyncio.gather(*(purchases.pay(order) for order in orders))
    assert await ledger_balances(purchases.scenario.engine, "credit/firm") == {}
    assert await purchases.pool_counts() == (10, 0)
    await assert_consistent(purchases)


async def test_an_older_record_is_ignored(purchases: OrderScenario) -> None:
    """ADD-3: a late write does not return a placed order to draft."""
    opened = await purchases.scenario.store.orders.open(an_order(), NOON)
    placed = await purchases.apply_events(opened, "place")
    assert await purchases.scenario.store.orders.keep(opened) == placed


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
async def test_the_database_allows_one_invoice_per_term_and_one_payment_per_invoice(
    purchases: OrderScenario, statement: str
) -> None:
    """ADD-7: each of these statements violates a constraint."""
    await purchases.buy()
    with pytest.raises(IntegrityError):
        async with purchases.scenario.engine.begin() as connection:
            await connection.execute(text(statement))


async def test_each_try_of_each_method_has_its_own_key(purchases: OrderScenario) -> None:
    """ADD-4: `<invoice>/<try>/<method>`; the amount is what is left after credit."""
    methods = [{"id": name, "kind": "card", "declines": 1} for name in ("visa", "amex")]
    await purchases.import_account(credit="30.00", payment_methods=methods)
    order = await purchases.pay(await purchases.decline(await purchases.place()), NOON + DAY)
    async with purchases.scenario.engine.begin() as connection:
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


# Imports of accounts with orders.


async def exported(purchases: OrderScenario) -> Directory:
    return await purchases.scenario.store.directory.export("firm")


async def import_json_of(purchases: OrderScenario, file: Directory) -> None:
    """Import the file as read from JSON, with the fields that it has."""
    await purchases.scenario.store.directory.import_(
        Directory.model_validate_json(file.model_dump_json())
    )


def large(bought: int) -> list[dict[str, object]]:
    return [{"sku": "large-meeting", "capacity": 500, "bought": bought}]


async def test_an_import_changes_imported_licenses_only(
    purchases: OrderScenario,
) -> None:
    """ADD-5: a repeated file changes nothing, another number its difference."""
    await purchases.import_account(licenses=6, pools=large(5))
    await purchases.buy()
    await purchases.buy(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=3))
    assert (await purchases.pool_counts(), await purchases.pool_counts(capacity=None)) == (
        (7, 0),
        (9, 4),
    )
    await purchases.import_account(licenses=6, pools=large(5))
    assert (await purchases.pool_counts(), await purchases.pool_counts(capacity=None)) == (
        (7, 0),
        (9, 4),
    )
    await purchases.import_account(licenses=5, pools=large(8))
    assert (await purchases.pool_counts(), await purchases.pool_counts(capacity=None)) == (
        (10, 0),
        (8, 4),
    )
    await purchases.import_account(licenses=5, pools=large(8))
    assert (await purchases.pool_counts(), await purchases.pool_counts(capacity=None)) == (
        (10, 0),
        (8, 4),
    )
    await assert_consistent(purchases)


async def test_the_export_of_an_account_with_orders_can_be_imported(
    purchases: OrderScenario,
) -> None:
    """ADD-5: it changes nothing here; as another account it has all licenses."""
    await purchases.import_account(licenses=6, pools=large(5))
    await purchases.buy()
    file = await exported(purchases)
    await import_json_of(purchases, file)
    assert await exported(purchases) == file
    [firm] = file.accounts
    moved = firm.model_copy(update={"id": "moved", "users": ()})
    await import_json_of(purchases, Directory(accounts=(moved,)))
    assert (await purchases.scenario.store.directory.export("moved")).accounts == (moved,)
    [pool] = firm.pools
    more = firm.model_copy(update={"pools": (pool.model_copy(update={"bought": 9}),)})
    await import_json_of(purchases, Directory(accounts=(more,)))
    assert await purchases.pool_counts() == (9, 0)


async def test_an_import_does_not_restore_licenses_of_an_ended_order(
    purchases: OrderScenario,
) -> None:
    """ADD-6: neither the first file nor an export from before the end."""
    await purchases.import_account(pools=large(5))
    order = await purchases.buy()
    before = await exported(purchases)
    over = await purchases.scenario.store.orders.term_ended(
        await purchases.plan_reduction(order, 0), RENEWAL
    )
    await purchases.apply_events(over, "end", at=RENEWAL)
    assert await purchases.pool_counts() == (5, 0)
    after = await exported(purchases)
    assert [line.id for line in after.accounts[0].subscriptions] == []
    for file in (before, after):
        await import_json_of(purchases, file)
        assert (await purchases.pool_counts(), await exported(purchases)) == ((5, 0), after)
    await purchases.import_account(pools=large(5))
    assert await purchases.pool_counts() == (5, 0)


async def test_an_import_cannot_remove_assigned_licenses(purchases: OrderScenario) -> None:
    """ASG-6: neither imported nor bought ones."""
    await purchases.import_account(licenses=4, pools=large(2))
    await purchases.buy()
    await purchases.assign(*STAFF)
    with pytest.raises(Refused) as refused:
        await purchases.import_account(licenses=4, pools=large(0))
    assert refused.value.details["mistakes"] == [
        {"path": "accounts[0].pools[0].bought", "reason": "3 licenses are assigned"}
    ]
    assert await purchases.pool_counts() == (4, 3)


# Renewals, and the end of the term.


async def test_missed_renewals_are_billed_one_by_one(purchases: OrderScenario) -> None:
    """ADD-7: each for its own term, in order; the payment of the term before becomes revenue."""
    order = await purchases.buy()
    late = RENEWAL + timedelta(days=80)
    dates = []
    while order.paid_until and order.paid_until <= late:
        dates.append(order.quote.next_billing_date.isoformat())
        order = await purchases.pay(order, late)
    assert dates == ["2026-04-01", "2026-05-01", "2026-06-01"]
    assert states(order) == [("96.77", "paid"), *[("100.00", "paid")] * 3]
    assert order.quote.next_billing_date == date(2026, 7, 1)
    assert order.quote.due_now == eur("96.77")
    listed = await line(purchases, order)
    assert (listed["period_start"], listed["period_end"]) == ("2026-06-01", "2026-07-01")
    assert len(listed["payments"]) == 1
    assert await ledger_balances(purchases.scenario.engine) == {
        "methods/firm": "EUR -39677",
        "prepaid/firm": "EUR 10000",
        "revenue/firm": "EUR 29677",
    }
    assert await purchases.pool_counts() == (2, 0)
    await assert_consistent(purchases)


async def test_a_repeated_renewal_is_booked_once(purchases: OrderScenario) -> None:
    """ADD-7: a retried activity returns the first payment."""
    order = await purchases.buy()
    first = await purchases.charge(order, RENEWAL)
    assert await purchases.charge(order, RENEWAL, attempt=2) == first
    assert states(first.order) == [("96.77", "paid"), ("100.00", "paid")]
    await assert_consistent(purchases)


async def test_a_new_price_applies_after_the_quoted_renewal(
    purchases: OrderScenario,
) -> None:
    """ADD-4, ADD-7: the next renewal costs what the quote named."""
    order = await purchases.buy()
    prices = {"large-meeting": {"500": 60}}
    await purchases.scenario.store.directory.import_(directory(catalog=prices))
    order = await purchases.pay(order, RENEWAL)
    assert states(order)[-1] == ("100.00", "paid")
    assert order.quote.then == eur("120.00")


async def test_a_reduction_takes_effect_at_the_end_of_the_term(purchases: OrderScenario) -> None:
    """ADD-6: without a refund; named users lose the license first."""
    order = await purchases.buy(an_order(quantity=3))
    await purchases.assign(*STAFF)
    with pytest.raises(Refused) as refused:
        await purchases.plan_reduction(order, 2)
    assert refused.value.code is ErrorCode.ASSIGNED_EXCEEDS_QUANTITY
    assert refused.value.details["holders"] == [*STAFF]
    order = await purchases.plan_reduction(order, 2, [STAFF[0]])
    assert (order.quantity, order.quantity_then) == (3, 2)
    assert order.quote.then == eur("100.00")
    assert await purchases.pool_counts() == (3, 3)
    reduced = await purchases.scenario.store.orders.term_ended(order, RENEWAL)
    assert (reduced.quantity, reduced.quantity_then, reduced.release) == (2, None, ())
    assert await purchases.scenario.store.orders.term_ended(order, RENEWAL) == reduced
    assert await purchases.pool_counts() == (2, 2)
    order = await purchases.apply_events(reduced, "reduce")
    assert await purchases.released() == [STAFF[0]]
    order = await purchases.pay(order, RENEWAL)
    assert await purchases.released() == [STAFF[0]]
    assert states(order)[-1] == ("100.00", "paid")
    assert (await line(purchases, order))["quantity"] == 2
    await assert_consistent(purchases)


async def test_a_reduction_can_be_revoked_before_it_takes_effect(
    purchases: OrderScenario,
) -> None:
    """ADD-6: by the former quantity."""
    order = await purchases.plan_reduction(await purchases.buy(), 1)
    order = await purchases.plan_reduction(order, 2)
    assert (order.quantity_then, order.quote.then) == (None, eur("100.00"))


async def test_two_orders_cannot_give_up_the_same_free_license(purchases: OrderScenario) -> None:
    """ADD-6: of four licenses three are assigned, so that one may go."""
    first, second = await purchases.buy(), await purchases.buy()
    await purchases.assign(*STAFF)
    await purchases.plan_reduction(first, 1)
    with pytest.raises(Refused) as refused:
        await purchases.plan_reduction(second, 1)
    assert refused.value.code is ErrorCode.ASSIGNED_EXCEEDS_QUANTITY
    await purchases.plan_reduction(second, 1, [STAFF[2]])


async def test_a_reserved_seat_counts_as_assigned(purchases: OrderScenario) -> None:
    """ADD-6, INV-15: four base licenses are assigned; with one more reserved none may go."""
    order = await purchases.buy(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=1))
    async with purchases.scenario.engine.begin() as connection:
        await connection.execute(
            text("UPDATE license_pools SET reserved = 1 WHERE account_id = 'firm' AND capacity = 0")
        )
    with pytest.raises(Refused):
        await purchases.plan_reduction(order, 0)


async def test_a_cancelled_order_ends_with_its_term(purchases: OrderScenario) -> None:
    """ADD-6: its licenses are released, those assigned last first."""
    other, order = await purchases.buy(an_order(quantity=1)), await purchases.buy()
    await purchases.assign(*STAFF)
    order = await purchases.plan_reduction(order, 0, everybody=True)
    assert order.quote.then == eur("0.00")
    over = await purchases.scenario.store.orders.term_ended(order, RENEWAL)
    ended = await purchases.apply_events(over, "end", at=RENEWAL)
    assert ended.state is OrderState.ENDED
    assert ended.quantity == 2
    assert {*await purchases.released()} == {STAFF[1], STAFF[2]}
    assert await purchases.holders() == [STAFF[0]]
    assert await ledger_balances(purchases.scenario.engine) == {
        "methods/firm": "EUR -14516",
        "prepaid/firm": "EUR 4839",
        "revenue/firm": "EUR 9677",
    }
    assert (await purchases.scenario.store.orders.latest(other.order_id)).state is OrderState.ACTIVE
    await assert_consistent(purchases)


async def test_a_renewal_whose_retries_are_declined_ends_the_order(
    purchases: OrderScenario,
) -> None:
    """ADD-7: the licenses work until then, and the credit is returned."""
    order = await purchases.buy()
    await purchases.assign(STAFF[0])
    await purchases.scenario.store.directory.import_(
        directory(
            firm_with(
                credit="30.00", payment_methods=[{"id": "visa", "kind": "card", "declines": 9}]
            )
        )
    )
    failed = await purchases.decline(order, RENEWAL)
    assert await purchases.pool_counts() == (2, 1)
    over = await purchases.scenario.store.orders.term_ended(failed, RENEWAL + 7 * DAY)
    ended = await purchases.apply_events(over, "end", at=RENEWAL + 7 * DAY)
    assert await purchases.released() == [STAFF[0]]
    assert states(ended) == [("96.77", "paid"), ("100.00", "void")]
    assert await purchases.pool_counts() == (0, 0)
    assert await ledger_balances(purchases.scenario.engine) == {
        "credit/firm": "EUR 3000",
        "methods/firm": "EUR -9677",
        "opening/firm": "EUR -3000",
        "revenue/firm": "EUR 9677",
    }
    await assert_consistent(purchases)


async def test_the_owner_gets_the_letters_of_a_buyer_who_has_left(
    purchases: OrderScenario,
) -> None:
    """TXT-1, OPS-1: the letter is queued with the change, once, and a late record adds none."""
    order = await purchases.place()
    gone = order.model_copy(update={"bought_by": "left@firm.example"})
    failed = await purchases.apply_events(gone, "decline")
    await purchases.scenario.store.orders.keep(gone)
    assert failed.state is OrderState.PAYMENT_FAILED
    cancelled = await purchases.apply_events(failed, "cancel")
    await purchases.scenario.store.orders.keep(cancelled)
    [letter] = await purchases.scenario.queued_letters()
    assert (letter.event, letter.reader.email) == ("order_cancelled", BUYER)
    # TXT-4: the reader is the only admin.
    assert letter.contact is None


# Cancellations during a payment.


async def test_an_event_during_a_payment_keeps_what_the_payment_has_changed(
    purchases: OrderScenario,
) -> None:
    """ADD-6: the workflow adds it before it knows the result of the payment; once."""
    placed = await purchases.place()
    charged = await purchases.charge(placed, NOON)
    request = AmendOrder(
        order=placed,
        event="cancel_requested",
        at=NOON,
        by=OPERATOR,
        note="cancelled_after_payment",
        reduction=Reduction(quantity=0),
    )
    amended = await purchases.scenario.store.orders.amended(request)
    assert (amended.paid_until, amended.quantity_then) == (charged.order.paid_until, 0)
    assert await purchases.scenario.store.orders.amended(request) == amended
    assert await purchases.scenario.store.orders.keep(placed) == amended
    paid = await purchases.apply_events(amended, "pay", "activate")
    assert paid.allowed == ("cancel",)
    await assert_consistent(purchases)


async def test_a_payment_keeps_a_cancellation_of_the_meantime(purchases: OrderScenario) -> None:
    """ADD-6: the charge was requested before the order was cancelled."""
    placed = await purchases.place()
    request = AmendOrder(
        order=placed,
        event="cancel_requested",
        at=NOON,
        by=OPERATOR,
        note="cancelled_after_payment",
        reduction=Reduction(quantity=0),
    )
    await purchases.scenario.store.orders.amended(request)
    charged = await purchases.charge(placed, NOON)
    assert (charged.paid, charged.order.quantity_then) == (True, 0)
    assert charged.order.journal[-1].event == "cancel_requested"
    await purchases.apply_events(charged.order, "pay", "activate")
    await assert_consistent(purchases)


# Accounts that close.


async def closed(
    purchases: OrderScenario, choice: Choice = Choice.REFUND, at: datetime = NOON
) -> None:
    invite = purchases.scenario.new_invite(BUYER)
    await purchases.scenario.join_account(
        invite, await purchases.scenario.send(invite), choice, at=at
    )


async def import_owner_only(purchases: OrderScenario, **more: object) -> None:
    """Import the firm with its owner as the only user."""
    firm = account("firm", user(BUYER, "owner", licensed=True), plan="business", billing_day=1)
    await purchases.scenario.store.directory.import_(directory({**firm, **more}))


async def test_orders_end_with_the_account_and_their_unused_value_is_settled(
    scenario: StoreScenario,
) -> None:
    """SRC-2, BLK-1: an add-on is no blocker; it ends, and is a line of the quote."""
    purchases = OrderScenario(scenario)
    await import_owner_only(purchases)
    order = await purchases.buy()
    await purchases.assign(BUYER)
    await scenario.take_signals()
    await closed(purchases, at=NOON + DAY)
    ended = await scenario.store.orders.latest(order.order_id)
    assert ended.state is OrderState.ENDED
    assert (ended.note, ended.journal[-1].event) == ("account_closed", "end")
    assert await purchases.pool_counts() == (0, 0)
    [signalled] = [each for each in await scenario.take_signals() if each.signal == ACCOUNT_CLOSED]
    assert signalled.workflow_id == order.workflow_id
    [refund] = await scenario.store.refunds.listed(None)
    # 29 of the 30 days that were paid for are unused.
    assert refund.amount == eur("93.54")
    assert await scenario.store.orders.keep(order) == ended
    await assert_consistent(purchases)


@pytest.mark.parametrize("choice", Choice)
@pytest.mark.parametrize("received_at", [RENEWAL - timedelta(minutes=1), RENEWAL + 9 * HOUR])
async def test_an_add_on_that_has_ended_since_the_preview_voids_the_quote(
    scenario: StoreScenario, choice: Choice, received_at: datetime
) -> None:
    """QUO-5: its payments are no longer prepaid, also if the answer was received before its end."""
    purchases = OrderScenario(scenario)
    await import_owner_only(purchases)
    order = await purchases.buy()
    order = await purchases.plan_reduction(order, 0, everybody=True)
    invite = scenario.new_invite(BUYER)
    sent = await scenario.send(invite)
    evening = await scenario.preview(invite, RENEWAL - 2 * HOUR)
    assert evening.quote and evening.quote.quote.total == eur("3.23")
    over = await scenario.store.orders.term_ended(order, RENEWAL)
    await purchases.apply_events(over, "end", at=RENEWAL)
    with pytest.raises(Refused) as refused:
        await scenario.join_account(
            invite, sent, choice, quote=evening.quote, at=received_at, carried_out_at=RENEWAL + HOUR
        )
    assert refused.value.code is ErrorCode.QUOTE_EXPIRED
    morning = await scenario.preview(invite, RENEWAL + 9 * HOUR, evening.quote)
    assert (morning.preview.amount, morning.quote) == (eur("0.00"), None)
    kept = await scenario.join_account(
        invite, sent, choice, quote=morning.quote, at=RENEWAL + 9 * HOUR
    )
    assert kept.invitation.state.accepted
    await assert_consistent(purchases)


async def test_an_unseen_quote_does_not_count_an_add_on_that_has_ended(
    scenario: StoreScenario,
) -> None:
    """QUO-5: the answer was received a minute before the end, and is carried out after it."""
    purchases = OrderScenario(scenario)
    await import_owner_only(purchases)
    order = await purchases.plan_reduction(await purchases.buy(), 0, everybody=True)
    invite = scenario.new_invite(BUYER)
    sent = await scenario.send(invite)
    over = await scenario.store.orders.term_ended(order, RENEWAL)
    await purchases.apply_events(over, "end", at=RENEWAL)
    kept = await scenario.join_account(invite, sent, Choice.REFUND, at=RENEWAL - HOUR)
    assert (kept.invitation.state.accepted, kept.invitation.settlement) == (True, None)
    await assert_consistent(purchases)


async def test_reserved_credit_moves_when_the_account_closes(scenario: StoreScenario) -> None:
    """QUO-6: the credit of an unpaid invoice was not spent."""
    purchases = OrderScenario(scenario)
    await import_owner_only(
        purchases, credit="30.00", payment_methods=[{"id": "visa", "kind": "card", "declines": 9}]
    )
    failed = await purchases.decline(await purchases.place())
    await closed(purchases)
    ended = await scenario.store.orders.latest(failed.order_id)
    assert ended.state is OrderState.CANCELLED
    assert states(ended) == [("96.77", "void")]
    assert (await scenario.store.credits.show("acme")).balance == eur("30.00")
    charged = await purchases.charge(failed, NOON + DAY)
    assert (charged.paid, charged.order) == (False, ended)
    await assert_consistent(purchases)


async def test_a_charge_after_the_account_closed_becomes_its_credit(
    scenario: StoreScenario,
) -> None:
    """OPS-5: operators see the credit of a closed account."""
    purchases = OrderScenario(scenario)
    await import_owner_only(purchases)
    placed = await scenario.store.orders.invoice(await purchases.place(), NOON)
    await closed(purchases)
    payment = OrderPayment(method=EXAMPLE_CARD, provider_id="ch_1", amount=eur("96.77"))
    for _ in range(2):
        kept = await scenario.store.orders.paid(placed, payment, NOON + DAY)
    assert kept.state is OrderState.CANCELLED
    assert (await scenario.store.credits.show("firm")).balance == eur("96.77")
    assert len(await scenario.store.attention.cases()) == 1
    assert await purchases.pool_counts() == (0, 0)
    await assert_consistent(purchases)


# Imports of an order's line.


def firm_with(**more: object) -> dict[str, object]:
    return {**account("firm", plan="business"), **more}


async def test_an_import_does_not_change_the_line_of_an_order(purchases: OrderScenario) -> None:
    """ADD-7: an older export has the term before the renewal."""
    order = await purchases.buy()
    before = await purchases.scenario.store.directory.export(None)
    order = await purchases.pay(order, RENEWAL)
    now = await purchases.scenario.store.directory.export(None)
    await purchases.scenario.store.directory.import_(before)
    assert await purchases.scenario.store.directory.export(None) == now
    assert (await line(purchases, order))["period_start"] == "2026-04-01"
    await assert_consistent(purchases)


# The audit.


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
async def test_the_audit_names_an_order_that_contradicts_its_invoices(
    purchases: OrderScenario, statements: list[str], found: dict[str, str]
) -> None:
    """AUD: each statement breaks another rule of orders."""
    order = await purchases.buy()
    async with purchases.scenario.engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    violations = (await purchases.scenario.store.audit()).violations
    named = {(violation.rule, violation.subject) for violation in violations}
    wanted = {(rule, what.format(order=order.order_id)) for rule, what in found.items()}
    assert wanted <= named
