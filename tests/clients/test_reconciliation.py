"""Restored databases and lost workflows: differences are found, and removed without loss."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from adapters.provider import LedgerProvider
from adapters.sql.database.schema import ProviderChargeRow
from adapters.sql.database.transaction import reading
from clients.comparison import Comparison
from clients.invitation_start import InvitationTerms
from clients.invoice import charge_request
from clients.workflow_history import described
from domain.batch import BatchRow
from domain.invitation import CarriedInvitation, Choice, Invitation, Invite, License, Person
from domain.journal import OPERATOR
from domain.license import Sku
from domain.order import Order, OrderState
from domain.reconciliation import Reconciliation
from domain.refund import RefundState
from states.invitation import initial_record
from tests.eventually import eventually
from tests.restore.snapshot import Snapshot
from tests.world import (
    ADMIN,
    JANE,
    LICENSED,
    World,
    a_paying_owner,
    licensed_users,
    refusal_of,
)

BOB = "bob@example.com"


async def check(world: World) -> Reconciliation:
    async with world.clients.reconciliation() as client:
        return await client.check()


async def fix(world: World) -> Reconciliation:
    async with world.clients.reconciliation() as client:
        return await client.fix()


async def state_in_store(world: World, workflow_id: str) -> str | None:
    """Return the state that a comparison reads for the record of a workflow."""
    async with world.clients.reconciliation() as client:
        repair = client.repair
        comparison = Comparison(
            repair.temporal, repair.store, repair.provider, lambda _done, _total: None
        )
        return (await comparison.state_in_store(workflow_id))[0]


def kinds(found: Reconciliation) -> list[str]:
    return sorted(each.kind for each in found.divergences)


async def test_a_healthy_installation_has_no_differences(world: World) -> None:
    """OPS-6: running and ended lifecycles agree on all sides."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement
    await world.refund_until(accepted.settlement.refund_id or "", RefundState.PROCESSING)
    await world.pending(BOB, License.LICENSED)
    await world.pending("eve@example.com")
    await world.client.decline(world.account, "eve@example.com")
    found = await check(world)
    assert found.divergences == ()
    assert found.checked["workflows"] == 4
    assert (found.checked["refunds"], found.checked["provider_refunds"]) == (2, 2)


async def test_a_refund_that_ends_during_a_comparison_is_no_difference(world: World) -> None:
    """OPS-6: it was listed as unfinished, and is settled when its record is read."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement
    refund_id = accepted.settlement.refund_id or ""
    refund = await world.refund_until(refund_id, RefundState.PROCESSING)
    assert await state_in_store(world, refund.workflow_id) == "processing"
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    await world.refund_until(refund_id, RefundState.SETTLED)
    assert await state_in_store(world, refund.workflow_id) is None


async def recorded_fixes(world: World) -> set[str]:
    """Return the subjects whose remedies are recorded with an author (OPS-8)."""
    changes = await world.store.changes.listed()
    return {each.subject for each in changes if each.action == "reconcile --fix"}


async def test_an_acceptance_that_a_restored_database_lacks_is_committed_again(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, INV-11: with the same run, refund and settlement; nothing is refunded twice."""
    world = world_without_worker.patient()
    async with world.working():
        await a_paying_owner(world)
        snapshot = await Snapshot.of(world, tmp_path)
        accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
        assert accepted.settlement
        refund_id = accepted.settlement.refund_id or ""
        before = await world.refund_until(refund_id, RefundState.PROCESSING)
    await snapshot.restore(world)
    found = await check(world)
    assert kinds(found) == ["acceptance_missing", "record_missing"]
    acceptance = next(each for each in found.divergences if each.kind == "acceptance_missing")
    assert (acceptance.store, acceptance.elsewhere) == ("pending", "refunding")

    fixed = await fix(world)
    assert (fixed.divergences, len(fixed.fixed)) == ((), len(found.divergences) + 2)
    assert (await check(world)).divergences == ()
    assert await recorded_fixes(world) == {each.subject for each in fixed.fixed}
    assert await world.audit() == ()
    stored = await world.stored(JANE)
    assert (stored.run_id, stored.settlement) == (accepted.run_id, accepted.settlement)
    async with world.working():
        after = await world.refund_until(refund_id, RefundState.PROCESSING)
        assert [part.amount for part in after.parts] == [part.amount for part in before.parts]
        await world.clock.pass_time(after.workflow_id, timedelta(days=8))
        await world.refund_until(refund_id, RefundState.SETTLED)
        await world.clock.pass_time(accepted.workflow_id, timedelta(days=1))
        await world.until(JANE, "completed")
    assert await world.audit() == ()
    assert (await check(world)).divergences == ()


