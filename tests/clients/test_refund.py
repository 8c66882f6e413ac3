"""Refund requests, answered by the workflow or by the store."""

from dataclasses import replace
from datetime import timedelta

from temporalio.client import Client

from domain.error import Unavailable
from domain.refund import RefundState
from tests.workflows.test_refund import a_refund
from tests.world import World, refusal_of


async def nobody() -> Client:
    raise Unavailable("Temporal is not there.")


async def test_a_closed_refund_is_read_from_the_store_alone(world: World) -> None:
    """REF-4: requests are answered or refused by its state, long after its run."""
    refund = await a_refund(world)
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    settled = await world.refund_until(refund.refund_id, RefundState.SETTLED)
    temporal = replace(world.refunds.temporal, connect=nobody)
    alone = replace(world.refunds, temporal=temporal)
    assert await alone.show(refund.refund_id) == settled
    assert await alone.list(RefundState.SETTLED) == await alone.list() == [settled]
    assert await alone.list(RefundState.FAILED) == []
    for request in (
        alone.convert(refund.refund_id),
        alone.retry(refund.refund_id, "card-2"),
        alone.close(refund.refund_id, "lost"),
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
