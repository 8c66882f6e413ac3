"""Tests of the AddonPurchase workflow: charges, renewals and ends (ADD)."""

import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.order import OrderPayment, charge_request
from adapters.provider import LedgerProvider
from adapters.sql.database.schema import OutboxRow
from adapters.sql.database.transaction import writing
from domain.assignment import AssignLicenses
from domain.error import Refused, Unavailable
from domain.invitation import Choice
from domain.license import Sku
from domain.order import RETRY_AFTER, BuyLicenses, Order, OrderState, Portal
from states.lifecycle import after
from states.order import OrderMachine
from tests.eventually import eventually
from tests.world import ADMIN, JANE, MEMBER, OWNER, World, a_paying_owner, refusal_of
from workflows.order import PAYMENTS_PER_RUN

LONGEST_RUN = 450
"""Upper limit of the events of a run (ADD-7)."""

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


async def import_card(world: World, declines: int) -> None:
    """Import one card for the account; it declines the next `declines` charges."""
    card = {"id": "card-1", "kind": "card", "declines": declines}
    await world.imported(world.account, payment_methods=[card])


async def pass_to_due_time(world: World, order: Order) -> None:
    """Move the order's clock to the next renewal or retry."""
    due = order.next_try_at() or order.paid_until
    assert due
    await world.clock.go_to(order.workflow_id, due)


def events_of(order: Order) -> list[str]:
    return [entry.event for entry in order.journal]


async def test_an_order_is_paid_at_once_and_the_buyer_is_notified(world: World) -> None:
    """ADD-4, ADD-5."""
    order = await an_order(world)
    assert order.state is OrderState.ACTIVE
    assert events_of(order) == ["buy", "place", "pay", "activate"]
    [invoice] = order.invoices
    assert (invoice.state, invoice.amount) == ("paid", order.quote.due_now)
    assert (await world.orders.show(order.order_id)).allowed == ("cancel", "change_quantity")
    assert [each.order_id for each in await world.orders.list(world.account)] == [order.order_id]
    letter = await world.mailed("order_confirmed", ADMIN)
    assert "3 Large Meeting licenses (500 participants)" in letter.text
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


async def test_an_unconfirmed_review_lapses(world: World) -> None:
    """ADD-3: confirming at exactly its end is too late."""
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
    """ADD-4: not refused; retried after 1 and 3 days, and the buyer is notified each time."""
    await import_card(world, declines=2)
    order = await an_order(world)
    assert (order.state, order.tries) == (OrderState.PAYMENT_FAILED, 1)
    await world.mailed("order_payment_failed", ADMIN)
    await pass_to_due_time(world, order)
    order = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED, tries=2)
    await world.mailed("order_payment_failed", ADMIN, times=2)
    await pass_to_due_time(world, order)
    order = await world.order_until(order.order_id, OrderState.ACTIVE)
    assert events_of(order) == ["buy", "place", "decline", "decline", "pay", "activate"]
    first = order.journal[2].at
    assert timedelta() <= order.journal[4].at - first - timedelta(days=3) < timedelta(minutes=1)
    assert [invoice.state for invoice in order.invoices] == ["paid"]
    assert (order.tries, order.failed_since, order.note) == (0, None, None)
    await world.mailed("order_confirmed", ADMIN)
    assert await world.audit() == ()


async def test_an_order_declined_for_a_week_is_cancelled(world: World) -> None:
    """ADD-4: after the retries on days 1, 3, 5 and 7."""
    await import_card(world, declines=9)
    order = await an_order(world)
    await world.clock.pass_time(order.workflow_id, timedelta(days=7))
    order = await world.order_until(order.order_id, OrderState.CANCELLED)
    declines = [entry.at for entry in order.journal if entry.event == "decline"]
    assert [(at - declines[0]).days for at in declines[1:]] == [wait.days for wait in RETRY_AFTER]
    assert order.note == "payment_declined"
    await world.mailed("order_cancelled", ADMIN)
    await world.mailed("order_payment_failed", ADMIN, times=4)
    assert await world.audit() == ()


