"""Tests of a cancellation, reset or termination from Temporal's side (OPS-10)."""

from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from domain.invitation import Choice, Invitation, InvitationState, License
from domain.refund import RefundState
from tests.eventually import eventually
from tests.world import ADMIN, JANE, World, a_paying_owner, refusal_of


async def cancel(world: World, workflow_id: str) -> None:
    await world.temporal.client.get_workflow_handle(workflow_id).cancel()


async def test_a_cancellation_ends_an_unanswered_invitation(world: World) -> None:
    """OPS-10: it is revoked by an operator, in the store first; its seat is free."""
    pending = await world.pending(JANE, License.LICENSED)
    await cancel(world, pending.workflow_id)
    revoked = await world.until(JANE, "revoked")
    assert (revoked.journal[-1].event, revoked.journal[-1].by) == ("revoke", "operator")
    assert await world.free_seats() == 2
    assert await refusal_of(world.client.accept(world.account, JANE)) == "revoked"
    assert await world.audit() == ()


async def test_a_cancellation_before_the_first_e_mail_ends_the_invitation(world: World) -> None:
    """OPS-10, OPS-2: the e-mail is not sent any more."""
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    stored = await world.stored(JANE)
    await cancel(world, stored.workflow_id)
    await world.until(JANE, "revoked")
    world.smtp.answers.clear()
    assert world.mails(to=JANE) == []


async def a_refunding_invitation(world: World) -> tuple[Invitation, str]:
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    await world.refund_until(refund_id, RefundState.PROCESSING)
    return accepted, refund_id


async def test_a_cancelled_invitation_that_was_accepted_continues(world: World) -> None:
    """OPS-10, REF-6: a journal entry; the money that is being paid out continues."""
    accepted, refund_id = await a_refunding_invitation(world)
    await cancel(world, accepted.workflow_id)

    async def cancellations() -> int:
        return [e.event for e in (await world.show(JANE)).journal].count("cancel_requested")

    await eventually(cancellations)
    await cancel(world, accepted.workflow_id)
    refunding = await world.show(JANE)
    assert refunding.state is InvitationState.REFUNDING
    await world.clock.pass_time(f"refund/{refund_id}", timedelta(days=8))
    await world.refund_until(refund_id, RefundState.SETTLED)
    completed = await world.until(JANE, "completed")
    entry = next(each for each in completed.journal if each.event == "cancel_requested")
    assert entry.by == "operator"
    assert (await world.stored(JANE)).journal == completed.journal
    assert await world.audit() == ()


async def reset(world: World, workflow_id: str) -> None:
    """Reset a workflow to its first task, without the updates and signals that it has received."""
    client = world.temporal.client
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    first = next(
        event.event_id
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    )
    described = await client.get_workflow_handle(workflow_id).describe()
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=described.run_id),
            reason="by hand",
            workflow_task_finish_event_id=first,
            request_id="reset-by-hand",
            reset_reapply_exclude_types=[
                ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
                ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
            ],
        )
    )


async def test_an_accepted_invitation_that_is_reset_continues_from_the_stored_record(
    world: World,
) -> None:
    """INV-11, REF-6: it is refunding again, with the same journal, and waits for its refund."""
    accepted, refund_id = await a_refunding_invitation(world)
    before = await world.until(JANE, "refunding")
    await reset(world, accepted.workflow_id)
    shown = await eventually(
        lambda: world.show(JANE), lambda each: each.state is InvitationState.REFUNDING
    )
    assert shown.journal[:3] == before.journal[:3]
    assert shown.settlement == before.settlement
    assert [each.event for each in shown.journal].count("accept") == 1
    handle = world.temporal.client.get_workflow_handle(accepted.workflow_id)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await world.clock.pass_time(f"refund/{refund_id}", timedelta(days=8))
    await world.refund_until(refund_id, RefundState.SETTLED)
    await world.clock.pass_time(accepted.workflow_id, timedelta(days=1))
    await world.until(JANE, "completed")
    assert len(world.mails(to=JANE, event="invitation")) == 1
    assert await world.audit() == ()


async def test_a_reset_pending_invitation_keeps_its_deadline(world: World) -> None:
    """INV-6: the store's record counts, and a resend still has to wait."""
    pending = await world.pending(JANE)
    await reset(world, pending.workflow_id)
    shown = await world.until(JANE, "pending")
    assert shown.expires_at == pending.expires_at
    assert shown.journal == pending.journal
    assert await refusal_of(world.client.resend(world.account, JANE, ADMIN)) == "rate_limited"
