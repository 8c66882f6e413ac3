"""A refund at Stripe, from the acceptance to the notifications of the portal."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
import stripe
from pydantic import SecretStr
from temporalio.testing import WorkflowEnvironment

from domain.invitation import Choice
from domain.refund import PartState, Refund, RefundState
from portal.app import portal
from tests.database import Databases
from tests.stripe_server import API_KEY, StripeServer, localstripe
from tests.world import JANE, World, a_world

SECRET = "whsec_seatflow"


@dataclass
class StripeWorld:
    """A world with payments at Stripe, and a portal that receives its notifications."""

    world: World
    server: StripeServer
    web: httpx.AsyncClient

    async def refund(self) -> Refund:
        """Accept for Jane, who has paid by card at Stripe, with a refund."""
        today = datetime.now(ZoneInfo("Europe/Berlin")).date()
        payment = {"id": await self.server.paid(20000), "method": "card", "amount": "200.00"}
        await self.world.imported(
            "jane-pro",
            plan="pro",
            users=[(JANE, "owner")],
            subscriptions=[
                {
                    "id": "sub-1",
                    "product": "Pro",
                    "kind": "plan",
                    "quantity": 1,
                    "cycle": "annual",
                    "period_start": str(today - timedelta(days=100)),
                    "period_end": str(today + timedelta(days=100)),
                    "payments": [payment],
                }
            ],
        )
        await self.world.pending(JANE)
        accepted = await self.world.client.accept(self.world.account, JANE, Choice.REFUND)
        assert accepted.settlement is not None
        assert accepted.settlement.refund_id is not None
        return await self.until(accepted.settlement.refund_id, RefundState.PROCESSING)

    async def until(self, refund_id: str, state: RefundState) -> Refund:
        return await self.world.refund_until(refund_id, state)

    async def report(self, refund: Refund, status: str, reason: str | None = None) -> None:
        """Change the status of the refund at Stripe, and deliver its notification."""
        provider_id = refund.parts[0].provider_id
        assert provider_id is not None
        self.server.set_status(provider_id, status, reason)
        assert await self.deliver(refund, provider_id) == 200

    async def deliver(self, refund: Refund, provider_id: str) -> int:
        subject = {
            "id": provider_id,
            "object": "refund",
            "metadata": {"seatflow_refund": refund.refund_id},
        }
        body = json.dumps({"type": "refund.updated", "data": {"object": subject}})
        signature = stripe.WebhookSignature.generate_signature_header(body, SECRET)
        response = await self.web.post(
            "/webhooks/stripe", content=body, headers={"Stripe-Signature": str(signature)}
        )
        return response.status_code


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
        app = portal(world.settings, world.refunds)
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