@pytest.mark.full
async def test_two_years_of_renewals_with_one_decline_keep_the_history_short(
    world: World,
) -> None:
    """ADD-7: each on its date and once; the history stays under a limit."""
    order = await an_order(world)
    for month in range(1, 2 * A_YEAR + 1):
        if month == A_YEAR // 2:
            await import_card(world, declines=1)
        await pass_to_due_time(world, order)
        if month == A_YEAR // 2:
            order = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED, tries=1)
            await pass_to_due_time(world, order)
        order = await world.order_until(order.order_id, OrderState.ACTIVE, payments=month + 1)
    assert [invoice.state for invoice in order.invoices] == ["paid"] * (2 * A_YEAR + 1)
    assert len({invoice.id for invoice in order.invoices}) == 2 * A_YEAR + 1
    assert events_of(order).count("decline") == 1
    await world.mailed("order_renewed", ADMIN, times=2 * A_YEAR)
    lengths = await lengths_of_runs(world, order)
    assert len(lengths) == 3
    assert max(lengths) <= LONGEST_RUN
    assert await world.audit() == ()


async def lengths_of_runs(world: World, order: Order) -> list[int]:
    """Return the number of events of each run."""
    client, found = world.temporal.client, dict[str, int]()
    async for run in client.list_workflows(f"WorkflowId = '{order.workflow_id}'"):
        handle = client.get_workflow_handle(order.workflow_id, run_id=run.run_id)
        found[run.run_id] = (await handle.describe()).history_length
    return [*found.values()]


async def test_missed_renewals_are_billed_one_by_one(world_without_worker: World) -> None:
    """ADD-7: no worker ran for three months."""
    world = world_without_worker.patient()
    async with world.working():
        order = await an_order(world)
    async with world.working():
        await world.clock.pass_time(order.workflow_id, timedelta(days=95))
        order = await world.order_until(order.order_id, OrderState.ACTIVE, payments=4)
    billed = [invoice.id for invoice in order.invoices]
    assert billed == [f"{order.order_id}/{number}" for number in range(1, 5)]


async def test_a_cancelled_order_is_active_until_its_term_ends(world: World) -> None:
    """ADD-6: then it is ended, and nothing more is charged."""
    order = await an_order(world)
    cancelled = await world.orders.cancel(order.order_id)
    assert (cancelled.state, cancelled.note) == (OrderState.ACTIVE, "ends_with_term")
    assert cancelled.allowed == ("cancel",)
    again = await world.orders.cancel(order.order_id)
    assert again.journal == cancelled.journal
    assert await refusal_of(world.orders.change(order.order_id, 2)) == "conflict"
    assert "until the end of the term" in (await world.mailed("order_cancelled", ADMIN)).text
    await pass_to_due_time(world, cancelled)
    ended = await world.order_until(order.order_id, OrderState.ENDED)
    assert len(ended.invoices) == 1
    await world.mailed("order_ended", ADMIN)
    assert await refusal_of(world.orders.cancel(order.order_id)) == "conflict"
    assert await world.audit() == ()


async def test_a_reduction_takes_effect_at_the_end_of_the_term(world: World) -> None:
    """ADD-6: the next term is charged for fewer, without a refund."""
    order = await an_order(world)
    changed = await world.orders.change(order.order_id, 1)
    assert (changed.quantity, changed.quantity_then) == (3, 1)
    assert (changed.note, str(changed.quote.then.amount)) == ("reduced_with_term", "50.00")
    await pass_to_due_time(world, changed)
    renewed = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert (renewed.quantity, renewed.quantity_then, renewed.note) == (1, None, None)
    assert str(renewed.invoices[-1].amount.amount) == "50.00"
    assert await world.audit() == ()


