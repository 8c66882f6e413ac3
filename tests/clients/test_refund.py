"""Refund requests, answered by the workflow or by the store."""

from dataclasses import replace
from datetime import timedelta

from temporalio.client import Client

from domain.error import Unavailable
from domain.refund import RefundState
from tests.workflows.test_refund import a_refund
from tests.world import World, refusal_of


async def unreachable() -> Client:
    raise Unavailable("Temporal is unreachable.")


async def test_a_closed_refund_is_read_from_the_store_alone(world: World) -> None:
    """REF-4: requests are answered or refused by its state, long after its run."""
    refund = await a_refund(world)
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    settled = await world.refund_until(refund.refund_id, RefundState.SETTLED)
    temporal = replace(world.refunds.temporal, connect=unreachable)
    without_temporal = replace(world.refunds, temporal=temporal)
    assert await without_temporal.show(refund.refund_id) == settled
    for state in (RefundState.SETTLED, None):
        assert await without_temporal.list(state) == [settled]
    assert await without_temporal.list(RefundState.FAILED) == []
    for request in (
        without_temporal.convert(refund.refund_id),
        without_temporal.retry(refund.refund_id, "card-2"),
        without_temporal.close(refund.refund_id, "lost"),
    ):
        assert await refusal_of(request) == "conflict"


async def test_a_refund_in_process_is_neither_converted_nor_closed(world: World) -> None:
    """REF-4: only a failed refund is converted, retried or closed; the workflow refuses."""
    refund = await a_refund(world)
    for request in (
        world.refunds.convert(refund.refund_id),
        world.refunds.retry(refund.refund_id),
        world.refunds.close(refund.refund_id, "lost"),
    ):
        assert await refusal_of(request) == "conflict"
    assert (await world.refunds.show(refund.refund_id)).state is RefundState.PROCESSING
