"""A purchase is charged when it is due, and lets its licenses go when nothing is (ADD)."""

from datetime import timedelta

from domain.license import Sku
from domain.order import RETRY_AFTER, Order, OrderState, Portal
from tests.world import ADMIN, MEMBER, World, refusal_of
from workflows.addon_purchase import CYCLES_IN_A_RUN

LONGEST_RUN = 400
"""Events of a run, at most, however long the order lives (ADD-7)."""

A_YEAR = 12


async def an_order(world: World, quantity: int = 3, portal: Portal = "plans") -> Order:
    return await world.orders.buy(
        world.account,
        Sku.LARGE_MEETING,
        capacity=500,
        quantity=quantity,
        cycle="monthly",
        by=ADMIN,
        portal=portal,
    )


async def pays_by_a_card(world: World, declines: int) -> None:
    """The account has one card, which declines its next `declines` charges."""
    card = {"id": "card-1", "kind": "card", "declines": declines}
    await world.imported(world.account, payment_methods=[card])


async def to_the_next_moment(world: World, order: Order) -> None:
    """Let time pass until the order is renewed or its payment is tried again."""
    moment = order.next_try_at() or order.paid_until
    assert moment
    await world.clock.go_to(order.workflow_id, moment)


def events_of(order: Order) -> list[str]:
    return [entry.event for entry in order.journal]


async def test_a_purchase_is_paid_at_once_and_the_buyer_is_told(world: World) -> None:
    """ADD-4, ADD-5."""
    order = await an_order(world)
    assert order.state is OrderState.ACTIVE
    assert events_of(order) == ["buy", "place", "pay", "activate"]
    [invoice] = order.invoices
    assert (invoice.state, invoice.amount) == ("paid", order.quote.due_now)
    assert (await world.orders.show(order.order_id)).allowed == ("cancel", "change_quantity")
    assert [each.order_id for each in await world.orders.list(world.account)] == [order.order_id]
    told = await world.mailed("order_confirmed", ADMIN)
    assert "3 licenses Large Meeting for 500 participants" in told.text
    assert await world.audit() == ()


async def test_a_review_charges_nothing_until_it_is_confirmed(world: World) -> None:
    """ADD-3."""
    order = await an_order(world, portal="account")
    assert (order.state, order.invoices) == (OrderState.REVIEW, ())
    assert "Nothing has been ordered" in (await world.mailed("order_review", ADMIN)).text
    confirmed = await world.orders.confirm(order.order_id)
    assert confirmed.state is OrderState.ACTIVE
    assert [invoice.state for invoice in confirmed.invoices] == ["paid"]
    assert await refusal_of(world.orders.confirm(order.order_id)) == "conflict"


async def test_a_review_that_nobody_confirms_lapses(world: World) -> None:
    """ADD-3: confirming at its last moment is too late."""
    order = await an_order(world, portal="account")
    await world.clock.pass_time(order.workflow_id, timedelta(hours=24))
    lapsed = await world.order_until(order.order_id, OrderState.CANCELLED)
    assert (lapsed.note, lapsed.invoices) == ("review_lapsed", ())
    assert await refusal_of(world.orders.confirm(order.order_id)) == "conflict"
    assert "not confirmed in time" in (await world.mailed("order_cancelled", ADMIN)).text


async def test_a_review_may_be_cancelled(world: World) -> None:
    """ADD-6: never paid, so `cancelled`."""
    order = await an_order(world, portal="account")
    cancelled = await world.orders.cancel(order.order_id)
    assert cancelled.state is OrderState.CANCELLED
    assert await refusal_of(world.orders.cancel(order.order_id)) == "conflict"


async def test_a_declined_card_pays_on_the_third_try(world: World) -> None:
    """ADD-4: no refusal; tried again after 1 and 3 days, and the buyer is told each time."""
    await pays_by_a_card(world, declines=2)
    order = await an_order(world)
    assert (order.state, order.tries) == (OrderState.PAYMENT_FAILED, 1)
    await world.mailed("order_payment_failed", ADMIN)
    await to_the_next_moment(world, order)
    order = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED, tries=2)
    await world.mailed("order_payment_failed", ADMIN, times=2)
    await to_the_next_moment(world, order)
    order = await world.order_until(order.order_id, OrderState.ACTIVE)
    assert events_of(order) == ["buy", "place", "decline", "decline", "pay", "activate"]
    first = order.journal[2].at
    assert timedelta() <= order.journal[4].at - first - timedelta(days=3) < timedelta(minutes=1)
    assert [invoice.state for invoice in order.invoices] == ["paid"]
    assert (order.tries, order.failed_since, order.note) == (0, None, None)
    await world.mailed("order_confirmed", ADMIN)
    assert await world.audit() == ()


async def test_what_is_declined_for_a_week_is_cancelled(world: World) -> None:
    """ADD-4: after the tries of 1, 3, 5 and 7 days."""
    await pays_by_a_card(world, declines=9)
    order = await an_order(world)
    await world.clock.pass_time(order.workflow_id, timedelta(days=7))
    order = await world.order_until(order.order_id, OrderState.CANCELLED)
    declines = [entry.at for entry in order.journal if entry.event == "decline"]
    assert [(at - declines[0]).days for at in declines[1:]] == [wait.days for wait in RETRY_AFTER]
    assert order.note == "payment_declined"
    await world.mailed("order_cancelled", ADMIN)
    await world.mailed("order_payment_failed", ADMIN, times=4)
    assert await world.audit() == ()


