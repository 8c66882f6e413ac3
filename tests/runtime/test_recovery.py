"""Recovery: abandoned claims are released, closed workflows restarted."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError

from domain.address import invitee_key
from domain.error import Unavailable
from domain.invitation import Choice, Invitation, InvitationState, Invite, License
from domain.manifest import ItemStatus
from domain.refund import Refund, RefundState
from runtime.recovery import CLOSED, Recovery
from states.invitation import initial_record
from tests.eventually import eventually
from tests.world import ADMIN, JANE, World, a_paying_owner, refusal_of


async def a_claim(world: World) -> Invite:
    """Claim an invitation without a start, as a command that is killed between the two."""
    invite = Invite(
        invitation_id=uuid.uuid4().hex,
        account=world.account,
        key=invitee_key(JANE, world.settings.id_key),
        email=JANE,
        license=License.LICENSED,
        invited_by=ADMIN,
    )
    now = datetime.now(UTC)
    await world.store.invitations.claim(invite, initial_record(invite, run_id="", at=now), now)
    return invite


async def test_a_claim_without_a_workflow_is_released(world: World) -> None:
    """INV-15: the seat is free again, and the person can be invited."""
    claim = await a_claim(world)
    starter = world.clients.invitation_starter
    await starter.settle_claim(claim.workflow_id, claim.invitation_id)
    assert await world.store.invitations.latest(world.account, JANE) is not None
    late = replace(starter, abandoned_after=timedelta())
    await late.settle_claim(claim.workflow_id, claim.invitation_id)
    assert await world.store.invitations.latest(world.account, JANE) is None
    assert await world.free_seats() == 2
    assert (await world.pending(JANE, License.LICENSED)).state is InvitationState.PENDING
    assert await world.audit() == ()


async def test_inviting_after_a_command_died_waits_until_its_claim_is_abandoned(
    world: World,
) -> None:
    """INV-15: an invitation can be repeated safely at any time."""
    starter = replace(world.client.starter, abandoned_after=timedelta(seconds=1))
    world.clients.invitations = replace(world.client, starter=starter)
    await a_claim(world)
    assert (await world.invite(JANE, License.LICENSED)).result == "invited"
    assert await world.free_seats() == 1


async def test_an_unanswered_invitation_whose_workflow_was_terminated_is_revoked(
    world: World,
) -> None:
    """INV-15: the seat is free, and answers are refused."""
    pending = await world.pending(JANE, License.LICENSED)
    client = world.temporal.client
    await client.get_workflow_handle(pending.workflow_id).terminate("by hand")

    await world.recover(pending.workflow_id)
    assert await world.store.invitations.listed(world.account, (), None, False) == []
    revoked = await world.show(JANE)
    assert revoked.state is InvitationState.REVOKED
    assert "ended from outside" in (revoked.journal[-1].note or "")
    assert await refusal_of(world.client.accept(world.account, JANE)) == "revoked"
    assert await world.free_seats() == 2


async def test_an_invitation_that_temporal_has_lost_can_be_revoked(world: World) -> None:
    """INV-7, INV-8: the person can be invited again."""
    pending = await world.pending(JANE, License.LICENSED)
    client = world.temporal.client
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=pending.workflow_id),
        )
    )

    async def deleted() -> bool:
        try:
            await client.get_workflow_handle(pending.workflow_id).describe()
        except RPCError:
            return True
        return False

    await eventually(deleted)
    revoked = await world.client.revoke(world.account, JANE, ADMIN)
    assert revoked.state is InvitationState.REVOKED
    assert revoked.journal[-1].by == ADMIN
    assert await world.free_seats() == 2
    assert (await world.pending(JANE, License.LICENSED)).state is InvitationState.PENDING
    assert await world.audit() == ()


async def a_processing_refund(world: World) -> tuple[Invitation, Refund]:
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    return accepted, await world.refund_until(refund_id, RefundState.PROCESSING)


async def test_an_open_refund_whose_workflow_was_terminated_is_restarted(world: World) -> None:
    """REF-6: even if its invitation was terminated, too; a closed refund is not restarted."""
    accepted, refund = await a_processing_refund(world)
    client = world.temporal.client
    for workflow_id in (accepted.workflow_id, refund.workflow_id):
        await client.get_workflow_handle(workflow_id).terminate("by hand")
    await world.recover(refund.workflow_id)
    run = (await client.get_workflow_handle(refund.workflow_id).describe()).run_id
    await world.recover(refund.workflow_id)
    assert (await client.get_workflow_handle(refund.workflow_id).describe()).run_id == run
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    await world.refund_until(refund.refund_id, RefundState.SETTLED)
    await world.recover(refund.workflow_id)
    assert await status_of(world, refund) is WorkflowExecutionStatus.COMPLETED
    assert await world.audit() == ()


async def test_an_accepted_invitation_whose_workflow_was_terminated_is_restarted(
    world: World,
) -> None:
    """INV-11, REF-6: the membership stays, so it completes, and notifies each person once."""
    accepted, refund = await a_processing_refund(world)
    await world.mailed("refund_requested", JANE)
    handle = world.temporal.client.get_workflow_handle(accepted.workflow_id)
    await handle.terminate("by hand")
    await world.recover(accepted.workflow_id)
    run = (await handle.describe()).run_id
    await world.recover(accepted.workflow_id)
    assert (await handle.describe()).run_id == run
    repeated = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert (repeated.state, repeated.settlement) == (InvitationState.REFUNDING, accepted.settlement)
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    await world.refund_until(refund.refund_id, RefundState.SETTLED)
    await world.clock.pass_time(accepted.workflow_id, timedelta(days=1))
    completed = await world.until(JANE, "completed")
    assert [entry.event for entry in completed.journal].count("refund") == 1
    assert all(item.status is ItemStatus.MOVED for item in completed.manifest)
    assert len(world.mails(to=JANE, event="refund_requested")) == 1
    await world.recover(accepted.workflow_id)
    assert (await handle.describe()).run_id == run
    assert await world.audit() == ()


async def status_of(world: World, refund: Refund) -> WorkflowExecutionStatus | None:
    handle = world.temporal.client.get_workflow_handle(refund.workflow_id)
    return (await handle.describe()).status


async def test_a_living_invitation_is_not_revoked_because_an_earlier_one_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-8: the same person was invited again while recovery looked at the earlier workflow."""
    first = await world.pending(JANE)
    client = world.temporal.client
    await world.client.decline(world.account, JANE)
    handle = client.get_workflow_handle(first.workflow_id, run_id=first.run_id)
    await handle.result()
    ended = await handle.describe()
    second = await world.pending(JANE)

    async def described_before(self: Recovery, workflow_id: str) -> WorkflowExecutionDescription:
        return ended

    monkeypatch.setattr(Recovery, "_last_run", described_before)
    await world.recover(first.workflow_id)
    assert (await world.show(JANE)).run_id == second.run_id
    assert (await world.stored(JANE)).state is InvitationState.PENDING


