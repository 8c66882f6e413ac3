"""Tests of the Refund workflow: its state is what the provider reports (REF)."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from adapters.sql.database.schema import ProviderRefundRow
from adapters.sql.database.transaction import reading, writing
from domain.invitation import Choice
from domain.refund import PartState, Refund, RefundState
from tests.database import Databases
from tests.eventually import eventually
from tests.world import (
    JANE,
    OWNER,
    World,
    a_paying_owner,
    a_world,
    import_paying_owner,
    refusal_of,
)

WEEK = timedelta(days=7)
OPERATORS = "ops@seatflow.example"

WorldWithFault = Callable[[str], AbstractAsyncContextManager[World]]


@pytest.fixture
def world_with_fault(temporal: WorkflowEnvironment, set_up_databases: Databases) -> WorldWithFault:
    """Return a factory of worlds whose payment provider has a fault."""

    @asynccontextmanager
    async def world(fault: str) -> AsyncIterator[World]:
        faults = frozenset({fault}) if fault else frozenset()
        async with a_world(
            temporal, set_up_databases, ledger_faults=faults, operators_mail=OPERATORS
        ) as world:
            yield world

    return world


async def a_refund(world: World) -> Refund:
    """Return Jane's refund after the provider has accepted it."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    assert accepted.settlement.refund_id is not None
    return await world.refund_until(accepted.settlement.refund_id, RefundState.PROCESSING)


async def run_of(world: World, refund: Refund) -> str:
    """Return the id of the current or last run."""
    handle = world.temporal.client.get_workflow_handle(refund.workflow_id)
    return (await handle.describe()).run_id


async def terminate_and_wait(world: World, refund: Refund) -> None:
    """Terminate the refund, as in the UI, and wait for its next run."""
    before = await run_of(world, refund)
    await world.temporal.client.get_workflow_handle(refund.workflow_id).terminate("by hand")
    await eventually(lambda: run_of(world, refund), lambda run_id: run_id != before)


async def a_failed_refund(world: World) -> Refund:
    """Return Jane's refund after the provider has reported a failure on the third business day."""
    refund = await a_refund(world)
    await world.clock.pass_time(refund.workflow_id, WEEK)
    return await world.refund_until(refund.refund_id, RefundState.FAILED)


