"""Workers in a restored database: they start no work until it is reconciled."""

import asyncio
import logging
from datetime import timedelta

import pytest

from adapters.sql.database.transaction import DatabaseRestored, writing
from domain.invitation import Choice, InvitationState
from domain.refund import RefundState
from runtime.restore_guard import as_worker
from tests.eventually import eventually
from tests.world import JANE, World, a_paying_owner


async def test_workers_do_nothing_in_a_restored_database_until_it_is_reconciled(
    world_without_worker: World, caplog: pytest.LogCaptureFixture
) -> None:
    """OPS-6: no e-mail, no acceptance, no refund, no row of the outbox; the log says why."""
    world = world_without_worker.patient()
    async with world.working():
        await a_paying_owner(world)
    sent = len(world.smtp.received)
    await world.store.restore.mark()
    await world.store.outbox.add_starts(["assignment/acme/none"], after=timedelta())
    with caplog.at_level(logging.WARNING):
        async with world.working():
            accepting = asyncio.create_task(world.client.accept(world.account, JANE, Choice.REFUND))
            await eventually(lambda: handed_back(world))
            await asyncio.sleep(1)
            assert (await world.stored(JANE)).state is InvitationState.PENDING
            assert len(world.smtp.received) == sent
            [row] = await world.store.outbox.listed()
            assert row.attempts == 0
            assert "work waits for `seatflow reconcile --fix`" in caplog.text
            assert "Traceback" not in caplog.text

            async with world.clients.reconciliation() as client:
                assert (await client.fix()).divergences == ()
            accepted = await accepting
            assert accepted.settlement
            await world.refund_until(accepted.settlement.refund_id or "", RefundState.PROCESSING)
            assert await eventually(world.store.outbox.listed, until=lambda rows: not rows) == []
    assert await world.audit() == ()


async def handed_back(world: World) -> bool:
    """Return whether the activity of the acceptance waits for its next attempt."""
    stored = await world.stored(JANE)
    handle = world.temporal.client.get_workflow_handle(stored.workflow_id)
    pending = (await handle.describe()).raw_description.pending_activities
    return any("was restored" in each.last_failure.message for each in pending)


async def test_no_transaction_of_a_worker_changes_a_restored_database(world: World) -> None:
    """OPS-6: also one of an activity that has begun before the mark; commands still write."""
    await world.store.restore.mark()
    with as_worker(), pytest.raises(DatabaseRestored):
        async with writing(world.store.engine):
            pass
    async with writing(world.store.engine):
        pass
    await world.store.restore.remove_mark()
    with as_worker():
        async with writing(world.store.engine):
            pass