async def test_an_invitation_that_was_restarted_without_being_bound_is_bound_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-11: otherwise no answer reaches it."""
    pending = await world.pending(JANE)
    await world.forget(JANE)

    async def failing(invitation_id: str, run_id: str) -> None:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(world.store.invitations, "rebind", failing)
        with pytest.raises(Unavailable):
            await world.recover(pending.workflow_id)
    await world.recover(pending.workflow_id)
    assert (await world.client.accept(world.account, JANE)).state.accepted


async def test_a_closed_workflow_of_another_store_is_not_searched_for(
    world: World, world_without_worker: World
) -> None:
    """OPS-1: a namespace may have several stores, each with its own task queue."""
    _, refund = await a_processing_refund(world)
    handle = world.temporal.client.get_workflow_handle(refund.workflow_id)
    await handle.terminate("by hand")
    await eventually(lambda: closed_refunds(world), lambda closed: refund.workflow_id in closed)
    other = world_without_worker
    await other.store.outbox.add_sweeps([CLOSED])
    [sweep] = await other.store.outbox.lease(1, timedelta(minutes=1))
    await Recovery(other.clients).sweep(sweep)
    assert await other.store.outbox.listed() == []


async def closed_refunds(world: World) -> list[str]:
    query = "WorkflowType = 'Refund' AND ExecutionStatus = 'Terminated'"
    return [each.id async for each in world.temporal.client.list_workflows(query)]
