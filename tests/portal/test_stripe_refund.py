"""A refund at Stripe, from the acceptance to the notifications of the portal."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import JsonValue, SecretStr
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.testing import WorkflowEnvironment

from adapters.sql.database.schema import RefundRow
from adapters.sql.database.transaction import writing
from domain.attention import AttentionCase
from domain.invitation import Choice
from domain.refund import PartState, Refund, RefundState
from portal.app import portal
from tests.database import Databases
from tests.eventually import eventually
from tests.portal.stripe_events import SECRET, Deliveries, dispute, event
from tests.portal.stripe_events import refund as stripe_refund
from tests.stripe_server import API_KEY, StripeServer, answer, localstripe
from tests.world import JANE, World, a_world, import_paying_owner, refusal_of


@dataclass
class StripeWorld:
    """A world with payments at Stripe, and a portal that receives its notifications."""

    world: World
    server: StripeServer
    web: httpx.AsyncClient

    async def refund(self) -> Refund:
        """Return Jane's refund, which Stripe has accepted."""
        return await self.until(await self.accepted(), RefundState.PROCESSING)

    async def accepted(self, payment_id: str | None = None) -> str:
        """Accept for Jane, who has paid by card at Stripe; return the id of her refund."""
        payment_id = payment_id or await self.server.paid(20000)
        payment = {"id": payment_id, "method": "card", "amount": "200.00"}
        await import_paying_owner(self.world, payment)
        await self.world.pending(JANE)
        accepted = await self.world.client.accept(self.world.account, JANE, Choice.REFUND)
        assert accepted.settlement is not None
        assert accepted.settlement.refund_id is not None
        return accepted.settlement.refund_id

    async def restart_with(self, refund: Refund, **dates: object) -> None:
        """Restart the refund with these dates of its plan.

        A jump of the clock would repeat a request without an answer a thousand times.
        """
        world = self.world
        for workflow_id in ((await world.show(JANE)).workflow_id, refund.workflow_id):
            await world.temporal.client.get_workflow_handle(workflow_id).terminate("by hand")
        async with writing(world.store.engine) as session:
            row = await session.get_one(RefundRow, refund.refund_id)
            row.ordered = row.ordered.model_copy(update=dates)
        await world.refunds.restart(refund)

    async def attention(self, at: datetime | None = None) -> dict[str, AttentionCase]:
        """Return the cases of the operators' list, by kind."""
        return {case.kind: case for case in await self.world.store.attention.cases(at)}

    async def details(self, refund: Refund) -> str:
        """Return the Current Details of the refund."""
        handle = self.world.temporal.client.get_workflow_handle(refund.workflow_id)
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return str(metadata.current_details)

    async def until(self, refund_id: str, state: RefundState) -> Refund:
        return await self.world.refund_until(refund_id, state)

    async def report(self, refund: Refund, status: str, reason: str | None = None) -> None:
        """Change the status of the refund at Stripe, and deliver its notification."""
        provider_id = refund.parts[0].provider_id
        assert provider_id is not None
        self.server.set_status(provider_id, status, reason)
        assert await self.deliver(refund, provider_id, status=status, failure_reason=reason) == 200

    async def deliver(self, refund: Refund, provider_id: str, **more: JsonValue) -> int:
        subject = stripe_refund(refund.refund_id, provider_id, **more)
        return await Deliveries(self.web).deliver(event("refund.updated", subject))