async def test_a_reduction_can_be_undone_and_more_licenses_need_another_order(world: World) -> None:
    """ADD-6."""
    order = await an_order(world)
    await world.orders.change(order.order_id, 1)
    as_before = await world.orders.change(order.order_id, 3)
    assert (as_before.quantity_then, as_before.note) == (None, None)
    assert as_before.quote.then == order.quote.then
    assert await refusal_of(world.orders.change(order.order_id, 4)) == "invalid_quantity"
    assert await refusal_of(world.orders.change(order.order_id, 0)) == "invalid_quantity"


async def test_a_renewal_declined_for_a_week_ends_the_order(world: World) -> None:
    """ADD-7: the licenses stay assigned during the retries, then they are released."""
    order = await an_order(world)
    await import_card(world, declines=9)
    await pass_to_due_time(world, order)
    failed = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED)
    assert "go on working" in (await world.mailed("order_payment_failed", ADMIN)).text
    await world.clock.pass_time(failed.workflow_id, timedelta(days=7))
    ended = await world.order_until(order.order_id, OrderState.ENDED)
    assert ended.note == "payment_declined"
    assert [invoice.state for invoice in ended.invoices] == ["paid", "void"]
    await world.mailed("order_ended", ADMIN)
    assert await world.audit() == ()


async def test_an_invalid_or_unauthorized_order_starts_nothing(world: World) -> None:
    """ADD-1, ADD-2."""
    for capacity, by, code in ((750, ADMIN, "invalid_capacity"), (500, MEMBER, "not_authorized")):
        bought = world.orders.buy(
            world.account, Sku.LARGE_MEETING, capacity=capacity, quantity=1, cycle="annual", by=by
        )
        assert await refusal_of(bought) == code
    assert await world.orders.list(world.account) == []


async def test_an_unanswered_order_is_not_bought_twice(
    world_without_worker: World,
) -> None:
    """Repeating is safe: the same order is placed when a worker starts."""
    world = world_without_worker
    with pytest.raises(Unavailable) as unanswered:
        await an_order(world)
    assert unanswered.value.outcome_unknown
    async with world.working():
        order = await an_order(world.patient())
    assert order.state is OrderState.ACTIVE
    assert [each.order_id for each in await world.orders.list(world.account)] == [order.order_id]


async def test_an_order_opened_late_is_not_bought_twice(world: World) -> None:
    """Repeating is safe, even right after the first order was opened."""
    now = datetime.now(UTC)
    order = BuyLicenses(
        order_id=f"or-{uuid.uuid4().hex[:16]}",
        account=world.account,
        sku=Sku.LARGE_MEETING,
        capacity=500,
        quantity=3,
        cycle="monthly",
        bought_by=ADMIN,
        caller_waits_until=now,
    )
    opened = await world.store.orders.open(order, now + timedelta(seconds=1))
    placed = await an_order(world)
    assert (placed.order_id, placed.state) == (opened.order_id, OrderState.ACTIVE)
    assert [each.order_id for each in await world.orders.list(world.account)] == [order.order_id]


