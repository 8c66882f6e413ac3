"""The relay: each row of the outbox is carried out, independently of the others (OPS-1)."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from temporalio.client import WorkflowExecutionStatus

from adapters.sql.database.schema import OutboxRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.outbox import signal_workflow, start_workflow
from domain.invitation import Choice, InvitationState, License
from domain.outbox import DIRECTORY_CHANGED, FollowUp
from domain.refund import RefundState
from runtime.recovery import Recovery
from runtime.relay import Relay
from runtime.wiring import background_task, relay_of
from tests.eventually import TIMEOUT, eventually
from tests.world import ADMIN, JANE, OWNER, World, a_paying_owner


async def rows(world: World) -> list[OutboxRow]:
    """Return the rows that were not carried out yet."""
    async with reading(world.store.engine) as session:
        return list(await session.scalars(select(OutboxRow).order_by(OutboxRow.number)))


async def signals_received(world: World, workflow_id: str) -> int:
    history = await world.temporal.client.get_workflow_handle(workflow_id).fetch_history()
    return sum(
        event.HasField("workflow_execution_signaled_event_attributes") for event in history.events
    )


async def test_several_workers_carry_out_each_row_once(world_without_worker: World) -> None:
    """OPS-1: each row has its effect once, with any number of workers."""
    world = world_without_worker.patient()
    carried_out = Counter[int]()

    class CountingRelay(Relay):
        async def carry_out(self, row: FollowUp) -> None:
            carried_out[row.number] += 1
            await super().carry_out(row)

    async with world.working():
        await world.pending(JANE)
    stored = await world.stored(JANE)
    async with writing(world.store.engine) as session:
        for _ in range(40):
            signal_workflow(
                session,
                stored.workflow_id,
                DIRECTORY_CHANGED,
                account=world.account,
                at=datetime.now(UTC),
            )
    relay = relay_of(world.temporal.client, world.settings, world.store)
    counting = CountingRelay(
        relay.client, relay.outbox, relay.recovery, relay.starter, relay.guard, sweeps=()
    )
    async with (
        background_task(counting.relay_forever()),
        background_task(replace(counting, _running=set()).relay_forever()),
        background_task(replace(counting, _running=set()).relay_forever()),
    ):
        await eventually(lambda: rows(world), lambda left: left == [])
    assert set(carried_out.values()) == {1}
    assert len(carried_out) == 40
    assert await signals_received(world, stored.workflow_id) == 40


async def test_a_row_that_cannot_be_carried_out_delays_no_other(world: World) -> None:
    """OPS-1: it waits for an operator; the row behind it is carried out."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    await world.refund_until(refund_id, RefundState.PROCESSING)
    handle = world.temporal.client.get_workflow_handle(f"refund/{refund_id}")
    await handle.terminate("by hand")
    async with writing(world.store.engine) as session:
        for workflow_id in ("refund/unknown", handle.id):
            await start_workflow(session, workflow_id, world.account, datetime.now(UTC))

    async def status() -> WorkflowExecutionStatus | None:
        return (await handle.describe()).status

    await eventually(status, lambda each: each is WorkflowExecutionStatus.RUNNING)
    [stuck] = await eventually(lambda: rows(world), lambda left: len(left) == 1)
    assert (stuck.workflow_id, stuck.given_up) == ("refund/unknown", True)
    assert stuck.failure == "There is no refund unknown."


async def test_lost_workflows_are_found_and_restarted(world: World) -> None:
    """REF-6, INV-15: one terminated refund is restarted, one unanswered invitation revoked."""
    pending = await world.pending("ann@person.example", License.LICENSED)
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    await world.refund_until(refund_id, RefundState.PROCESSING)
    client = world.temporal.client
    for workflow_id in (pending.workflow_id, accepted.workflow_id, f"refund/{refund_id}"):
        await client.get_workflow_handle(workflow_id).terminate("by hand")

    async def closed() -> int:
        query = f"AccountId = '{world.account}' AND ExecutionStatus = 'Terminated'"
        return (await client.count_workflows(query)).count

    await eventually(closed, lambda count: count == 3)
    relay = relay_of(client, world.settings, world.store)
    recovery = replace(relay.recovery, restart_after=timedelta())
    async with background_task(replace(relay, recovery=recovery).relay_forever()):
        await world.until("ann@person.example", "revoked")
        await eventually(
            lambda: world.temporal.client.get_workflow_handle(f"refund/{refund_id}").describe(),
            lambda described: described.status is WorkflowExecutionStatus.RUNNING,
        )
    shown = await eventually(
        lambda: world.show(JANE), lambda each: each.state is InvitationState.REFUNDING
    )
    assert shown.settlement == accepted.settlement
    assert await world.free_seats() == 2


async def test_the_daily_search_restarts_what_temporal_has_lost(world: World) -> None:
    """INV-11: a workflow that Temporal does not know any more continues from its record."""
    pending = await world.pending(JANE)
    await world.forget(JANE)
    recovery = Recovery(world.clients, restart_after=timedelta())
    await world.store.outbox.add_sweeps(["everything"])
    [row] = await world.store.outbox.lease(1, timedelta(minutes=1))
    await recovery.sweep(row)
    await eventually(lambda: rows(world), lambda left: len(left) == 1)
    shown = await world.show(JANE)
    assert (shown.state, shown.journal) == (InvitationState.PENDING, pending.journal)
    assert (shown.expires_at, shown.link) == (pending.expires_at, pending.link)
    assert (await world.client.accept(world.account, JANE)).state.accepted


async def test_a_full_mailbox_delays_neither_the_refund_nor_other_letters(world: World) -> None:
    """OPS-2: the invitation completes; inviter and admins get their letters at once."""
    await a_paying_owner(world)
    world.smtp.full.add(JANE)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    await world.mailed("accepted", ADMIN)
    await world.refund_until(refund_id, RefundState.PROCESSING)
    await world.clock.pass_time(f"refund/{refund_id}", timedelta(days=8))
    await world.until(JANE, "completed")
    waiting = {row.key for row in await rows(world)}
    assert any(key and key.startswith("welcome.") for key in waiting)
    world.smtp.full.clear()
    await world.mailed("welcome", JANE)
    assert await world.audit() == ()


async def test_letters_are_activities_that_operators_can_see(world: World) -> None:
    """OPS-2: one for each recipient, found by account, without an address in its id."""
    await a_paying_owner(world)
    world.smtp.full |= {JANE, ADMIN, OWNER}
    await world.client.accept(world.account, JANE, Choice.TRANSFER)
    client = world.temporal.client

    async def running() -> list[str]:
        query = f"AccountId = '{world.account}' AND ExecutionStatus = 'Running'"
        return [each.activity_id async for each in client.list_activities(query)]

    ids = await eventually(running, lambda found: len(found) >= 4, within=3 * TIMEOUT)
    assert all(each.startswith("letter/") and "@" not in each for each in ids)
    world.smtp.full.clear()
    for admin in (ADMIN, OWNER):
        await world.mailed("credit_received", admin)
    await eventually(lambda: rows(world), lambda left: left == [])