@pytest.fixture
async def stripe_world(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> AsyncIterator[StripeWorld]:
    async with (
        localstripe() as behind,
        StripeServer(behind, initial_status="pending") as server,
        a_world(
            temporal,
            set_up_databases,
            billing="stripe",
            given_stripe_api_key=SecretStr(API_KEY),
            given_stripe_webhook_secret=SecretStr(SECRET),
            stripe_api_base=server.url,
        ) as world,
    ):
        app = portal(world.clients)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://portal") as web:
            yield StripeWorld(world, server, web)


async def test_a_notification_from_stripe_settles_a_refund_at_once(
    stripe_world: StripeWorld,
) -> None:
    """REF-2: the look-up does not wait for the third business day."""
    refund = await stripe_world.refund()
    assert refund.parts[0].state is PartState.PENDING
    await stripe_world.report(refund, "succeeded")
    settled = await stripe_world.until(refund.refund_id, RefundState.SETTLED)
    assert settled.amount_open.amount == 0
    await stripe_world.world.until(JANE, "completed")
    await stripe_world.world.mailed("refund_settled", JANE)
    assert await stripe_world.world.audit() == ()


async def test_the_status_is_read_from_stripe_not_from_the_notification(
    stripe_world: StripeWorld,
) -> None:
    """REF-2: each notification triggers a look-up, and the state is the one that Stripe reports."""
    refund = await stripe_world.refund()
    statuses = await asyncio.gather(
        *(stripe_world.deliver(refund, "re_invented") for _ in range(5))
    )
    assert set(statuses) == {200}
    assert (await stripe_world.world.refunds.show(refund.refund_id)).state is RefundState.PROCESSING
    await stripe_world.report(refund, "failed", "expired_or_canceled_card")
    failed = await stripe_world.until(refund.refund_id, RefundState.FAILED)
    assert failed.failure == "expired_or_canceled_card"
    assert failed.amount_open == failed.amount


async def test_a_success_reported_after_the_conversion_reverses_the_credit_once(
    stripe_world: StripeWorld,
) -> None:
    """REF-4: the refund is settled although its run has closed."""
    refund = await stripe_world.refund()
    await stripe_world.report(refund, "failed", "declined")
    await stripe_world.until(refund.refund_id, RefundState.FAILED)
    await stripe_world.world.refunds.convert(refund.refund_id)
    await stripe_world.world.until(JANE, "completed")
    for _ in range(3):
        await stripe_world.report(refund, "succeeded")
    settled = await stripe_world.until(refund.refund_id, RefundState.SETTLED)
    assert [entry.event for entry in settled.journal].count("settle") == 1
    assert (
        await stripe_world.world.store.credits.show(stripe_world.world.account)
    ).balance.amount == 0
    assert await stripe_world.deliver(refund, "re_again") == 200
    assert await stripe_world.world.audit() == ()


async def test_a_refund_that_comes_back_is_shown_to_operators(stripe_world: StripeWorld) -> None:
    """REF-4, OPS-5: it stays settled, as the payee was notified, until a person decides."""
    world = stripe_world.world
    refund = await stripe_world.refund()
    await stripe_world.report(refund, "succeeded")
    await stripe_world.until(refund.refund_id, RefundState.SETTLED)
    await stripe_world.report(refund, "failed", "lost_or_stolen_card")
    cases = await stripe_world.attention()
    assert set(cases) == {"refund_reversed"}
    assert "came back (lost_or_stolen_card)" in cases["refund_reversed"].message
    assert (await world.refunds.show(refund.refund_id)).state is RefundState.SETTLED
    assert await world.audit() == ()


async def test_a_disputed_payment_is_shown_to_operators(stripe_world: StripeWorld) -> None:
    """OPS-5: Stripe names the payment intent that an import file has named."""
    payment = await stripe_world.server.paid(20000)
    await stripe_world.accepted(payment)
    opened = event("charge.dispute.created", dispute(payment))
    assert await Deliveries(stripe_world.web).deliver(opened) == 200
    case = (await stripe_world.attention())["payment_disputed"]
    assert case.account.endswith("jane-pro")


UNAVAILABLE = answer(503, type="api_error")
REVOKED = answer(401, type="invalid_request_error")
WEEK = timedelta(days=7)
OVERDUE_AT_ONCE = timedelta(minutes=1)
SHORT = 45.0
"""Seconds in which an operator's request is answered while Stripe is unavailable."""


async def test_a_refund_is_overdue_on_time_and_can_be_closed_while_stripe_is_unavailable(
    stripe_world: StripeWorld,
) -> None:
    """OPS-3, REF-3: neither waits for the look-up that is being retried."""
    world = stripe_world.world
    refund = await stripe_world.refund()
    stripe_world.server.failing = UNAVAILABLE
    soon = datetime.now(UTC) + timedelta(seconds=1)
    overdue_from = soon + timedelta(seconds=2)
    await stripe_world.restart_with(refund, lookups=(soon,), overdue_from=overdue_from)
    overdue = await stripe_world.until(refund.refund_id, RefundState.OVERDUE)
    assert timedelta() <= overdue.journal[-1].at - overdue_from < OVERDUE_AT_ONCE
    await world.mailed("refund_overdue", JANE)
    assert set(await stripe_world.attention()) == {"refund_overdue"}
    async with asyncio.timeout(SHORT):
        closed = await world.refunds.close(refund.refund_id, "sent by cheque")
    assert closed.state is RefundState.CLOSED
    assert await stripe_world.attention() == {}
    assert await world.audit() == ()


async def test_a_look_up_without_an_answer_for_an_hour_is_shown_to_operators(
    stripe_world: StripeWorld,
) -> None:
    """OPS-3: the next planned look-up follows."""
    world = stripe_world.world
    refund = await stripe_world.refund()
    stripe_world.server.failing = UNAVAILABLE
    plan = await world.store.refunds.plan_of(refund.refund_id)
    await world.clock.go_to(refund.workflow_id, plan.lookups[0] + timedelta(hours=1, minutes=5))
    failing = await eventually(
        lambda: world.refunds.show(refund.refund_id), until=lambda refund: refund.lookup_failure
    )
    assert failing.state is RefundState.PROCESSING
    assert "does not answer (1 of 1 payments)" in await stripe_world.details(refund)
    assert set(await stripe_world.attention()) == {"refund_lookup_failing"}
    stripe_world.server.failing = None
    await stripe_world.report(refund, "succeeded")
    settled = await stripe_world.until(refund.refund_id, RefundState.SETTLED)
    assert settled.lookup_failure is None
    await world.until(JANE, "completed")


async def test_a_conversion_waits_shortly_for_stripe_and_is_refused_without_its_answer(
    stripe_world: StripeWorld,
) -> None:
    """REF-4, OPS-3: nothing changes, and it can be repeated."""
    world = stripe_world.world
    refund = await stripe_world.refund()
    await stripe_world.report(refund, "failed", "declined")
    failed = await stripe_world.until(refund.refund_id, RefundState.FAILED)
    stripe_world.server.failing = UNAVAILABLE
    async with asyncio.timeout(SHORT):
        convert, retry = (
            world.refunds.convert(refund.refund_id),
            world.refunds.retry(refund.refund_id),
        )
        answers = await asyncio.gather(refusal_of(convert), refusal_of(retry))
    assert set(answers) == {"conflict"}
    assert await world.refunds.show(refund.refund_id) == failed
    stripe_world.server.failing = None
    assert (await world.refunds.convert(refund.refund_id)).state is RefundState.CONVERTED
    assert await world.audit() == ()


async def test_a_retry_without_an_answer_continues_in_the_background(
    stripe_world: StripeWorld,
) -> None:
    """REF-4, REF-5, OPS-3: the new request may have been carried out, so it is not given up."""
    world = stripe_world.world
    refund_id = await stripe_world.accepted("pi_unknown")
    await stripe_world.until(refund_id, RefundState.FAILED)
    stripe_world.server.failing = UNAVAILABLE
    async with asyncio.timeout(SHORT):
        retried = await world.refunds.retry(refund_id)
    assert retried.state is RefundState.PROCESSING
    [part] = retried.parts
    assert (part.state, part.attempt) == (PartState.REQUESTED, 2)
    stripe_world.server.failing = None
    failed = await stripe_world.until(refund_id, RefundState.FAILED)
    assert failed.parts[0].attempt == 2
    assert (await world.refunds.convert(refund_id)).state is RefundState.CONVERTED
    assert await world.audit() == ()


async def test_a_revoked_key_is_shown_until_look_ups_succeed_again(
    stripe_world: StripeWorld,
) -> None:
    """OPS-3: on the refund, in Current Details and on the operators' list."""
    world = stripe_world.world
    refund = await stripe_world.refund()
    assert "**Next look-up:**" in await stripe_world.details(refund)
    stripe_world.server.failing = REVOKED
    plan = await world.store.refunds.plan_of(refund.refund_id)
    await world.clock.go_to(refund.workflow_id, plan.lookups[0])
    failing = await eventually(
        lambda: world.refunds.show(refund.refund_id), until=lambda refund: refund.lookup_failure
    )
    assert failing.lookup_failure is not None
    assert failing.lookup_failure.reason == "api_key_refused (1 of 1 payments)"
    case = (await stripe_world.attention())["refund_lookup_failing"]
    assert case.since == failing.lookup_failure.since
    assert "api_key_refused" in await stripe_world.details(refund)
    assert "j…@example.com" in await stripe_world.details(refund)
    stripe_world.server.failing = None
    provider_id = refund.parts[0].provider_id or ""
    stripe_world.server.set_status(provider_id, "succeeded")
    await world.clock.go_to(refund.workflow_id, plan.lookups[1])
    settled = await stripe_world.until(refund.refund_id, RefundState.SETTLED)
    assert settled.lookup_failure is None
    assert await stripe_world.attention() == {}


async def test_a_refund_whose_request_is_never_answered_is_overdue_and_can_be_closed(
    stripe_world: StripeWorld,
) -> None:
    """OPS-3, REF-5: the request is not repeated afterwards."""
    world = stripe_world.world
    stripe_world.server.failing = UNAVAILABLE
    refund_id = await stripe_world.accepted()
    refund = await stripe_world.until(refund_id, RefundState.REQUESTED)
    listed = await stripe_world.attention(refund.requested_at + timedelta(days=1))
    assert set(listed) == {"refund_not_requested"}
    soon = datetime.now(UTC) + timedelta(seconds=2)
    await stripe_world.restart_with(
        refund, lookups=(soon,), overdue_from=soon + timedelta(seconds=2)
    )
    overdue = await stripe_world.until(refund_id, RefundState.OVERDUE)
    assert overdue.parts[0].state is PartState.REQUESTED
    assert overdue.lookup_failure is not None
    assert "has not answered the request" in overdue.lookup_failure.reason
    # A look-up that is requested meanwhile changes nothing.
    await world.refunds.notify(refund_id, "re_unknown")
    async with asyncio.timeout(SHORT):
        closed = await world.refunds.close(refund_id, "sent by cheque")
    assert closed.may_arrive_late
    stripe_world.server.failing = None
    await world.clock.pass_time(f"watch/{refund_id}", WEEK)
    assert "POST /v1/refunds" not in stripe_world.server.requests
    assert (await world.refunds.show(refund_id)).state is RefundState.CLOSED
    assert await world.audit() == ()


async def test_a_cancellation_in_temporal_neither_stops_nor_repeats_a_request(
    stripe_world: StripeWorld,
) -> None:
    """OPS-10, REF-5: it is an entry of the journal, and the request is answered later."""
    world = stripe_world.world
    stripe_world.server.failing = UNAVAILABLE
    refund_id = await stripe_world.accepted()
    refund = await stripe_world.until(refund_id, RefundState.REQUESTED)
    await world.temporal.client.get_workflow_handle(refund.workflow_id).cancel()
    cancelled = await eventually(
        lambda: world.refunds.show(refund_id),
        until=lambda refund: refund.journal[-1].event == "cancel_requested",
    )
    assert (cancelled.state, cancelled.journal[-1].by) == (RefundState.REQUESTED, "operator")
    stripe_world.server.failing = None
    processing = await stripe_world.until(refund_id, RefundState.PROCESSING)
    await stripe_world.report(processing, "succeeded")
    await stripe_world.until(refund_id, RefundState.SETTLED)
    await world.until(JANE, "completed")
    assert stripe_world.server.requests.count("POST /v1/refunds") == 1
    assert await world.audit() == ()