@pytest.mark.parametrize("opened", [True, False])
async def test_repeating_an_unanswered_purchase_continues_the_same_order(
    world_without_worker: World, *, opened: bool
) -> None:
    """Repeating is safe until the first order is reported; after that it is another order."""
    world = world_without_worker
    with pytest.raises(Unavailable) as unanswered:
        await an_order(world)
    assert unanswered.value.outcome_unknown
    [first] = await world.orders.list(world.account)
    async with world.working():
        if opened:
            await world.patient().order_until(first.order_id, OrderState.ACTIVE)
        again = await until_answered(lambda: an_order(world.waiting(1)))
        assert again.order_id == first.order_id
        assert again.state is OrderState.ACTIVE
        another = await an_order(world.patient())
        assert another.order_id != first.order_id
    assert len(await world.orders.list(world.account)) == 2
    assert await world.audit() == ()


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("status", [RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE])
async def test_a_start_whose_response_is_lost_buys_once(
    world: World, monkeypatch: pytest.MonkeyPatch, status: RPCStatusCode, *, for_good: bool
) -> None:
    """Repeating is safe: the start is sent again, and then the order is found."""
    client = world.temporal.client
    start, started = client.execute_update_with_start_workflow, list[object]()

    async def start_and_lose_response(*args: object, **kwargs: object) -> object:
        started.append(await start(*args, **kwargs))  # type: ignore[call-overload]
        if for_good or len(started) == 1:
            raise RPCError("too late", status, b"")
        return started[-1]

    monkeypatch.setattr(client, "execute_update_with_start_workflow", start_and_lose_response)
    short_wait = world.waiting(1)
    if for_good:
        with pytest.raises(Unavailable) as unanswered:
            await an_order(short_wait)
        assert unanswered.value.outcome_unknown
        monkeypatch.setattr(client, "execute_update_with_start_workflow", start)
        await until_answered(lambda: an_order(short_wait))
    else:
        await an_order(world)
    [order] = await world.orders.list(world.account)
    await world.order_until(order.order_id, OrderState.ACTIVE)
    assert len(started) > 1
    assert await world.audit() == ()


async def until_answered(buy: Callable[[], Awaitable[Order]]) -> Order:
    """Repeat the purchase until it is answered, as a script would."""
    while True:
        with suppress(Unavailable):
            return await buy()


async def assign_to(world: World, *users: tuple[str, str]) -> None:
    """Assign base licenses and Large Meeting licenses to `users`."""
    licensed = [(email, role, True) for email, role in users]
    await world.imported(world.account, users=licensed, licenses=len(users))
    request = AssignLicenses(
        request_id=uuid.uuid4().hex,
        account=world.account,
        sku=Sku.LARGE_MEETING,
        emails=tuple(email for email, _ in users),
        capacity=500,
        by=ADMIN,
    )
    await world.store.assignments.assign(request, datetime.now(UTC))


async def test_assigned_licenses_are_reduced_only_with_named_holders(world: World) -> None:
    """ADD-6: holders are notified when they lose a license."""
    order = await an_order(world)
    await assign_to(world, (OWNER, "owner"), (MEMBER, "member"))
    with pytest.raises(Refused) as refused:
        await world.orders.change(order.order_id, 1)
    assert refused.value.code == "assigned_exceeds_quantity"
    assert refused.value.details["holders"] == [OWNER, MEMBER]
    assert await refusal_of(world.orders.cancel(order.order_id)) == "assigned_exceeds_quantity"
    assert (await world.orders.show(order.order_id)).quantity_then is None

    changed = await world.orders.change(order.order_id, 1, (MEMBER.upper(),))
    await pass_to_due_time(world, changed)
    await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    ended = (await world.mailed("license_ended", MEMBER)).text
    assert "room for 100 participants" in ended
    # TXT-4: the owner can help.
    assert OWNER in ended

    cancelled = await world.orders.cancel(order.order_id, release_all=True)
    await pass_to_due_time(world, cancelled)
    await world.order_until(order.order_id, OrderState.ENDED)
    await world.mailed("license_ended", OWNER)
    assert world.mails(to=MEMBER, event="license_ended") != []
    assert await world.audit() == ()


async def test_an_order_ends_with_its_account(world: World) -> None:
    """SRC-2: the owner has accepted elsewhere; nothing more is charged."""
    await a_paying_owner(world)
    order = await world.orders.buy(
        "jane-pro", Sku.WORKPLACE, quantity=2, cycle="annual", by=JANE, portal="plans"
    )
    reviewed = await world.orders.buy(
        "jane-pro", Sku.WORKPLACE, quantity=1, cycle="annual", by=JANE, portal="account"
    )
    await world.client.accept(world.account, JANE, Choice.TRANSFER)
    for order_id, state in (
        (order.order_id, OrderState.ENDED),
        (reviewed.order_id, OrderState.CANCELLED),
    ):
        over = await world.order_until(order_id, state)
        assert over.note == "account_closed"
        handle = world.temporal.client.get_workflow_handle(over.workflow_id)
        assert (await handle.result())["state"] == state
    assert "The account was closed" in (await world.mailed("order_ended", JANE)).text
    assert await world.audit() == ()


