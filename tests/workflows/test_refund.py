"""A refund follows the provider's word, whatever the provider does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select, update
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from adapters.sql.database.schema import ProviderRefundRow
from adapters.sql.database.transaction import reading, writing
from domain.invitation import Choice
from domain.refund import PartState, Refund, RefundState
from tests.database import Databases
from tests.world import JANE, OWNER, PATIENCE, World, a_paying_owner, a_world, refusal_of

WEEK = timedelta(days=7)
OPERATORS = "ops@seatflow.example"

WorldWhereTheProvider = Callable[[str], AbstractAsyncContextManager[World]]


@pytest.fixture
def where_the_provider(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> WorldWhereTheProvider:
    """A world whose payment provider has a fault."""

    @asynccontextmanager
    async def world(fault: str) -> AsyncIterator[World]:
        faults = frozenset({fault}) if fault else frozenset()
        async with a_world(
            temporal, set_up_databases, ledger_faults=faults, operators_mail=OPERATORS
        ) as world:
            yield world

    return world


async def a_refund(world: World) -> Refund:
    """Jane has accepted with a refund, and the provider has taken it."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    assert accepted.settlement.refund_id is not None
    return await world.refund_until(accepted.settlement.refund_id, RefundState.PROCESSING)


async def run_of(world: World, refund: Refund) -> str:
    """The run that is open now, or was last."""
    handle = world.temporal.client.get_workflow_handle(refund.workflow_id)
    return (await handle.describe()).run_id


async def terminated(world: World, refund: Refund) -> None:
    """An operator has ended it in the UI, and it runs again."""
    before = await run_of(world, refund)
    await world.temporal.client.get_workflow_handle(refund.workflow_id).terminate("by hand")
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while await run_of(world, refund) == before:
            await asyncio.sleep(0.02)


async def a_failed_refund(world: World) -> Refund:
    """As above; on the third business day the provider says that it failed."""
    refund = await a_refund(world)
    await world.clock.pass_time(refund.workflow_id, WEEK)
    return await world.refund_until(refund.refund_id, RefundState.FAILED)


