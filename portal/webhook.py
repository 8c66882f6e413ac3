"""The webhook for Stripe's notifications about refunds."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Literal, Protocol

import stripe
from pydantic import Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from adapters.stripe import REFUND
from domain.error import ErrorCode, Refused, Unavailable
from domain.model import Value

REFUND_EVENTS = frozenset(
    {
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refund.updated",
        "charge.refunded",
    }
)
"""The event types that concern refunds; all others are acknowledged and ignored."""

MAX_SIGNATURE_AGE = timedelta(minutes=5)
"""Age from which a signature is a replay: Stripe signs each delivery."""
MAX_BODY_BYTES = 256 * 1024
"""Ten times the size of Stripe's own notifications."""
READ_TIMEOUT = timedelta(seconds=10)

log = logging.getLogger(__name__)


class Refunds(Protocol):
    """The client that passes notifications to refunds."""

    async def notify(self, refund_id: str, provider_id: str) -> None:
        """Make the refund look up its status; return once it has the signal.

        Raises `Refused(not_found)`, Unavailable.
        """


class _Refund(Value):
    object: Literal["refund"]
    id: str
    metadata: dict[str, str] | None = None


class _Listed(Value):
    data: tuple[_Refund, ...] = ()


class _Charge(Value):
    object: Literal["charge"]
    refunds: _Listed | None = None
    """Only in older API versions; newer ones send events of the refund itself."""


class _Subject(Value):
    object: Annotated[_Refund | _Charge, Field(discriminator="object")]


class _Kind(Value):
    type: str


class _Event(_Kind):
    data: _Subject

    def refunds(self) -> Iterator[tuple[str, str]]:
        """Return our id and Stripe's id of each of our refunds in the event."""
        subject = self.data.object
        listed = (
            (subject,) if isinstance(subject, _Refund) else subject.refunds and subject.refunds.data
        )
        for refund in listed or ():
            if refund_id := (refund.metadata or {}).get(REFUND):
                yield refund_id, refund.id


@dataclass(frozen=True)
class StripeWebhook:
    """Accepts notifications signed by Stripe, and makes each refund look up its status (REF-2).

    Only the refund's id is taken from a notification, so late, repeated and reordered ones are
    harmless. The response is 200 once the refund has the signal; after any other response Stripe
    repeats the notification for three days.
    """

    secret: str = field(repr=False)
    refunds: Refunds

    async def receive(self, request: Request) -> Response:
        """Respond to one notification."""
        try:
            async with asyncio.timeout(READ_TIMEOUT.total_seconds()):
                body = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("incomplete", 400)
        if body is None:
            return PlainTextResponse("too large", 413)
        try:
            event = self._verified(body, request.headers.get("stripe-signature"))
        except (stripe.SignatureVerificationError, ValueError):
            return PlainTextResponse("not signed by Stripe", 400)
        try:
            await self._notify(event)
        except Unavailable as unavailable:
            log.warning("Stripe must repeat a notification: %s", unavailable.message)
            return PlainTextResponse("try again", 503)
        return PlainTextResponse("thank you")

    def _verified(self, body: bytes, signature: str | None) -> _Event | None:
        """Return the event, None for other types. Raises unless Stripe signed it."""
        stripe.WebhookSignature.verify_header(
            body, signature, self.secret, int(MAX_SIGNATURE_AGE.total_seconds())
        )
        if _Kind.model_validate_json(body).type not in REFUND_EVENTS:
            return None
        return _Event.model_validate_json(body)

    async def _notify(self, event: _Event | None) -> None:
        for refund_id, provider_id in event.refunds() if event else ():
            try:
                await self.refunds.notify(refund_id, provider_id)
            except Refused as refused:
                if refused.code is not ErrorCode.NOT_FOUND:
                    raise
                # It belongs to another deployment with the same Stripe account.
                log.info("ignored a notification about an unknown refund: %s", provider_id)


async def _body(request: Request) -> bytes | None:
    """Return the body; None when it exceeds the limit."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)
