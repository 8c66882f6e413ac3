"""Orders whose payment the provider processes for days, as it does with bank debits (ADD-4)."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr
from temporalio.testing import WorkflowEnvironment

from domain.account import Directory
from domain.error import Unavailable
from domain.invitation import Choice
from domain.license import Sku
from domain.order import Order, OrderState
from tests.database import Databases
from tests.eventually import eventually
from tests.stripe_server import API_KEY, StripeServer, answer, localstripe
from tests.world import ADMIN, JANE, World, a_paying_owner, a_world, refusal_of

FIRST_LOOKUP = timedelta(minutes=1)
A_DAY = timedelta(days=1)


@pytest.fixture
async def stripe() -> AsyncIterator[StripeServer]:
    async with localstripe() as behind, StripeServer(behind) as server:
        server.initial_charge_status = "processing"
        yield server


@pytest.fixture
async def world(
    temporal: WorkflowEnvironment, set_up_databases: Databases, stripe: StripeServer
) -> AsyncIterator[World]:
    """Return a world that pays with a bank account at Stripe."""
    async with a_world(
        temporal,
        set_up_databases,
        billing="stripe",
        given_stripe_api_key=SecretStr(API_KEY),
        stripe_api_base=stripe.url,
    ) as world:
        await pay_by_debit(world, stripe, world.account)
        yield world


async def pay_by_debit(world: World, stripe: StripeServer, account: str) -> None:
    """Import a bank account at Stripe as the only payment method of the account."""
    [entry] = (await world.export(account)).model_dump(mode="json", exclude_none=True)["accounts"]
    entry["billing_customer"] = await stripe.customer()
    debit = await stripe.card(entry["billing_customer"])
    entry["payment_methods"] = [{"id": debit, "kind": "bank"}]
    await world.store.directory.import_(Directory.model_validate({"accounts": [entry]}))


async def an_order(world: World, account: str | None = None, by: str = ADMIN) -> Order:
    return await world.orders.buy(
        account or world.account,
        Sku.LARGE_MEETING,
        capacity=500,
        quantity=2,
        cycle="monthly",
        by=by,
    )


async def decide(world: World, stripe: StripeServer, order: Order, status: str) -> None:
    """Report the result of the last debit, and pass the time to the next look-up."""
    stripe.set_status(stripe.intents[-1], status)
    shown = await world.orders.show(order.order_id)
    assert shown.pending
    await world.clock.go_to(order.workflow_id, shown.pending.look_up_at)


async def test_an_order_waits_for_a_debit_without_a_failing_activity(
    world: World, stripe: StripeServer
) -> None:
    """ADD-4: `buy` returns after the attempt; the debit is looked up and made once."""
    order = await an_order(world)
    assert (order.state, order.note) == (OrderState.PLACED, "payment_pending")
    await world.clock.pass_time(order.workflow_id, A_DAY)
    assert (await world.orders.show(order.order_id)).state is OrderState.PLACED
    await decide(world, stripe, order, "succeeded")
    paid = await world.order_until(order.order_id, OrderState.ACTIVE)
    assert (paid.note, paid.pending, len(stripe.charged)) == (None, None, 1)
    history = await world.temporal.client.get_workflow_handle(order.workflow_id).fetch_history()
    assert not any(
        event.HasField("activity_task_failed_event_attributes") for event in history.events
    )
    assert await world.audit() == ()


async def test_a_cancellation_during_the_first_debit_takes_effect_with_its_term(
    world: World, stripe: StripeServer
) -> None:
    """ADD-6: cancelling is answered at once; the term that is paid then is used, not refunded."""
    order = await an_order(world)
    cancelled = await world.orders.cancel(order.order_id)
    assert (cancelled.state, cancelled.note) == (OrderState.PLACED, "cancelled_after_payment")
    assert cancelled.journal[-1].by == "operator"
    again = await world.orders.cancel(order.order_id)
    assert again.journal == cancelled.journal
    assert await refusal_of(world.orders.change(order.order_id, 1)) == "conflict"
    assert (await world.store.orders.latest(order.order_id)).note == "cancelled_after_payment"
    await decide(world, stripe, order, "succeeded")
    paid = await world.order_until(order.order_id, OrderState.ACTIVE)
    assert (paid.note, paid.quantity_then) == ("ends_with_term", 0)
    await world.mailed("order_confirmed", ADMIN)
    assert "until the end of the term" in (await world.mailed("order_cancelled", ADMIN)).text
    assert paid.paid_until
    await world.clock.go_to(order.workflow_id, paid.paid_until)
    await world.order_until(order.order_id, OrderState.ENDED)
    assert len(stripe.charged) == 1
    assert await world.audit() == ()


async def test_a_cancellation_during_the_first_debit_cancels_if_it_fails(
    world: World, stripe: StripeServer
) -> None:
    """ADD-6: no retry follows, and no letter announces one."""
    order = await an_order(world)
    await world.orders.cancel(order.order_id)
    await decide(world, stripe, order, "requires_payment_method")
    over = await world.order_until(order.order_id, OrderState.CANCELLED)
    assert [invoice.state for invoice in over.invoices] == ["void"]
    await world.mailed("order_cancelled", ADMIN)
    assert world.mails(event="order_payment_failed") == []
    assert len(stripe.charged) == 1
    assert await world.audit() == ()


async def renewing(world: World, stripe: StripeServer) -> Order:
    """Return a paid order whose renewal is being debited."""
    stripe.initial_charge_status = "succeeded"
    order = await an_order(world)
    stripe.initial_charge_status = "processing"
    assert order.paid_until
    await world.clock.go_to(order.workflow_id, order.paid_until)
    return await eventually(
        lambda: world.orders.show(order.order_id), until=lambda order: order.pending is not None
    )


async def test_a_reduction_during_the_debit_of_a_renewal_takes_effect_with_the_next_term(
    world: World, stripe: StripeServer
) -> None:
    """ADD-6: it is answered at once, and the debited term keeps its licenses."""
    order = await renewing(world, stripe)
    changed = await world.orders.change(order.order_id, 1)
    assert (changed.quantity, changed.quantity_then) == (2, 1)
    await decide(world, stripe, order, "succeeded")
    renewed = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert (renewed.quantity_then, renewed.note) == (1, "reduced_with_term")
    assert str(renewed.quote.then.amount) == "50.00"
    assert await world.audit() == ()


async def test_a_cancellation_during_the_debit_of_a_renewal_ends_the_order_if_it_fails(
    world: World, stripe: StripeServer
) -> None:
    """ADD-6, ADD-7: the paid term has ended, so that nothing is retried."""
    order = await renewing(world, stripe)
    cancelled = await world.orders.cancel(order.order_id)
    assert (cancelled.state, cancelled.note) == (OrderState.ACTIVE, "cancelled_after_payment")
    await decide(world, stripe, order, "canceled")
    over = await world.order_until(order.order_id, OrderState.ENDED)
    assert [invoice.state for invoice in over.invoices] == ["paid", "void"]
    await world.mailed("order_ended", ADMIN)
    assert await world.audit() == ()


async def test_a_restarted_order_looks_its_debit_up(world: World, stripe: StripeServer) -> None:
    """OPS-6, ADD-6: the debit and the cancellation are part of the stored record."""
    order = await an_order(world)
    await world.orders.cancel(order.order_id)
    await world.temporal.client.get_workflow_handle(order.workflow_id).terminate("by hand")
    stripe.set_status(stripe.intents[-1], "succeeded")
    await world.recover(order.workflow_id)
    await world.clock.pass_time(order.workflow_id, FIRST_LOOKUP)
    paid = await world.order_until(order.order_id, OrderState.ACTIVE)
    assert (paid.note, len(stripe.charged)) == ("ends_with_term", 1)


async def test_a_debit_that_succeeds_after_the_account_closed_becomes_credit(
    world: World, stripe: StripeServer
) -> None:
    """SRC-2, OPS-5: the closure waits for no debit, and the money is found."""
    await a_paying_owner(world)
    await pay_by_debit(world, stripe, "jane-pro")
    order = await an_order(world, "jane-pro", JANE)
    await world.client.accept(world.account, JANE, Choice.TRANSFER)
    over = await world.order_until(order.order_id, OrderState.CANCELLED)
    assert over.note == "account_closed"
    await decide(world, stripe, order, "succeeded")
    handle = world.temporal.client.get_workflow_handle(order.workflow_id)
    await handle.result()
    credit = await world.store.credits.show("jane-pro")
    assert order.quote.due_now in [entry.amount for entry in credit.entries]
    assert (await world.store.orders.latest(order.order_id)).pending is None


async def test_a_debit_after_the_closure_is_found_if_its_workflow_was_ended(
    world: World, stripe: StripeServer
) -> None:
    """SRC-2: recovery restarts an ended order whose payment is not decided."""
    await a_paying_owner(world)
    await pay_by_debit(world, stripe, "jane-pro")
    order = await an_order(world, "jane-pro", JANE)
    await world.client.accept(world.account, JANE, Choice.TRANSFER)
    await world.order_until(order.order_id, OrderState.CANCELLED)
    handle = world.temporal.client.get_workflow_handle(order.workflow_id)
    await handle.terminate("by hand")
    found = [each async for page in world.store.unfinished_workflows() for each in page]
    assert order.workflow_id in found
    await world.recover(order.workflow_id)
    await decide(world, stripe, order, "succeeded")
    await handle.result()
    credit = await world.store.credits.show("jane-pro")
    assert order.quote.due_now in [entry.amount for entry in credit.entries]


async def test_a_cancellation_does_not_wait_for_an_unreachable_provider(
    world: World, stripe: StripeServer
) -> None:
    """ADD-6: the charge is retried meanwhile, and the cancellation takes effect with its result."""
    stripe.initial_charge_status = "succeeded"
    order = await world.orders.buy(
        world.account, Sku.WORKPLACE, quantity=1, cycle="monthly", by=ADMIN, portal="account"
    )
    stripe.answers += [answer(500, type="api_error")] * 100
    with pytest.raises(Unavailable):
        await world.waiting(1).orders.confirm(order.order_id)
    cancelled = await world.orders.cancel(order.order_id)
    assert (cancelled.state, cancelled.note) == (OrderState.PLACED, "cancelled_after_payment")
    stripe.answers.clear()
    paid = await world.order_until(order.order_id, OrderState.ACTIVE)
    assert paid.note == "ends_with_term"
