"""A refund at Stripe, from the acceptance to what Stripe tells the portal."""

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
class Shop:
    """A world whose payments are Stripe's, and who reports from there."""

    world: World
    server: StripeServer
    web: httpx.AsyncClient

    async def refund(self) -> Refund:
        """Jane has paid by card at Stripe, and has accepted with a refund."""
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
        """Stripe's word on the refund changes, and Stripe says so."""
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
        answer = await self.web.post(
            "/webhooks/stripe", content=body, headers={"Stripe-Signature": str(signature)}
        )
        return answer.status_code


@pytest.fixture
async def shop(temporal: WorkflowEnvironment, set_up_databases: Databases) -> AsyncIterator[Shop]:
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
            yield Shop(world, server, web)


async def test_what_stripe_tells_short_cuts_the_days(shop: Shop) -> None:
    """REF-2: nobody waits for the third business day."""
    refund = await shop.refund()
    assert refund.parts[0].state is PartState.PENDING
    await shop.report(refund, "succeeded")
    settled = await shop.until(refund.refund_id, RefundState.SETTLED)
    assert settled.amount_open.amount == 0
    await shop.world.until(JANE, "completed")
    await shop.world.mailed("refund_settled", JANE)
    assert await shop.world.audit() == ()


async def test_a_notification_is_never_believed_by_itself(shop: Shop) -> None:
    """REF-2: Stripe is asked, whatever was said, however often."""
    refund = await shop.refund()
    answers = await asyncio.gather(*(shop.deliver(refund, "re_invented") for _ in range(5)))
    assert set(answers) == {200}
    assert (await shop.world.refunds.show(refund.refund_id)).state is RefundState.PROCESSING
    await shop.report(refund, "failed", "expired_or_canceled_card")
    failed = await shop.until(refund.refund_id, RefundState.FAILED)
    assert failed.failure == "expired_or_canceled_card"
    assert failed.amount_open == failed.amount


async def test_a_success_told_after_the_end_wakes_the_refund(shop: Shop) -> None:
    """REF-4: it has become credit and its run is over; the credit is taken back, once."""
    refund = await shop.refund()
    await shop.report(refund, "failed", "declined")
    await shop.until(refund.refund_id, RefundState.FAILED)
    await shop.world.refunds.convert(refund.refund_id)
    await shop.world.until(JANE, "completed")
    for _ in range(3):
        await shop.report(refund, "succeeded")
    settled = await shop.until(refund.refund_id, RefundState.SETTLED)
    assert [entry.event for entry in settled.journal].count("settle") == 1
    assert (await shop.world.store.credits.show(shop.world.account)).balance.amount == 0
    assert await shop.deliver(refund, "re_again") == 200
    assert await shop.world.audit() == ()