async def test_a_late_refund_is_overdue_and_settles_later(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-3: notified when the fifth business day has ended; look-ups continue."""
    async with world_with_fault("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        assert "operators" in (await world.mailed("refund_overdue", JANE)).text
        letter = await world.mailed("attention", OPERATORS)
        assert "100.00 EUR to j…@example.com should have arrived by" in letter.text
        assert letter.language == "en"
        assert [case.kind for case in await world.store.attention.cases()] == ["refund_overdue"]
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_a_failed_refund_becomes_credit_once(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-4, REF-6: credit of the target account; the membership stays."""
    async with world_with_fault("fail") as world:
        failed = await a_failed_refund(world)
        assert failed.amount_open.amount == Decimal("100.00")
        await world.mailed("refund_failed", JANE)
        await world.mailed("attention", OPERATORS)
        assert (await world.show(JANE)).state == "refunding"
        converted = await world.refunds.convert(failed.refund_id)
        assert converted.state is RefundState.CONVERTED
        assert converted.amount_open.amount == 0
        assert {part.state for part in converted.parts} == {PartState.CONVERTED}
        credit = await world.store.credits.show(world.account)
        assert credit.balance.amount == Decimal("100.00")
        await world.mailed("refund_converted", JANE)
        await world.until(JANE, "completed")
        assert await refusal_of(world.refunds.convert(failed.refund_id)) == "conflict"
        assert JANE in await world.members()
        assert await world.audit() == ()


async def test_an_unknown_outcome_is_looked_up_and_not_requested_again(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-5: exactly one refund for each payment."""
    async with world_with_fault("timeout-after") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
        await world.refund_until(refund.refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_an_operator_closes_a_refund(world_with_fault: WorldWithFault) -> None:
    """REF-4: with a reason; the invitation is completed."""
    async with world_with_fault("fail") as world:
        failed = await a_failed_refund(world)
        closed = await world.refunds.close(failed.refund_id, "paid by hand")
        assert closed.state is RefundState.CLOSED
        assert closed.journal[-1].note == "paid by hand"
        assert "paid by hand" in (await world.mailed("refund_closed", JANE)).text
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_a_notification_triggers_a_look_up_and_a_repeat_is_harmless(
    world: World,
) -> None:
    """REF-2: the refund is looked up at once."""
    refund = await a_refund(world)
    for _ in range(3):
        await world.refunds.notify(refund.refund_id, "news")
    assert (await world.refunds.show(refund.refund_id)).state is RefundState.PROCESSING
    assert await refusal_of(world.refunds.convert(refund.refund_id)) == "conflict"
    assert await refusal_of(world.refunds.show("rf-none")) == "not_found"


async def test_each_letter_about_a_partly_failed_refund_has_its_own_amount(
    world: World,
) -> None:
    """TXT-2, CRD-2: the failed part is credited, the other part is refunded."""
    await a_paying_owner(world, refundable=False, bank=True)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    assert (await world.mailed("refund_requested", JANE)).text.count("100.00") == 1
    failure = (await world.mailed("refund_failed", JANE)).text
    assert "75.00" in failure
    assert (await world.show(JANE)).link in failure.split()
    processing = await world.refunds.convert(refund_id)
    assert processing.state is RefundState.PROCESSING
    assert str(processing.amount_open.amount) == "25.00"
    assert "75.00" in (await world.mailed("refund_converted", JANE)).text
    assert "75.00" in (await world.mailed("credit_received", OWNER)).text
    await world.clock.pass_time(failed.workflow_id, timedelta(days=8))
    settled = await world.refund_until(refund_id, RefundState.SETTLED)
    assert str(settled.amount_open.amount) == "0.00"
    assert "25.00" in (await world.mailed("refund_settled", JANE)).text
    await world.until(JANE, "completed")
    assert await world.audit() == ()


async def test_closing_the_failed_part_keeps_the_open_part(world: World) -> None:
    """REF-4: the provider still reports on the other part."""
    await a_paying_owner(world, refundable=False, bank=True)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    closed = await world.refunds.close(refund_id, "paid by hand")
    assert [part.state for part in closed.parts] == [PartState.CLOSED, PartState.PENDING]
    text = (await world.mailed("refund_closed", JANE)).text
    assert "75.00" in text
    assert "25.00" in text
    await world.clock.pass_time(failed.workflow_id, timedelta(days=8))
    settled = await world.refund_until(refund_id, RefundState.SETTLED)
    assert [part.state for part in settled.parts] == [PartState.CLOSED, PartState.SUCCEEDED]
    await world.until(JANE, "completed")
    assert await world.audit() == ()


async def test_a_retry_to_an_invalid_method_changes_nothing(world: World) -> None:
    """REF-4: the retry is declined, and the refund can still be converted."""
    await a_paying_owner(world, refundable=False)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    answer = world.refunds.retry(refund_id, "nosuch")
    assert await refusal_of(answer) == "payment_declined"
    again = await world.refunds.show(refund_id)
    assert again.failure == failed.failure
    assert [p.provider_id for p in again.parts] == [p.provider_id for p in failed.parts]
    assert (await world.refunds.convert(refund_id)).state is RefundState.CONVERTED
    assert await world.audit() == ()


async def test_a_terminated_refund_is_restarted_and_the_invitation_waits_for_it(
    world: World,
) -> None:
    """REF-5, REF-6: from the stored record; nothing is requested twice."""
    refund = await a_refund(world)
    await terminate_and_wait(world, refund)
    again = await world.refund_until(refund.refund_id, RefundState.PROCESSING)
    assert again == refund
    assert (await world.show(JANE)).state == "refunding"
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    await world.refund_until(refund.refund_id, RefundState.SETTLED)
    await world.until(JANE, "completed")
    async with reading(world.store.engine) as session:
        assert await session.scalar(select(func.count(ProviderRefundRow.key))) == 2
    assert await world.audit() == ()


async def test_a_failed_and_terminated_refund_can_still_be_decided(
    world: World,
) -> None:
    """REF-4, REF-6."""
    await a_paying_owner(world, refundable=False)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    await terminate_and_wait(world, failed)
    assert (await world.refunds.convert(refund_id)).state is RefundState.CONVERTED
    await world.until(JANE, "completed")
    assert await world.audit() == ()


async def test_a_refund_that_runs_already_is_waited_for(world: World) -> None:
    """REF-6: another worker restarted it first; the invitation checks it at intervals."""
    await a_paying_owner(world)
    client, invitation = world.temporal.client, await world.show(JANE)
    stored = await world.store.invitations.latest(world.account, JANE)
    assert stored is not None
    other = await client.start_workflow(
        "Refund", id=f"refund/rf-{stored.invitation_id}", task_queue="nobody"
    )
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    await world.until(JANE, "refunding")
    await world.pass_time(JANE, timedelta(minutes=2))
    await other.terminate("by hand")
    await world.pass_time(JANE, timedelta(hours=1))
    # A workflow started during a time skip skips, too.
    await world.refund_until(accepted.settlement.refund_id or "", RefundState.SETTLED)
    await world.until(JANE, "completed")
    assert (await world.show(JANE)).run_id == invitation.run_id
    assert await world.audit() == ()


async def test_a_closed_open_refund_is_watched_and_may_arrive(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-4: looked up on the next business days; the invitation does not wait."""
    async with world_with_fault("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        closed = await world.refunds.close(refund.refund_id, "sent by cheque")
        assert closed.state is RefundState.CLOSED
        await world.until(JANE, "completed")
        watch = f"watch/{refund.refund_id}"
        await world.clock.pass_time(watch, timedelta(days=6))
        settled = await world.refund_until(refund.refund_id, RefundState.SETTLED)
        assert {part.state for part in settled.parts} == {PartState.SUCCEEDED}
        assert "100.00" in (await world.mailed("refund_settled", JANE)).text
        assert await world.audit() == ()


@pytest.mark.full
async def test_a_closed_refund_that_never_arrives_is_watched_for_a_quarter(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-4: with a bounded history."""
    async with world_with_fault("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        async with writing(world.store.engine) as session:
            never = datetime(2100, 1, 1, tzinfo=UTC)
            await session.execute(update(ProviderRefundRow).values(ends_at=never))
        await world.refunds.close(refund.refund_id, "sent by cheque")
        watch = world.temporal.client.get_workflow_handle(f"watch/{refund.refund_id}")
        with suppress(RPCError):
            # Until no timer is left.
            for _ in range(14):
                await world.clock.pass_time(watch.id, WEEK)
        await watch.result()
        assert len((await watch.fetch_history()).events) < 500
        assert (await world.refunds.show(refund.refund_id)).state is RefundState.CLOSED
        assert not world.mails(event="refund_settled")


async def cancel(world: World, workflow_id: str) -> None:
    """Cancel the workflow, as in Temporal's UI."""
    await world.temporal.client.get_workflow_handle(workflow_id).cancel()


async def test_a_cancelled_refund_continues(world: World) -> None:
    """OPS-10: an entry of the journal in the same state; look-ups follow, and it settles."""
    refund = await a_refund(world)
    await cancel(world, refund.workflow_id)
    cancelled = await eventually(
        lambda: world.refunds.show(refund.refund_id),
        until=lambda refund: refund.journal[-1].event == "cancel_requested",
    )
    assert cancelled.journal[:-1] == refund.journal
    assert cancelled.state is RefundState.PROCESSING
    assert await world.store.refunds.latest(refund.refund_id) == cancelled
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    await world.refund_until(refund.refund_id, RefundState.SETTLED)
    await world.until(JANE, "completed")
    handle = world.temporal.client.get_workflow_handle(refund.workflow_id)
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    assert await world.audit() == ()


async def test_a_cancelled_watch_continues(world_with_fault: WorldWithFault) -> None:
    """OPS-10, REF-4: the closed refund arrives."""
    async with world_with_fault("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        await world.refunds.close(refund.refund_id, "sent by cheque")
        await world.until(JANE, "completed")
        await cancel(world, f"watch/{refund.refund_id}")
        await world.clock.pass_time(f"watch/{refund.refund_id}", timedelta(days=6))
        await world.refund_until(refund.refund_id, RefundState.SETTLED)
        assert await world.audit() == ()


async def test_a_reset_refund_continues_from_the_stored_record(world: World) -> None:
    """REF-2, REF-5: no decision of the provider or an operator is lost."""
    await a_paying_owner(world, refundable=False)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    client = world.temporal.client
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=failed.workflow_id),
            reason="test",
            workflow_task_finish_event_id=4,
            request_id=uuid.uuid4().hex,
        )
    )
    assert await world.refund_until(refund_id, RefundState.FAILED) == failed
    assert (await world.refunds.convert(refund_id)).state is RefundState.CONVERTED
    assert await world.audit() == ()


PAYMENTS = 160
"""The payments of a refund that, with one activity for each and the whole plan in each of them,
is too large for one workflow task.
"""


async def a_refund_of_many_payments(world: World, number: int) -> Refund:
    """Return Jane's refund of that many payments, after the provider has accepted it."""
    await import_paying_owner(
        world,
        *(
            {"id": f"payment-{index:020}", "method": "card", "amount": "2.00"}
            for index in range(number)
        ),
    )
    await world.pending(JANE)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    assert accepted.settlement.refund_id is not None
    return await world.refund_until(accepted.settlement.refund_id, RefundState.PROCESSING)


@dataclass
class HistorySizes:
    """The bytes of a history."""

    largest_step: int
    """The largest event of an activity or update, which concerns some of the parts."""
    largest_task: int
    """The events of the workflow task with the largest commands."""

    @classmethod
    async def of(cls, world: World, refund: Refund) -> "HistorySizes":
        handle = world.temporal.client.get_workflow_handle(refund.workflow_id)
        steps, tasks = [0], Counter[int]()
        async for event in handle.fetch_history_events():
            name = EventType.Name(event.event_type)
            if name.startswith(("EVENT_TYPE_ACTIVITY", "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE")):
                steps.append(event.ByteSize())
            commanded_by = max(
                (
                    getattr(event, name).workflow_task_completed_event_id
                    for name in COMMANDED
                    if event.HasField(name)
                ),
                default=0,
            )
            if commanded_by:
                tasks[commanded_by] += event.ByteSize()
        return cls(largest_step=max(steps), largest_task=max(tasks.values()))


COMMANDED: tuple[Any, ...] = (
    "activity_task_scheduled_event_attributes",
    "start_child_workflow_execution_initiated_event_attributes",
    "workflow_execution_completed_event_attributes",
)
"""The events that commands of workflow tasks with payloads become."""


async def test_a_refund_of_many_payments_is_requested_looked_up_and_settled(world: World) -> None:
    """OPS-7, REF-5: each step has the parts that it concerns, 20 at most."""
    refund = await a_refund_of_many_payments(world, PAYMENTS)
    assert len(refund.parts) == PAYMENTS
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    settled = await world.refund_until(refund.refund_id, RefundState.SETTLED)
    assert {part.state for part in settled.parts} == {PartState.SUCCEEDED}
    await world.until(JANE, "completed")
    sizes = await HistorySizes.of(world, refund)
    assert sizes.largest_step < 40_000
    assert sizes.largest_task < 100_000
    async with reading(world.store.engine) as session:
        assert await session.scalar(select(func.count(ProviderRefundRow.key))) == PAYMENTS
    assert await world.audit() == ()


async def test_each_closed_part_that_arrives_notifies_the_payee(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-2, REF-4: also the second part, after the first has settled the refund."""
    async with world_with_fault("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        await world.refunds.close(refund.refund_id, "sent by cheque")
        await world.until(JANE, "completed")
        for number, (payment, amount) in enumerate(
            {"pay-1": "75.00", "pay-2": "100.00"}.items(), 1
        ):
            async with writing(world.store.engine) as session:
                at_once = update(ProviderRefundRow).where(ProviderRefundRow.payment == payment)
                await session.execute(at_once.values(ends_at=datetime(2020, 1, 1, tzinfo=UTC)))
            await world.refunds.notify(refund.refund_id, "news")
            assert amount in (await world.mailed("refund_settled", JANE, times=number)).text
        assert await world.audit() == ()


async def test_a_retry_notifies_the_payee_without_dates(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-4: another payment method gets the refund, which settles."""
    async with world_with_fault("fail") as world:
        failed = await a_failed_refund(world)
        await world.imported(
            "jane-pro",
            plan="pro",
            payment_methods=[{"id": "new-card", "kind": "card"}],
            state="closed",
        )
        retried = await world.refunds.retry(failed.refund_id, "new-card")
        assert retried.state is RefundState.PROCESSING
        letter = await world.mailed("refund_retried", JANE)
        assert "100.00" in letter.text
        assert "another payment method" in letter.text
        await world.clock.pass_time(failed.workflow_id, timedelta(days=8))
        await world.refund_until(failed.refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_a_late_success_whose_credit_is_used_waits_for_an_operator(
    world_with_fault: WorldWithFault,
) -> None:
    """REF-4: notified once, and settled when the account has that much credit again."""
    async with world_with_fault("fail") as world:
        failed = await a_failed_refund(world)
        await world.mailed("attention", OPERATORS)
        await world.refunds.convert(failed.refund_id)
        await world.until(JANE, "completed")
        invoice = {"id": "inv-1", "amount_due": "80.00", "due_on": "2026-12-01"}
        await world.imported(world.account, invoices=[invoice])
        async with writing(world.store.engine) as session:
            await session.execute(
                update(ProviderRefundRow).values(
                    outcome=PartState.SUCCEEDED, ends_at=datetime(2020, 1, 1, tzinfo=UTC)
                )
            )
        for _ in range(2):
            await world.refunds.notify(failed.refund_id, "news")
            letter = await world.mailed("attention", OPERATORS, times=2)
            await world.temporal.client.get_workflow_handle(failed.workflow_id).result()
        assert "100.00 EUR to j…@example.com has arrived after it was credited" in letter.text
        [case] = await world.store.attention.cases()
        assert case.kind == "refund_not_reversed"
        assert (await world.refunds.show(failed.refund_id)).state is RefundState.CONVERTED
        await world.imported(world.account, invoices=[invoice], credit="80.00")
        await world.refunds.notify(failed.refund_id, "news")
        await world.refund_until(failed.refund_id, RefundState.SETTLED)
        assert await world.store.attention.cases() == []
        assert await world.audit() == ()
