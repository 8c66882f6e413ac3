"""Scenarios whose histories are recorded: one for each end, and for each way to it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from domain.batch import BatchRow
from domain.error import Refused
from domain.invitation import Choice, Person
from domain.license import Sku
from domain.order import Order, OrderState, Portal
from domain.policy import Policy
from domain.refund import RefundState
from domain.reminder import ReminderRun
from tests.eventually import eventually
from tests.smtp_server import Misbehaviour
from tests.workflows.small_limits import worker_with_small_slices
from tests.world import (
    ADMIN,
    ANN,
    BASIC,
    CLEO,
    JANE,
    LICENSED,
    MEMBER,
    World,
    a_paying_owner,
    licensed_users,
)

Scenario = Callable[[World], Awaitable[object]]
Purchase = Callable[[World], Awaitable[Order]]


async def completed(world: World) -> None:
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def completed_and_notified_later(world: World) -> None:
    await world.pending(JANE)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.client.accept(world.account, JANE)
    world.smtp.answers.clear()
    await world.mailed("accepted", ADMIN)


async def declined(world: World) -> None:
    await world.pending(JANE)
    await world.client.decline(world.account, JANE, "no, thank you")


async def revoked(world: World) -> None:
    await world.pending(JANE)
    await world.client.revoke(world.account, JANE, ADMIN)


async def revoked_before_it_went_out(world: World) -> None:
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    await world.client.revoke(world.account, JANE, ADMIN)


async def expired(world: World) -> None:
    pending = await world.pending(JANE)
    await world.go_to(JANE, pending.deadline)
    await world.until(JANE, "expired")


async def undeliverable(world: World) -> None:
    world.smtp.unknown.add(JANE)
    await world.invite(JANE)
    await world.until(JANE, "undeliverable")


async def resent_and_completed(world: World) -> None:
    await world.pending(JANE)
    await world.client.preview(world.account, JANE)
    await world.pass_time(JANE, timedelta(hours=1))
    await world.client.resend(world.account, JANE, ADMIN)
    await world.mailed("invitation", JANE, times=2)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def blocked_by_1009_and_declined(world: World) -> None:
    await world.imported("club", plan="free", users=[(JANE, "owner"), ("b@c.example", "member")])
    await world.pending(JANE)
    try:
        await world.client.accept(world.account, JANE)
    finally:
        await world.client.decline(world.account, JANE)


async def refunded_and_completed(world: World) -> None:
    refund_id = await _accept(world, Choice.REFUND)
    refund = await world.refund_until(refund_id, RefundState.PROCESSING)
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    await world.until(JANE, "completed")


async def refund_converted_and_completed(world: World) -> None:
    refund_id = await _accept(world, Choice.REFUND, refundable=False)
    await world.refund_until(refund_id, RefundState.FAILED)
    await world.refunds.convert(refund_id)
    await world.until(JANE, "completed")


async def refund_closed_and_completed(world: World) -> None:
    refund_id = await _accept(world, Choice.REFUND, refundable=False)
    await world.refund_until(refund_id, RefundState.FAILED)
    await world.refunds.close(refund_id, "paid by hand")
    await world.until(JANE, "completed")


async def refund_terminated_closed_and_completed(world: World) -> None:
    refund_id = await _accept(world, Choice.REFUND, refundable=False)
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    handle = world.temporal.client.get_workflow_handle(failed.workflow_id)
    before = (await handle.describe()).run_id
    await handle.terminate("by hand")
    await eventually(handle.describe, lambda found: found.run_id != before)
    await world.refunds.close(refund_id, "paid by hand")
    await world.until(JANE, "completed")


async def transferred_and_completed(world: World) -> None:
    await _accept(world, Choice.TRANSFER)
    await world.until(JANE, "completed")


async def quote_expired_and_declined(world: World) -> None:
    await a_paying_owner(world)
    await world.client.preview(world.account, JANE)
    await world.pass_time(JANE, timedelta(days=2))
    with suppress(Refused):
        await world.client.accept(world.account, JANE, Choice.REFUND)
    await world.client.decline(world.account, JANE)


async def unblocked_and_completed(world: World) -> None:
    await _block(world)
    await world.remove_user("club", "b@c.example")
    await world.until(JANE, "pending")
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def rechecked_while_paused_and_revoked(world: World) -> None:
    paused = replace(world.client, policy=Policy(pause_while_blocked=True))
    world.clients.invitations = paused
    await _block(world)
    await world.pass_time(JANE, timedelta(days=2))
    await paused.resend(world.account, JANE, ADMIN)
    await world.mailed("invitation", JANE, times=2)
    await paused.recheck(world.account, JANE)
    await paused.revoke(world.account, JANE, ADMIN)


async def superseded(world: World) -> None:
    await world.pending(JANE)
    rival = f"rival-{world.account}"
    await world.imported(rival, users=[("boss@rival.example", "owner")])
    await world.client.invite(rival, [Person(email=JANE)], "boss@rival.example")
    await replace(world, account=rival).until(JANE, "pending")
    await world.client.accept(rival, JANE)
    await world.until(JANE, "superseded")


async def announced_and_completed(world: World) -> None:
    await world.client.invite(world.account, [Person(email=JANE)], ADMIN, heads_up_days=3)
    await world.mailed("heads_up", JANE)
    await world.pass_time(JANE, timedelta(days=3))
    await world.until(JANE, "pending")
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def announced_and_undeliverable(world: World) -> None:
    world.smtp.unknown.add(JANE)
    await world.client.invite(world.account, [Person(email=JANE)], ADMIN, heads_up_days=3)
    await world.until(JANE, "undeliverable")


async def joined_without_answer(world: World) -> None:
    await world.imported(world.account, managed_domains=[JANE.partition("@")[2]])
    await world.invite(JANE)
    await world.until(JANE, "completed")


async def answered_in_a_managed_domain_and_completed(world: World) -> None:
    await world.imported(world.account, managed_domains=[JANE.partition("@")[2]])
    await world.imported("jane-pro", plan="pro", users=[(JANE, "owner")])
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def moved_and_completed(world: World) -> None:
    await world.imported("jane-free", plan="free", users=[])
    owner = {"email": JANE, "role": "owner", "recordings": 3, "contacts": 7}
    await world.import_users("jane-free", [owner])
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def cleared_during_a_delivery_and_revoked(world: World) -> None:
    """Clear a blocker during a delivery; it is written after the delivery."""
    await _block(world)
    await world.pass_time(JANE, timedelta(hours=2))
    world.smtp.answers["RCPT"] = Misbehaviour.HESITATE
    await world.client.resend(world.account, JANE, ADMIN)
    await world.smtp.hesitates_at("RCPT")
    before = (await world.show(JANE)).blockers
    await world.remove_user("club", "b@c.example")
    await eventually(lambda: world.show(JANE), lambda invitation: invitation.blockers != before)
    world.smtp.go_on()
    await world.mailed("invitation", JANE, times=2)
    # By a minute, so that the steps after the delivery have run.
    await world.pass_time(JANE, timedelta(minutes=1))
    await world.client.revoke(world.account, JANE, ADMIN)


async def quoted_after_an_answer_and_completed(world: World) -> None:
    """Request previews that wait for the acceptance and are refused."""
    await a_paying_owner(world)
    await asyncio.gather(
        world.client.accept(world.account, JANE, Choice.TRANSFER),
        *(world.client.preview(world.account, JANE) for _ in range(3)),
        return_exceptions=True,
    )
    await world.until(JANE, "completed")


async def cancelled_while_refunding_and_completed(world: World) -> None:
    """Cancel the workflow in Temporal; it continues (OPS-10)."""
    refund = await _accept(world, Choice.REFUND)
    invitation = await world.until(JANE, "refunding")
    await world.temporal.client.get_workflow_handle(invitation.workflow_id).cancel()
    await eventually(
        lambda: world.show(JANE),
        lambda shown: any(entry.event == "cancel_requested" for entry in shown.journal),
    )
    await world.clock.pass_time(f"refund/{refund}", timedelta(days=8))
    await world.until(JANE, "completed")


async def terminated_restarted_and_completed(world: World) -> None:
    """Terminate the first run after the acceptance."""
    refund = await _accept(world, Choice.REFUND)
    client, invitation = world.temporal.client, await world.show(JANE)
    handle = client.get_workflow_handle(invitation.workflow_id)
    await handle.terminate("by hand")
    await world.recover(handle.id)
    await world.clock.pass_time(f"refund/{refund}", timedelta(days=8))
    await world.clock.pass_time(handle.id, timedelta(days=1))
    await world.until(JANE, "completed")


async def lapsed_and_cancelled(world: World) -> Order:
    order = await _buy(world, portal="account")
    await world.clock.pass_time(order.workflow_id, timedelta(hours=24))
    return await world.order_until(order.order_id, OrderState.CANCELLED)


async def declined_for_a_week_and_cancelled(world: World) -> Order:
    await _import_card(world, declines=9)
    order = await _buy(world)
    await world.clock.pass_time(order.workflow_id, timedelta(days=7))
    return await world.order_until(order.order_id, OrderState.CANCELLED)


async def declined_and_cancelled_by_the_buyer(world: World) -> Order:
    await _import_card(world, declines=1)
    order = await _buy(world)
    return await world.orders.cancel(order.order_id)


async def confirmed_reduced_renewed_and_ended(world: World) -> Order:
    order = await _buy(world, portal="account")
    await world.orders.confirm(order.order_id)
    reduced = await world.orders.change(order.order_id, 1)
    await _pass_to_due_time(world, reduced)
    await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    cancelled = await world.orders.cancel(order.order_id)
    await _pass_to_due_time(world, cancelled)
    return await world.order_until(order.order_id, OrderState.ENDED)


async def renewal_declined_recovered_and_ended(world: World) -> Order:
    order = await _buy(world)
    await _import_card(world, declines=1)
    await _pass_to_due_time(world, order)
    failed = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED)
    await _pass_to_due_time(world, failed)
    order = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    await _import_card(world, declines=9)
    await _pass_to_due_time(world, order)
    failed = await world.order_until(order.order_id, OrderState.PAYMENT_FAILED)
    await world.clock.pass_time(order.workflow_id, timedelta(days=7))
    return await world.order_until(order.order_id, OrderState.ENDED)


async def _buy(world: World, portal: Portal = "plans") -> Order:
    return await world.orders.buy(
        world.account,
        Sku.LARGE_MEETING,
        capacity=500,
        quantity=2,
        cycle="monthly",
        by=ADMIN,
        portal=portal,
    )


async def _import_card(world: World, declines: int) -> None:
    card = {"id": "card-1", "kind": "card", "declines": declines}
    await world.imported(world.account, payment_methods=[card])


async def _pass_to_due_time(world: World, order: Order) -> None:
    due = order.next_try_at() or order.paid_until
    assert due
    await world.clock.go_to(order.workflow_id, due)


async def assigned(world: World) -> None:
    await licensed_users(world)
    await _assign(world, ANN)


async def refused(world: World) -> None:
    await licensed_users(world)
    await _assign(world, *LICENSED, atomic=True)


async def waited_and_assigned(world: World) -> None:
    await licensed_users(world)
    await _assign(world, *LICENSED)
    await world.bought(500)


async def waited_for_days_and_assigned(world: World) -> None:
    await licensed_users(world)
    await _assign(world, *LICENSED, BASIC)
    request = await world.last_request()
    await world.clock.pass_time(request.id, timedelta(days=2))
    await world.bought(500)
    await world.licenses.unassign(world.account, Sku.WORKPLACE, [CLEO], ADMIN, cascade=True)
    await world.licenses.assign(world.account, Sku.WORKPLACE, [BASIC], ADMIN)


async def waited_and_released(world: World) -> None:
    await licensed_users(world)
    await _assign(world, *LICENSED)
    await world.licenses.unassign(world.account, Sku.LARGE_MEETING, LICENSED, ADMIN)


async def _assign(world: World, *emails: str, atomic: bool = False) -> None:
    await world.licenses.assign(world.account, Sku.LARGE_MEETING, emails, ADMIN, atomic=atomic)


async def reminded_and_completed(world: World) -> None:
    await world.pending(JANE)
    for times in (1, 2):
        await world.pass_time(JANE, timedelta(days=4))
        await _remind(world)
        await world.mailed("reminder", JANE, times)
    await _remind(world)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def reminded_while_blocked_and_revoked(world: World) -> None:
    await _block(world)
    await world.pass_time(JANE, timedelta(days=3))
    await _remind(world)
    await world.mailed("reminder", JANE)
    await world.client.revoke(world.account, JANE, ADMIN)


async def reminder_refused_and_undeliverable(world: World) -> None:
    await world.pending(JANE)
    await world.pass_time(JANE, timedelta(days=3))
    world.smtp.unknown.add(JANE)
    await _remind(world)
    await world.until(JANE, "undeliverable")


async def reminder_overtaken_and_declined(world: World) -> None:
    await world.pending(JANE)
    await world.pass_time(JANE, timedelta(days=3))
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await _remind(world)
    await world.client.decline(world.account, JANE)
    world.smtp.answers.clear()


async def _remind(world: World) -> None:
    invitation = await world.show(JANE)
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    await handle.signal("remind")
    await world.show(JANE)


async def requested_by_an_operator(world: World) -> ReminderRun:
    await world.pending(JANE)
    await world.pass_time(JANE, timedelta(days=3))
    return await world.reminders.run()


async def no_invitation_was_stale(world: World) -> ReminderRun:
    return await world.reminders.run()


async def _block(world: World) -> None:
    await world.imported("club", plan="free", users=[(JANE, "owner"), ("b@c.example", "member")])
    await world.pending(JANE)
    with suppress(Refused):
        await world.client.accept(world.account, JANE)


async def invited_in_batch(world: World) -> str:
    """Return the id of a batch with several slices."""
    rows = [
        BatchRow(position=position, person=Person(email=email))
        for position, email in enumerate((JANE, MEMBER, "bob@example.com"))
    ]
    async with worker_with_small_slices(world, slice_size=2) as small_slices:
        batch = await small_slices.bulk.submit(world.account, rows, ADMIN, batch_id="recorded")
        await world.temporal.client.get_workflow_handle(batch.workflow_id).result()
    return batch.workflow_id


async def _accept(world: World, choice: Choice, *, refundable: bool = True) -> str:
    await a_paying_owner(world, refundable=refundable)
    accepted = await world.client.accept(world.account, JANE, choice)
    settlement = accepted.settlement
    return (settlement and settlement.refund_id) or ""


INVITATIONS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        completed,
        completed_and_notified_later,
        declined,
        revoked,
        revoked_before_it_went_out,
        expired,
        undeliverable,
        resent_and_completed,
        blocked_by_1009_and_declined,
        refunded_and_completed,
        refund_converted_and_completed,
        refund_closed_and_completed,
        refund_terminated_closed_and_completed,
        transferred_and_completed,
        quote_expired_and_declined,
        unblocked_and_completed,
        rechecked_while_paused_and_revoked,
        superseded,
        announced_and_completed,
        announced_and_undeliverable,
        joined_without_answer,
        answered_in_a_managed_domain_and_completed,
        moved_and_completed,
        cleared_during_a_delivery_and_revoked,
        quoted_after_an_answer_and_completed,
        cancelled_while_refunding_and_completed,
        terminated_restarted_and_completed,
        reminded_and_completed,
        reminded_while_blocked_and_revoked,
        reminder_refused_and_undeliverable,
        reminder_overtaken_and_declined,
    )
}

ORDERS: dict[str, Purchase] = {
    purchase.__name__: purchase
    for purchase in (
        lapsed_and_cancelled,
        declined_for_a_week_and_cancelled,
        declined_and_cancelled_by_the_buyer,
        confirmed_reduced_renewed_and_ended,
        renewal_declined_recovered_and_ended,
    )
}
"""One order for each way to its end."""

ASSIGNMENTS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        assigned,
        refused,
        waited_and_assigned,
        waited_for_days_and_assigned,
        waited_and_released,
    )
}

REMINDER_RUNS: dict[str, Callable[[World], Awaitable[ReminderRun]]] = {
    scenario.__name__: scenario for scenario in (requested_by_an_operator, no_invitation_was_stale)
}
