"""Tests of the settlement of a paid account: quote, choice, refund or credit."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState, Person
from domain.license import Sku
from domain.order import OrderState
from domain.refund import RefundState
from tests.world import ADMIN, JANE, OWNER, World, a_paying_owner, refusal_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_a_refund_is_settled_by_the_provider_and_completes_the_invitation(
    world: World,
) -> None:
    """REF-1, REF-2, REF-6: looked up from the third business day on, settled on the fourth."""
    await a_paying_owner(world)
    preview = await world.client.preview(world.account, JANE)
    assert preview.amount is not None
    assert preview.amount.amount == Decimal("100.00")
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.choice is Choice.REFUND
    assert accepted.settlement is not None
    assert accepted.settlement.amount == preview.amount
    refund_id = accepted.settlement.refund_id
    assert refund_id is not None
    await world.until(JANE, "refunding")
    refund = await world.refund_until(refund_id, RefundState.PROCESSING)
    assert [str(part.amount.amount) for part in refund.parts] == ["75.00", "25.00"]
    await world.mailed("refund_requested", JANE)
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    settled = await world.refund_until(refund_id, RefundState.SETTLED)
    assert settled.amount_open.amount == 0
    assert settled.settled_at is not None
    await world.mailed("refund_settled", JANE)
    completed = await world.until(JANE, "completed")
    assert completed.settlement == accepted.settlement
    assert await world.audit() == ()


async def test_the_invitation_e_mail_shows_the_estimate_and_records_none(world: World) -> None:
    """QUO-1, QUO-5: the amounts of `preview`; the quote is recorded when it is shown."""
    await a_paying_owner(world)
    text = (await world.mailed("invitation", JANE)).text
    preview = await world.client.preview(world.account, JANE)
    assert preview.refund and preview.refund.arrives_between
    assert preview.refund.amount.amount == Decimal("100.00")
    assert "a refund of about €100.00 to the original payment methods" in text
    for day in preview.refund.arrives_between:
        assert f"{day:%A}, {day.day} {day:%B} {day.year}" in text
    [row] = await world.client.invite(world.account, [Person(email="new@club.example")], ADMIN)
    assert row.result == "invited"
    text = (await world.mailed("invitation", "new@club.example")).text
    assert "subscription" not in text and "refund" not in text


async def test_without_a_choice_nothing_changes(world: World) -> None:
    """QUO-4, OPS-5: a refusal is a value, and no failed activity."""
    await a_paying_owner(world)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "choice_required"
    assert (await world.show(JANE)).state is InvitationState.PENDING
    assert not [event for event in await world.events(JANE) if "ACTIVITY_TASK_FAILED" in event]


async def test_a_transfer_credits_the_target_and_notifies_its_admins(world: World) -> None:
    """CRD-1, CRD-2: one entry; the letter has the exact amount and the person."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.TRANSFER)
    assert accepted.settlement is not None
    assert accepted.settlement.refund_id is None
    await world.until(JANE, "completed")
    credit = await world.store.credits.show(world.account)
    assert credit.balance.amount == Decimal("100.00")
    for admin in (OWNER, ADMIN):
        mail = await world.mailed("credit_received", admin)
        assert "100.00" in mail.text
    await world.mailed("transferred", JANE)
    assert await world.audit() == ()


async def test_a_transfer_into_another_currency_is_refused_and_a_refund_remains(
    world: World,
) -> None:
    """QUO-6."""
    await a_paying_owner(world, currency="USD")
    answer = world.client.accept(world.account, JANE, Choice.TRANSFER)
    assert await refusal_of(answer) == "currency_mismatch"
    assert (await world.client.accept(world.account, JANE, Choice.REFUND)).state.accepted


async def test_a_shown_quote_binds_only_while_it_is_valid(world: World) -> None:
    """QUO-5: every preview shows it; later a new quote is returned and binds."""
    await a_paying_owner(world)
    first = await world.client.preview(world.account, JANE)
    await world.pass_time(JANE, 23 * HOUR)
    assert (await world.client.preview(world.account, JANE)).amount == first.amount
    await world.pass_time(JANE, 48 * HOUR)
    with pytest.raises(Refused) as refused:
        await world.client.accept(world.account, JANE, Choice.REFUND)
    assert refused.value.code is ErrorCode.QUOTE_EXPIRED
    second = refused.value.details["quote"]
    assert isinstance(second, dict)
    assert isinstance(second["amount"], dict)
    assert second["amount"]["amount"] != str(first.amount.amount if first.amount else None)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    assert str(accepted.settlement.amount.amount) == second["amount"]["amount"]


async def test_an_add_on_that_ends_after_the_preview_voids_the_quote(world: World) -> None:
    """QUO-5, OPS-4: the new quote is in the refusal and binds; the other requests are answered."""
    await a_paying_owner(world)
    # In ten days: the invitation is then still open.
    billing_day = (await world.clock.now((await world.show(JANE)).workflow_id) + 10 * DAY).day
    await world.imported("jane-pro", plan="pro", users=[(JANE, "owner")], billing_day=billing_day)
    order = await world.orders.buy(
        "jane-pro", Sku.LARGE_MEETING, capacity=500, quantity=1, cycle="monthly", by=JANE
    )
    assert order.paid_until
    await world.orders.cancel(order.order_id)
    await world.go_to(JANE, order.paid_until - 2 * HOUR)
    evening = await world.client.preview(world.account, JANE)
    assert order.order_id in {line.subscription for line in evening.lines if line.unused.amount}
    await world.clock.go_to(order.workflow_id, order.paid_until)
    await world.order_until(order.order_id, OrderState.ENDED)
    with pytest.raises(Refused) as refused:
        await world.client.accept(world.account, JANE, Choice.REFUND)
    assert refused.value.code is ErrorCode.QUOTE_EXPIRED
    quote = refused.value.details["quote"]
    assert isinstance(quote, dict)
    assert (await world.client.show(world.account, JANE)).state is InvitationState.PENDING
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement
    assert accepted.settlement.amount.model_dump(mode="json") == quote["amount"]
    assert await world.audit() == ()


async def test_a_preview_after_an_answer_is_refused(world: World) -> None:
    """QUO-8: there is no choice left after an answer."""
    await a_paying_owner(world)
    shown = await world.client.preview(world.account, JANE)
    _, *previews = await asyncio.gather(
        world.client.accept(world.account, JANE, Choice.REFUND),
        *(world.client.preview(world.account, JANE) for _ in range(4)),
        return_exceptions=True,
    )
    for preview in previews:
        if isinstance(preview, Refused):
            assert preview.code is ErrorCode.ALREADY_ACCEPTED
        else:
            assert preview == shown


async def test_fifty_concurrent_acceptances_make_one_refund(world: World) -> None:
    """REF-5."""
    await a_paying_owner(world)
    answers = await asyncio.gather(
        *(world.client.accept(world.account, JANE, Choice.REFUND) for _ in range(50))
    )
    assert len({answer.settlement.refund_id for answer in answers if answer.settlement}) == 1
    assert len(await world.store.refunds.listed(None)) == 1
    other = world.client.accept(world.account, JANE, Choice.TRANSFER)
    assert await refusal_of(other) == "already_accepted"
    assert await world.audit() == ()
