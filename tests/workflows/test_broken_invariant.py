"""Changes that would break an invariant of the store, in requests and without one (OPS-4)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from temporalio.client import WorkflowExecutionStatus

from domain.attention import AttentionKind
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState
from domain.license import Sku
from domain.order import OrderState
from domain.refund import RefundState
from runtime.attention import Attention
from tests.eventually import TIMEOUT, eventually
from tests.world import ADMIN, JANE, World, a_paying_owner, refusal_of

RETRY_AGAIN = timedelta(hours=2)
"""Longer than the longest interval between attempts."""


@asynccontextmanager
async def broken(world: World, table: str) -> AsyncIterator[None]:
    """Make the database refuse every change of a row of `table` during the body."""
    name = f"{table}_are_broken"
    reason = f"RAISE(ABORT, 'rows of {table} are broken')"
    async with world.store.engine.begin() as connection:
        await connection.execute(
            text(f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} BEGIN SELECT {reason}; END")
        )
    yield
    async with world.store.engine.begin() as connection:
        await connection.execute(text(f"DROP TRIGGER {name}"))


async def is_running(world: World, workflow_id: str) -> bool:
    handle = world.temporal.client.get_workflow_handle(workflow_id)
    return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING


async def test_a_request_that_would_break_an_invariant_is_refused_at_once(world: World) -> None:
    """OPS-4: the refusal names the constraint, and the invitation still accepts requests."""
    await world.pending(JANE)
    async with broken(world, "invitations"):
        for request in (
            world.client.accept(world.account, JANE),
            world.client.decline(world.account, JANE),
            world.client.revoke(world.account, JANE, ADMIN),
        ):
            with pytest.raises(Refused, match="rows of invitations are broken") as refused:
                await request
            assert refused.value.code is ErrorCode.INVARIANT_BROKEN
        assert (await world.show(JANE)).state is InvitationState.PENDING
        listed = await Attention(world.clients).cases()
        assert {(each.kind, each.id) for each in listed} == {
            (AttentionKind.INVARIANT_BROKEN, (await world.show(JANE)).workflow_id)
        }
    declined = await world.client.decline(world.account, JANE)
    assert declined.state is InvitationState.DECLINED
    await eventually(
        lambda: Attention(world.clients).cases(), lambda cases: cases == [], within=TIMEOUT
    )


async def test_a_broken_invariant_leaves_the_list_when_the_change_succeeds(world: World) -> None:
    """OPS-4, OPS-5: the invitation runs on, and nothing is left to do."""
    await a_paying_owner(world)
    async with broken(world, "invitations"):
        assert (
            await refusal_of(world.client.accept(world.account, JANE, Choice.REFUND))
            == "invariant_broken"
        )
        [case] = await Attention(world.clients).cases()
        assert case.kind is AttentionKind.INVARIANT_BROKEN
    assert (await world.client.accept(world.account, JANE, Choice.REFUND)).state.accepted
    await world.until(JANE, "refunding")
    await eventually(lambda: Attention(world.clients).cases(), lambda cases: cases == [])


async def test_an_expiry_that_would_break_an_invariant_is_repeated(world: World) -> None:
    """OPS-4: meanwhile the invitation answers; afterwards it expires."""
    pending = await world.pending(JANE)
    async with broken(world, "invitations"):
        await world.pass_time(JANE, timedelta(days=30, minutes=10))
        assert await is_running(world, pending.workflow_id)
        assert (await world.show(JANE)).state is InvitationState.PENDING
        assert await refusal_of(world.client.accept(world.account, JANE)) == "expired"
    await world.pass_time(JANE, RETRY_AGAIN)
    await world.until(JANE, "expired")


async def test_an_e_mail_whose_record_would_break_an_invariant_is_sent_once(world: World) -> None:
    """OPS-4, INV-4: the delivery is repeated until it is recorded."""
    async with broken(world, "invitations"):
        await world.invite(JANE)
        await world.mailed("invitation", JANE)
    await world.pass_time(JANE, RETRY_AGAIN)
    await world.until(JANE, "pending")
    assert len(world.mails(to=JANE, event="invitation")) == 1


async def test_a_renewal_that_would_break_an_invariant_is_repeated(world: World) -> None:
    """OPS-4: the order is charged once, and still accepts requests."""
    order = await world.orders.buy(
        world.account, Sku.WORKPLACE, quantity=2, cycle="monthly", by=ADMIN
    )
    assert order.paid_until
    async with broken(world, "orders"):
        await world.clock.go_to(order.workflow_id, order.paid_until + timedelta(minutes=10))
        assert await is_running(world, order.workflow_id)
        cancel = world.orders.cancel(order.order_id)
        assert await refusal_of(cancel) == "invariant_broken"
    await world.clock.pass_time(order.workflow_id, RETRY_AGAIN)
    renewed = await world.orders.show(order.order_id)
    assert (renewed.state, len(renewed.invoices)) == (OrderState.ACTIVE, 2)
    assert await world.audit() == ()


@pytest.mark.full
async def test_a_settlement_that_would_break_an_invariant_is_repeated(world: World) -> None:
    """OPS-4: the refund is no late success, and settles afterwards."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement
    refund_id = accepted.settlement.refund_id or ""
    refund = await world.refund_until(refund_id, RefundState.PROCESSING)
    async with broken(world, "refunds"):
        await world.clock.pass_time(refund.workflow_id, timedelta(days=7))
        assert await is_running(world, refund.workflow_id)
        assert (await world.refunds.show(refund_id)).not_reversed is None
    await world.clock.pass_time(refund.workflow_id, timedelta(days=4))
    settled = await world.refund_until(refund_id, RefundState.SETTLED)
    assert settled.not_reversed is None
    assert await world.audit() == ()
