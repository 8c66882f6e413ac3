"""Events that Stripe signs, and their delivery to the webhook."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import stripe
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.routing import Route

from portal.webhook import Refunds, Reversals, StripeWebhook

SECRET = "whsec_seatflow"
Json = dict[str, JsonValue]


@dataclass
class NotifiedRefunds:
    """A fake client that records notifications, or fails to pass them on."""

    notified: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def notify(self, refund_id: str, provider_id: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.notified.append((refund_id, provider_id))


@dataclass
class Deliveries:
    """The webhook behind a web client, as Stripe calls it."""

    web: httpx.AsyncClient

    async def deliver(self, event: Json | str, signature: str | None = None) -> int:
        """Return the status of the response; the default signature is that of Stripe."""
        body = event if isinstance(event, str) else json.dumps(event)
        response = await self.web.post(
            "/webhooks/stripe",
            content=body,
            headers={"Stripe-Signature": signed(body) if signature is None else signature},
        )
        return response.status_code


@asynccontextmanager
async def webhook(refunds: Refunds, reversals: Reversals) -> AsyncIterator[Deliveries]:
    """Serve the webhook over `refunds` and `reversals`."""
    receive = StripeWebhook(SECRET, refunds, reversals).receive
    app = Starlette(routes=[Route("/webhooks/stripe", receive, methods=["POST"])])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://portal") as web:
        yield Deliveries(web)


def signed(body: str, *, secret: str = SECRET, seconds_ago: int = 0) -> str:
    """Return the signature, as computed by Stripe's own code."""
    at = int(time.time()) - seconds_ago
    return str(stripe.WebhookSignature.generate_signature_header(body, secret, at))


def refund(refund_id: str | None = "rf-1", provider_id: str = "re_1", **more: JsonValue) -> Json:
    """Return a refund that has succeeded; without `refund_id` it is none of ours."""
    metadata: Json = {"seatflow_refund": refund_id, "seatflow_key": "k"} if refund_id else {}
    return {
        "id": provider_id,
        "object": "refund",
        "status": "succeeded",
        "metadata": metadata,
        **more,
    }


def dispute(payment_intent: str | None) -> Json:
    """Return a dispute about 60.00 EUR, to be answered by 10 March 2026."""
    return {
        "id": "du_1",
        "object": "dispute",
        "amount": 6000,
        "currency": "eur",
        "charge": "ch_1",
        "payment_intent": payment_intent,
        "reason": "fraudulent",
        "status": "needs_response",
        "created": 1_772_452_800,
        "evidence_details": {"due_by": 1_773_100_800, "has_evidence": False},
        "payment_method_details": {"type": "card", "card": {"case_type": "chargeback"}},
    }


def event(kind: str, subject: Json, created: int = 1_772_452_800) -> Json:
    return {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-09-30.dahlia",
        "created": created,
        "type": kind,
        "data": {"object": subject, "previous_attributes": {"status": "pending"}},
    }