async def test_a_refund_that_is_late_is_overdue_and_settles_in_the_end(
    where_the_provider: WorldWhereTheProvider,
) -> None:
    """REF-3: told when the fifth business day has ended; looking goes on."""
    async with where_the_provider("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        assert "operators" in (await world.mailed("refund_overdue", JANE)).text
        told = await world.mailed("attention", OPERATORS)
        assert "100.00 EUR to j…@example.com should have arrived by" in told.text
        assert told.language == "en"
        assert [case.kind for case in await world.store.attention.cases()] == ["refund_overdue"]
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_a_refund_that_failed_becomes_credit_once(
    where_the_provider: WorldWhereTheProvider,
) -> None:
    """REF-4, REF-6: credit of the target account; the membership stays."""
    async with where_the_provider("fail") as world:
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


async def test_an_answer_that_was_lost_is_looked_up_and_not_asked_again(
    where_the_provider: WorldWhereTheProvider,
) -> None:
    """REF-5: exactly one refund for each payment."""
    async with where_the_provider("timeout-after") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
        await world.refund_until(refund.refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_an_operator_gives_up(where_the_provider: WorldWhereTheProvider) -> None:
    """REF-4: with a reason; the invitation is done."""
    async with where_the_provider("fail") as world:
        failed = await a_failed_refund(world)
        closed = await world.refunds.close(failed.refund_id, "paid by hand")
        assert closed.state is RefundState.CLOSED
        assert closed.journal[-1].note == "paid by hand"
        assert "paid by hand" in (await world.mailed("refund_closed", JANE)).text
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_a_notification_short_cuts_the_wait_and_a_repeated_one_is_harmless(
    world: World,
) -> None:
    """REF-2: the provider is asked at once; it has the last word."""
    refund = await a_refund(world)
    for _ in range(3):
        await world.refunds.notify(refund.refund_id, "news")
    assert (await world.refunds.show(refund.refund_id)).state is RefundState.PROCESSING
    assert await refusal_of(world.refunds.convert(refund.refund_id)) == "conflict"
    assert await refusal_of(world.refunds.show("rf-none")) == "not_found"


async def test_of_a_refund_that_failed_in_part_each_letter_names_its_own_amount(
    world: World,
) -> None:
    """TXT-2, CRD-2: what failed is credited, what arrives is refunded, and nobody mixes them."""
    await a_paying_owner(world, refundable=False, bank=True)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    assert (await world.mailed("refund_requested", JANE)).text.count("100.00") == 1
    assert "75.00" in (await world.mailed("refund_failed", JANE)).text
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


async def test_giving_up_what_failed_does_not_give_up_what_is_on_its_way(world: World) -> None:
    """REF-4: the provider still has the last word on the other part."""
    await a_paying_owner(world, refundable=False, bank=True)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    closed = await world.refunds.close(refund_id, "paid by hand")
    assert [part.state for part in closed.parts] == [PartState.CLOSED, PartState.PENDING]
    told = (await world.mailed("refund_closed", JANE)).text
    assert "75.00" in told
    assert "25.00" in told
    await world.clock.pass_time(failed.workflow_id, timedelta(days=8))
    settled = await world.refund_until(refund_id, RefundState.SETTLED)
    assert [part.state for part in settled.parts] == [PartState.CLOSED, PartState.SUCCEEDED]
    await world.until(JANE, "completed")
    assert await world.audit() == ()


async def test_a_mistyped_method_loses_nothing_of_what_is_known(world: World) -> None:
    """REF-4: declined, and the refund can still be converted."""
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


async def test_a_refund_that_was_terminated_goes_on_and_the_invitation_waits_for_it(
    world: World,
) -> None:
    """REF-5, REF-6: from the record that the store keeps; nothing is asked for twice."""
    refund = await a_refund(world)
    await terminated(world, refund)
    again = await world.refund_until(refund.refund_id, RefundState.PROCESSING)
    assert again == refund
    assert (await world.show(JANE)).state == "refunding"
    await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
    await world.refund_until(refund.refund_id, RefundState.SETTLED)
    await world.until(JANE, "completed")
    async with reading(world.store.engine) as session:
        assert await session.scalar(select(func.count(ProviderRefundRow.key))) == 2
    assert await world.audit() == ()


async def test_a_failed_refund_that_was_terminated_can_still_be_decided_about(
    world: World,
) -> None:
    """REF-4, REF-6."""
    await a_paying_owner(world, refundable=False)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement is not None
    refund_id = accepted.settlement.refund_id or ""
    failed = await world.refund_until(refund_id, RefundState.FAILED)
    await terminated(world, failed)
    assert (await world.refunds.convert(refund_id)).state is RefundState.CONVERTED
    await world.until(JANE, "completed")
    assert await world.audit() == ()


async def test_a_refund_that_runs_already_is_waited_for(world: World) -> None:
    """REF-6: a worker was quicker to take it up; the invitation looks from time to time."""
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
    # What begins while a clock is moved on moves on with it.
    await world.refund_until(accepted.settlement.refund_id or "", RefundState.SETTLED)
    await world.until(JANE, "completed")
    assert (await world.show(JANE)).run_id == invitation.run_id
    assert await world.audit() == ()


async def test_what_was_given_up_on_its_way_is_looked_after_and_may_arrive(
    where_the_provider: WorldWhereTheProvider,
) -> None:
    """REF-4: on the next business days; the invitation does not wait for it."""
    async with where_the_provider("slow") as world:
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


async def test_what_never_arrives_is_looked_after_for_a_quarter(
    where_the_provider: WorldWhereTheProvider,
) -> None:
    """REF-4: a bounded history, and then an end."""
    async with where_the_provider("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        async with writing(world.store.engine) as session:
            never = datetime(2100, 1, 1, tzinfo=UTC)
            await session.execute(update(ProviderRefundRow).values(ends_at=never))
        await world.refunds.close(refund.refund_id, "sent by cheque")
        watch = world.temporal.client.get_workflow_handle(f"watch/{refund.refund_id}")
        with suppress(RPCError):
            # Until there is nothing left that time could pass for.
            for _ in range(14):
                await world.clock.pass_time(watch.id, WEEK)
        await watch.result()
        assert len((await watch.fetch_history()).events) < 500
        assert (await world.refunds.show(refund.refund_id)).state is RefundState.CLOSED
        assert not world.mails(event="refund_settled")


async def test_each_part_that_was_given_up_is_told_of_when_it_arrives(
    where_the_provider: WorldWhereTheProvider,
) -> None:
    """REF-2, REF-4: the second one too, though the first has settled the refund."""
    async with where_the_provider("slow") as world:
        refund = await a_refund(world)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=9))
        await world.refund_until(refund.refund_id, RefundState.OVERDUE)
        await world.refunds.close(refund.refund_id, "sent by cheque")
        await world.until(JANE, "completed")
        for number, (payment, told) in enumerate({"pay-1": "75.00", "pay-2": "100.00"}.items(), 1):
            async with writing(world.store.engine) as session:
                at_once = update(ProviderRefundRow).where(ProviderRefundRow.payment == payment)
                await session.execute(at_once.values(ends_at=datetime(2020, 1, 1, tzinfo=UTC)))
            await world.refunds.notify(refund.refund_id, "news")
            assert told in (await world.mailed("refund_settled", JANE, times=number)).text
        assert await world.audit() == ()


async def test_a_retry_is_told_without_a_promise(where_the_provider: WorldWhereTheProvider) -> None:
    """REF-4: another payment method is asked, and settles."""
    async with where_the_provider("fail") as world:
        failed = await a_failed_refund(world)
        await world.imported(
            "jane-pro",
            plan="pro",
            payment_methods=[{"id": "new-card", "kind": "card"}],
            state="closed",
        )
        retried = await world.refunds.retry(failed.refund_id, "new-card")
        assert retried.state is RefundState.PROCESSING
        told = await world.mailed("refund_retried", JANE)
        assert "100.00" in told.text
        assert "another payment method" in told.text
        await world.clock.pass_time(failed.workflow_id, timedelta(days=8))
        await world.refund_until(failed.refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
        assert await world.audit() == ()


async def test_a_late_success_whose_credit_is_used_waits_for_an_operator(
    where_the_provider: WorldWhereTheProvider,
) -> None:
    """REF-4: told once, and settled when the account has that much credit again."""
    async with where_the_provider("fail") as world:
        failed = await a_failed_refund(world)
        await world.refunds.convert(failed.refund_id)
        await world.until(JANE, "completed")
        await world.mailed("attention", OPERATORS)
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
            told = await world.mailed("attention", OPERATORS, times=2)
            await world.temporal.client.get_workflow_handle(failed.workflow_id).result()
        assert "100.00 EUR to j…@example.com has arrived after it was credited" in told.text
        [case] = await world.store.attention.cases()
        assert case.kind == "refund_not_reversed"
        assert (await world.refunds.show(failed.refund_id)).state is RefundState.CONVERTED
        await world.imported(world.account, invoices=[invoice], credit="80.00")
        await world.refunds.notify(failed.refund_id, "news")
        await world.refund_until(failed.refund_id, RefundState.SETTLED)
        assert await world.store.attention.cases() == []
        assert await world.audit() == ()