async def test_an_order_whose_workflow_was_terminated_is_restarted(
    world: World,
) -> None:
    """ADD-7: it is renewed."""
    order = await an_order(world)
    client = world.temporal.client
    await client.get_workflow_handle(order.workflow_id).terminate("by hand")
    await world.recover(order.workflow_id)
    await pass_to_due_time(world, order)
    renewed = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert renewed.journal[: len(order.journal)] == order.journal


def test_a_run_lasts_twelve_monthly_cycles() -> None:
    """ADD-7: a history is bounded."""
    assert PAYMENTS_PER_RUN == A_YEAR


# The view and the actions of operators.


async def failed_activities(world: World, workflow_id: str) -> int:
    history = await world.temporal.client.get_workflow_handle(workflow_id).fetch_history()
    return sum(event.HasField("activity_task_failed_event_attributes") for event in history.events)


async def test_a_refusal_is_no_failed_activity(world: World) -> None:
    """ADD-6: only a failure is red in the UI."""
    order = await an_order(world)
    await assign_to(world, (OWNER, "owner"), (MEMBER, "member"))
    assert await refusal_of(world.orders.cancel(order.order_id)) == "assigned_exceeds_quantity"
    change = world.orders.change(order.order_id, 1)
    assert await refusal_of(change) == "assigned_exceeds_quantity"
    assert await failed_activities(world, order.workflow_id) == 0


async def test_a_refused_purchase_starts_no_workflow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADD-2: also if the buyer loses the right between the first check and the purchase."""

    async def passes(order: BuyLicenses, at: datetime) -> None:
        await world.imported(world.account, users=[(OWNER, "owner"), (ADMIN, "member")], licenses=2)

    monkeypatch.setattr(world.store.orders, "quoted", passes)
    assert await refusal_of(an_order(world)) == "not_authorized"
    assert await world.orders.list(world.account) == []
    await an_order_by_owner(world)
    found = await eventually(lambda: orders_in_temporal(world))
    assert len(found) == 1


async def an_order_by_owner(world: World) -> Order:
    return await world.orders.buy(
        world.account, Sku.WORKPLACE, quantity=1, cycle="annual", by=OWNER, portal="account"
    )


async def orders_in_temporal(world: World) -> list[str]:
    """Return the ids of the account's orders that visibility has."""
    query = f"WorkflowType = 'AddonPurchase' AND AccountId = '{world.account}'"
    return [each.id async for each in world.temporal.client.list_workflows(query)]


async def test_a_restarted_order_keeps_its_policy_and_its_account(world: World) -> None:
    """ADD-3: the review lapses as it was promised; a search for the account finds the order."""
    settings = world.clients.settings
    policy = settings.policy.model_copy(update={"review_valid_hours": 1})
    buyer = replace(
        world,
        clients=replace(world.clients, settings=settings.model_copy(update={"policy": policy})),
    )
    order = await an_order(buyer, portal="account")
    client = world.temporal.client
    await client.get_workflow_handle(order.workflow_id).terminate("by hand")
    await world.recover(order.workflow_id)
    described = await client.get_workflow_handle(order.workflow_id).describe()
    assert described.search_attributes["AccountId"] == [world.account]
    await world.clock.pass_time(order.workflow_id, timedelta(hours=1))
    lapsed = await world.order_until(order.order_id, OrderState.CANCELLED)
    assert lapsed.note == "review_lapsed"