async def test_a_completed_acceptance_is_committed_again_with_the_data_that_moved(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, TRF-1: the workflow has ended; the person and their data join the account again."""
    world = world_without_worker.patient()
    async with world.working():
        await world.imported(
            "janes",
            plan="free",
            users=[(JANE, "owner")],
        )
        await world.pending(JANE, License.LICENSED)
        snapshot = await Snapshot.of(world, tmp_path)
        await world.client.accept(world.account, JANE)
        completed = await world.until(JANE, "completed")
    await snapshot.restore(world)
    fixed = await fix(world)
    assert [each.kind for each in fixed.fixed] == ["acceptance_missing"]
    async with world.working():
        again = await world.until(JANE, "completed")
    assert [item.status for item in again.manifest] == [item.status for item in completed.manifest]
    assert JANE in await world.members()
    assert await world.audit() == ()
    assert (await check(world)).divergences == ()


async def test_invitations_made_after_the_snapshot_are_written_from_their_workflows(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, INV-7, INV-15: pending ones with their seat, ended ones with their end."""
    world = world_without_worker.patient()
    async with world.working():
        snapshot = await Snapshot.of(world, tmp_path)
        pending = await world.pending(JANE, License.LICENSED)
        await world.pending(BOB, License.LICENSED)
        await world.client.decline(world.account, BOB, "No time.")
        second = await world.pending(BOB)
    await snapshot.restore(world)
    assert kinds(await check(world)) == ["record_missing"] * 3
    assert (await fix(world)).divergences == ()
    assert await world.free_seats() == 1
    assert (await world.stored(JANE)).journal == pending.journal
    assert (await world.stored(BOB)).run_id == second.run_id
    ended = await world.client.list(world.account, everything=True)
    assert sorted(each.state for each in ended) == ["declined", "pending", "pending"]
    async with world.working():
        assert (await world.client.accept(world.account, JANE)).state.accepted
        assert (await world.client.accept(world.account, BOB)).state.accepted
        await world.until(JANE, "completed")
    assert await world.audit() == ()


@pytest.mark.parametrize("managed", [False, True])
async def test_a_workflow_that_found_no_claim_is_not_written(
    managed: bool, world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, INV-15: its start was answered too late; only the invitation made after it counts."""
    world = world_without_worker.patient()
    async with world.working():
        if managed:
            await world.imported(world.account, managed_domains=["example.com"])
        snapshot = await Snapshot.of(world, tmp_path)
        await start_without_claim(world, managed_domains=["example.com"] if managed else [])
        assert (await world.invite(JANE)).result == "invited"
        if not managed:
            await world.until(JANE, "pending")
            await world.client.accept(world.account, JANE)
        completed = await world.until(JANE, "completed")
    await snapshot.restore(world)
    assert kinds(await check(world)) == ["record_missing"]
    assert (await fix(world)).divergences == ()
    assert (await world.stored(JANE)).run_id == completed.run_id
    async with world.working():
        await world.until(JANE, "completed")
    assert await world.audit() == ()


async def start_without_claim(world: World, managed_domains: Sequence[str]) -> None:
    """Start a workflow for Jane whose claim was released meanwhile."""
    starter = world.clients.invitation_starter
    invite, initial = jane_invited(world, managed_domains)
    await starter.start_workflow(invite, initial)
    client = await world.clients.connect()
    await eventually(
        lambda: described(client, invite.workflow_id),
        until=lambda last: last and last.status is WorkflowExecutionStatus.FAILED,
    )


def jane_invited(world: World, managed_domains: Sequence[str] = ()) -> tuple[Invite, Invitation]:
    """Return a request to invite Jane, and its initial record."""
    terms = InvitationTerms(
        account=world.account,
        by=ADMIN,
        policy=world.settings.policy,
        managed_domains=managed_domains,
    )
    person = Person(email=JANE, license=License.LICENSED)
    invite = world.clients.invitation_starter.invite_of(person, terms, uuid4().hex)
    return invite, initial_record(invite, run_id="", at=datetime.now(UTC))


async def test_a_claim_that_was_released_after_the_snapshot_is_released_again(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, INV-15: the invitation that followed it is written, and one seat is reserved."""
    world = world_without_worker.patient()
    async with world.working():
        seats = await world.free_seats()
        invite, initial = jane_invited(world)
        assert await world.store.invitations.claim(invite, initial, datetime.now(UTC)) is None
        snapshot = await Snapshot.of(world, tmp_path)
        await world.store.invitations.release(invite.invitation_id)
        invited = await world.pending(JANE, License.LICENSED)
    await snapshot.restore(world)
    assert (await fix(world)).divergences == ()
    assert (await world.stored(JANE)).run_id == invited.run_id
    assert await world.free_seats() == seats - 1
    assert await world.audit() == ()


async def test_an_acceptance_that_is_not_possible_any_more_ends_the_invitation(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, INV-8: a blocker is back; operators see it, and the person can be invited again."""
    world = world_without_worker.patient()
    async with world.working():
        await world.imported(
            "janes",
            plan="free",
            users=[(JANE, "owner"), (BOB, "member")],
        )
        await world.pending(JANE)
        snapshot = await Snapshot.of(world, tmp_path)
        await world.remove_user("janes", BOB)
        await world.client.accept(world.account, JANE)
        await world.until(JANE, "completed")
    await snapshot.restore(world)
    left = await fix(world)
    assert kinds(left) == ["acceptance_missing"]
    assert (await world.stored(JANE)).state == "revoked"
    assert (await check(world)).divergences == ()
    [case] = [each for each in await world.store.attention.cases() if each.kind == "divergence"]
    assert case.account == world.account
    assert case.id.startswith("invitation/")
    assert JANE not in case.message
    assert await world.store.restore.settle(int(case.remedy.rpartition(" ")[2]))
    assert await world.store.attention.cases() == []
    async with world.working():
        assert (await world.invite(JANE)).result == "invited"
    assert await world.audit() == ()


async def test_lost_workflows_are_restarted_from_their_records(
    world_without_worker: World,
) -> None:
    """OPS-6: Temporal has lost them; a pending invitation keeps its link and its deadline."""
    world = world_without_worker.patient()
    async with world.working():
        await a_paying_owner(world)
        accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
        assert accepted.settlement
        refund_id = accepted.settlement.refund_id or ""
        refund = await world.refund_until(refund_id, RefundState.PROCESSING)
        pending = await world.pending(BOB, License.LICENSED)
        await world.forget(JANE)
        await world.forget(BOB)
    found = await check(world)
    assert kinds(found) == ["workflow_missing"] * 2
    assert (await fix(world)).divergences == ()
    assert (await check(world)).divergences == ()
    async with world.working():
        shown = await world.show(BOB)
        assert (shown.expires_at, shown.link) == (pending.expires_at, pending.link)
        assert await refusal_of(world.client.resend(world.account, BOB, ADMIN)) == "rate_limited"
        await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
        await world.refund_until(refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
    assert await world.audit() == ()


async def an_order(world: World) -> Order:
    return await world.orders.buy(
        world.account, Sku.LARGE_MEETING, capacity=500, quantity=2, cycle="monthly", by=ADMIN
    )


async def charges(world: World) -> int:
    async with reading(world.store.engine) as session:
        return await session.scalar(select(func.count()).select_from(ProviderChargeRow)) or 0


async def test_an_order_and_its_renewals_are_written_from_their_workflow(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, ADD-5, ADD-7: with their invoices, once each; the order renews afterwards."""
    world = world_without_worker.patient()
    async with world.working():
        snapshot = await Snapshot.of(world, tmp_path)
        order = await an_order(world)
        for payments in (2, 3):
            shown = await world.orders.show(order.order_id)
            assert shown.paid_until
            await world.clock.go_to(order.workflow_id, shown.paid_until)
            before = await world.order_until(order.order_id, OrderState.ACTIVE, payments=payments)
    await snapshot.restore(world)
    assert kinds(await check(world)) == ["record_missing"]
    assert (await fix(world)).divergences == ()
    assert await world.store.orders.find(order.order_id) == before
    assert await charges(world) == 3
    assert await world.audit() == ()
    async with world.working():
        assert before.paid_until
        await world.order_until(order.order_id, OrderState.ACTIVE)
        await world.clock.go_to(order.workflow_id, before.paid_until)
        await world.order_until(order.order_id, OrderState.ACTIVE, payments=4)
    assert await charges(world) == 4
    assert await world.audit() == ()
    assert (await check(world)).divergences == ()


async def test_a_renewal_and_a_cancellation_that_the_store_lacks_are_written_again(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, ADD-6, ADD-7: the order was known; it ends with its term."""
    world = world_without_worker.patient()
    async with world.working():
        order = await an_order(world)
        snapshot = await Snapshot.of(world, tmp_path)
        assert order.paid_until
        await world.clock.go_to(order.workflow_id, order.paid_until)
        renewed = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
        cancelled = await world.orders.cancel(order.order_id)
    await snapshot.restore(world)
    assert kinds(await check(world)) == ["record_behind"]
    assert (await fix(world)).divergences == ()
    assert await world.store.orders.find(order.order_id) == cancelled
    async with world.working():
        assert renewed.paid_until
        await world.order_until(order.order_id, cancelled.state)
        await world.clock.go_to(order.workflow_id, renewed.paid_until)
        await world.order_until(order.order_id, OrderState.ENDED)
    assert await world.audit() == ()
    assert (await check(world)).divergences == ()


async def test_a_lost_order_renews_after_its_restart(world_without_worker: World) -> None:
    """OPS-6, ADD-7: Temporal has lost it; it is charged on its next billing date, not before."""
    world = world_without_worker.patient()
    async with world.working():
        order = await an_order(world)
        await forget_workflow(world, order.workflow_id)
    assert kinds(await check(world)) == ["workflow_missing"]
    assert (await fix(world)).divergences == ()
    async with world.working():
        assert order.paid_until
        await world.order_until(order.order_id, OrderState.ACTIVE)
        await world.clock.go_to(order.workflow_id, order.paid_until)
        await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert await charges(world) == 2
    assert await world.audit() == ()


async def test_a_charge_for_an_invoice_that_the_store_lacks_is_booked(world: World) -> None:
    """OPS-6, BLK-2: once; a charge that is booked is no difference."""
    due_on = {"due_on": "2026-04-01", "amount_due": "990.00"}
    invoices = [{"id": name, **due_on} for name in ("booked", "lost")]
    await world.imported("jane-pro", plan="pro", users=[(JANE, "owner")], invoices=invoices)
    at = datetime.now(UTC)
    await world.clients.invoices.pay("jane-pro", "booked", by=OPERATOR, at=at)
    assert (await check(world)).divergences == ()
    due = await world.store.invoices.due("jane-pro", "lost")
    assert due
    # The first charge was declined, and the store has lost that, too.
    made = due.model_copy(update={"charges": 1})
    provider = LedgerProvider(world.store.engine, 4, frozenset())
    await provider.charge(charge_request(made, due.methods[0], at))
    assert kinds(await check(world)) == ["charge_missing"]
    assert (await fix(world)).divergences == ()
    assert await world.store.invoices.due("jane-pro", "lost") is None
    assert await world.clients.invoices.pay("jane-pro", "lost", by=OPERATOR, at=at) == []
    assert await charges(world) == 2
    assert await world.audit() == ()


async def test_assignments_and_batches_are_written_or_restarted(
    world_without_worker: World, tmp_path: Path
) -> None:
    """OPS-6, ASG-5, REM-3: a user still waits for a license; the rest of a batch is invited."""
    world = world_without_worker.patient()
    rows = [BatchRow(position=0, person=Person(email=JANE))]
    async with world.working():
        await licensed_users(world)
        snapshot = await Snapshot.of(world, tmp_path)
        await world.licenses.assign(world.account, Sku.LARGE_MEETING, LICENSED, ADMIN, capacity=500)
        waiting = await world.last_request()
    await snapshot.restore(world)
    batch = await world.bulk.submit(world.account, rows, ADMIN)
    assert kinds(await check(world)) == ["record_missing"]
    assert (await fix(world)).divergences == ()
    await forget_workflow(world, batch.workflow_id)
    await forget_workflow(world, waiting.id)
    assert kinds(await check(world)) == ["workflow_missing"] * 2
    assert (await fix(world)).divergences == ()
    async with world.working():
        await world.until(JANE, "pending")
        await world.bought(500)
        pools = await world.licenses.licenses(world.account)
        [pool] = [each for each in pools if each.capacity == 500]
        assert set(pool.holders) == set(LICENSED)
    assert await world.audit() == ()
    assert (await check(world)).divergences == ()


async def test_a_workflow_that_lacks_what_the_store_has_continues_from_the_store(
    world_without_worker: World,
) -> None:
    """OPS-6: Temporal was restored to before an acceptance, and still waits for the answer."""
    world = world_without_worker.patient()
    async with world.working():
        await a_paying_owner(world)
        before = await world.store.invitations.latest(world.account, JANE)
        accepted = await world.client.accept(world.account, JANE, Choice.TRANSFER)
        await world.until(JANE, "completed")
        assert before
    await forget_workflow(world, accepted.workflow_id)
    await world.clients.invitation_starter.start_workflow(
        before.ordered, before.invitation, CarriedInvitation.from_store(before.invitation, None)
    )
    assert kinds(await check(world)) == ["workflow_behind"]
    assert (await fix(world)).divergences == ()
    assert (await check(world)).divergences == ()
    assert (await world.stored(JANE)).state == "completed"
    assert await world.audit() == ()


async def forget_workflow(world: World, workflow_id: str) -> None:
    """Delete the workflow from Temporal, as if its database had been lost."""
    client = world.temporal.client
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
        )
    )
    await eventually(lambda: described(client, workflow_id), until=lambda found: found is None)
    query = f"WorkflowId = '{workflow_id}'"
    await eventually(lambda: client.count_workflows(query), until=lambda found: found.count == 0)