async def test_two_years_of_renewals_with_one_decline_keep_the_history_short(
    world: World,
) -> None:
    """ADD-7: each in its time and once; the history stays under a bound."""
    order = await an_order(world)
    longest = 0
    for month in range(1, 2 * A_YEAR + 1):
        if month == A_YEAR // 2:
            await pays_by_a_card(world, declines=1)
        await to_the_next_moment(world, order)
        if month == A_YEAR // 2:
            order = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED, tries=1)
            await to_the_next_moment(world, order)
        order = await world.order_until(order.order_id, OrderState.ACTIVE, payments=month + 1)
        described = await world.temporal.client.get_workflow_handle(order.workflow_id).describe()
        longest = max(longest, described.history_length)
    assert [invoice.state for invoice in order.invoices] == ["paid"] * (2 * A_YEAR + 1)
    assert len({invoice.id for invoice in order.invoices}) == 2 * A_YEAR + 1
    assert events_of(order).count("decline") == 1
    assert longest <= LONGEST_RUN
    await world.mailed("order_renewed", ADMIN, times=2 * A_YEAR)
    assert await world.audit() == ()


async def test_missed_renewals_are_billed_one_by_one(world_without_worker: World) -> None:
    """ADD-7: nobody worked for three months."""
    world = world_without_worker.patient()
    async with world.working():
        order = await an_order(world)
    async with world.working():
        await world.clock.pass_time(order.workflow_id, timedelta(days=95))
        order = await world.order_until(order.order_id, OrderState.ACTIVE, payments=4)
    billed = [invoice.id for invoice in order.invoices]
    assert billed == [f"{order.order_id}/{number}" for number in range(1, 5)]


async def test_a_cancelled_order_works_until_its_term_is_over(world: World) -> None:
    """ADD-6: then it has ended, and nothing more is charged."""
    order = await an_order(world)
    cancelled = await world.orders.cancel(order.order_id)
    assert (cancelled.state, cancelled.note) == (OrderState.ACTIVE, "ends_with_term")
    again = await world.orders.cancel(order.order_id)
    assert again.journal == cancelled.journal
    assert await refusal_of(world.orders.change(order.order_id, 2)) == "conflict"
    assert "until the end of the term" in (await world.mailed("order_cancelled", ADMIN)).text
    await to_the_next_moment(world, cancelled)
    ended = await world.order_until(order.order_id, OrderState.ENDED)
    assert len(ended.invoices) == 1
    await world.mailed("order_ended", ADMIN)
    assert await refusal_of(world.orders.cancel(order.order_id)) == "conflict"
    assert await world.audit() == ()


async def test_a_reduction_takes_effect_at_the_end_of_the_term(world: World) -> None:
    """ADD-6: paid for fewer from then on, and no refund."""
    order = await an_order(world)
    changed = await world.orders.change(order.order_id, 1)
    assert (changed.quantity, changed.quantity_then) == (3, 1)
    assert (changed.note, str(changed.quote.then.amount)) == ("reduced_with_term", "50.00")
    await to_the_next_moment(world, changed)
    renewed = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert (renewed.quantity, renewed.quantity_then, renewed.note) == (1, None, None)
    assert str(renewed.invoices[-1].amount.amount) == "50.00"
    assert await world.audit() == ()


async def test_a_reduction_may_be_taken_back_and_more_is_another_order(world: World) -> None:
    """ADD-6."""
    order = await an_order(world)
    await world.orders.change(order.order_id, 1)
    as_before = await world.orders.change(order.order_id, 3)
    assert (as_before.quantity_then, as_before.note) == (None, None)
    assert as_before.quote.then == order.quote.then
    assert await refusal_of(world.orders.change(order.order_id, 4)) == "invalid_quantity"
    assert await refusal_of(world.orders.change(order.order_id, 0)) == "invalid_quantity"


async def test_a_renewal_declined_for_a_week_ends_the_order(world: World) -> None:
    """ADD-7: the licenses go on working while it is tried, and are released then."""
    order = await an_order(world)
    await pays_by_a_card(world, declines=9)
    await to_the_next_moment(world, order)
    failed = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED)
    assert "go on working" in (await world.mailed("order_payment_failed", ADMIN)).text
    await world.clock.pass_time(failed.workflow_id, timedelta(days=7))
    ended = await world.order_until(order.order_id, OrderState.ENDED)
    assert ended.note == "payment_declined"
    assert [invoice.state for invoice in ended.invoices] == ["paid", "void"]
    await world.mailed("order_ended", ADMIN)
    assert await world.audit() == ()


async def test_what_is_not_sold_or_not_allowed_starts_nothing(world: World) -> None:
    """ADD-1, ADD-2."""
    for capacity, by, code in ((750, ADMIN, "invalid_capacity"), (500, MEMBER, "not_authorized")):
        bought = world.orders.buy(
            world.account, Sku.LARGE_MEETING, capacity=capacity, quantity=1, cycle="annual", by=by
        )
        assert await refusal_of(bought) == code
    assert await world.orders.list(world.account) == []


async def test_an_order_that_nobody_took_up_is_not_bought_twice(
    world_without_worker: World,
) -> None:
    """Repeating is safe: what nobody answered was taken back."""
    world = world_without_worker
    try:
        await an_order(world)
    except Exception as unanswered:
        assert getattr(unanswered, "outcome_unknown", False)
    async with world.working():
        order = await an_order(world.patient())
    assert order.state is OrderState.ACTIVE
    assert [each.order_id for each in await world.orders.list(world.account)] == [order.order_id]


def test_a_run_lasts_for_a_year_of_months() -> None:
    assert CYCLES_IN_A_RUN == A_YEAR