async def test_a_purchase_whose_command_died_is_placed(world: World) -> None:
    """OPS-1: the start of its workflow is a row of the draft's transaction."""
    request = BuyLicenses(
        order_id=f"or-{uuid.uuid4().hex[:16]}",
        account=world.account,
        sku=Sku.LARGE_MEETING,
        capacity=500,
        quantity=3,
        cycle="monthly",
        bought_by=ADMIN,
    )
    await world.store.orders.open(request, datetime.now(UTC))
    async with writing(world.store.engine) as session:
        await session.execute(update(OutboxRow).values(due_at=datetime.now(UTC)))
    await world.order_until(request.order_id, OrderState.ACTIVE)


async def test_a_lost_workflow_does_not_charge_a_booked_payment_again(world: World) -> None:
    """ADD-5: it was ended from outside after the payment was booked, before it was recorded."""
    now, orders = datetime.now(UTC), world.store.orders
    request = BuyLicenses(
        order_id=f"or-{uuid.uuid4().hex[:16]}",
        account=world.account,
        sku=Sku.LARGE_MEETING,
        capacity=500,
        quantity=3,
        cycle="monthly",
        bought_by=ADMIN,
    )
    opened = await orders.open(request, now)
    placed = await orders.keep(after(OrderMachine, opened, "place", at=now, by="seatflow"))
    await orders.invoice(placed, now)
    due = await orders.due(placed)
    assert due
    provider = LedgerProvider(world.store.engine, 4, frozenset())
    charge = await provider.charge(charge_request(placed, due, due.methods[0], now))
    assert charge.provider_id
    payment = OrderPayment(method=due.methods[0], provider_id=charge.provider_id, amount=due.amount)
    await orders.paid(placed, payment, now)
    await world.recover(placed.workflow_id)
    paid = await world.order_until(request.order_id, OrderState.ACTIVE)
    assert [invoice.state for invoice in paid.invoices] == ["paid"]
    assert events_of(paid) == ["buy", "place", "pay", "activate"]
    await world.mailed("order_confirmed", ADMIN)
    assert await world.audit() == ()


async def test_a_cancellation_in_temporal_cancels_an_order_in_review(world: World) -> None:
    """OPS-10: it is unpaid, so it ends, in the store too."""
    order = await an_order(world, portal="account")
    await world.temporal.client.get_workflow_handle(order.workflow_id).cancel()
    over = await world.order_until(order.order_id, OrderState.CANCELLED)
    assert (over.journal[-1].event, over.journal[-1].by) == ("cancel", "operator")
    assert (await world.store.orders.latest(order.order_id)).state is OrderState.CANCELLED
    await world.mailed("order_cancelled", ADMIN)


async def test_a_cancellation_in_temporal_leaves_a_paid_order(world: World) -> None:
    """OPS-10: it is a journal entry, and the order is renewed."""
    order = await an_order(world)
    handle = world.temporal.client.get_workflow_handle(order.workflow_id)
    await handle.cancel()
    noted = await eventually(
        lambda: world.orders.show(order.order_id),
        until=lambda shown: events_of(shown)[-1] == "cancel_requested",
    )
    assert (noted.state, noted.note) == (OrderState.ACTIVE, None)
    await pass_to_due_time(world, order)
    await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert await world.audit() == ()


async def test_no_order_waits_for_a_mail_server(world: World) -> None:
    """OPS-1, OPS-2: the letter is a row of the payment's transaction."""
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    order = await an_order(world)
    assert order.state is OrderState.ACTIVE
    world.smtp.answers.clear()
    await world.mailed("order_confirmed", ADMIN)


async def test_no_letter_announces_a_review_that_has_ended(world: World) -> None:
    """OPS-2: the mail server was down until the order was cancelled."""
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    order = await an_order(world, portal="account")
    await world.orders.cancel(order.order_id)
    letter_id = f"order_review.{len(order.journal)}.{order.order_id}"
    assert await world.store.letters.queued(letter_id)
    world.smtp.answers.clear()
    await world.mailed("order_cancelled", ADMIN)
    await eventually(lambda: world.store.letters.queued(letter_id), until=lambda left: left is None)
    assert world.mails(event="order_review") == []
