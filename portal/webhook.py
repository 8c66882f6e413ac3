"""What Stripe tells us: that a refund has news."""

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

HEARD = frozenset(
    {
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refund.updated",
        "charge.refunded",
    }
)
"""The notifications that say something of a refund; all others are thanked for."""

OLDEST = timedelta(minutes=5)
"""An older signature is a replay: Stripe signs each delivery anew."""
LARGEST = 256 * 1024
"""Bytes; Stripe's own are a tenth of it."""
READ_WITHIN = timedelta(seconds=10)

log = logging.getLogger(__name__)


class Refunds(Protocol):
    """Whom to tell."""

    async def notify(self, refund_id: str, provider_id: str) -> None:
        """Let the refund look at once; returns when that is certain.

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
    """Older versions of the API list them; with newer ones the refund's own events come too."""


class _Subject(Value):
    object: Annotated[_Refund | _Charge, Field(discriminator="object")]


class _Kind(Value):
    type: str


class _Event(_Kind):
    data: _Subject

    def refunds(self) -> Iterator[tuple[str, str]]:
        """The refunds of ours that it is about: our id, and Stripe's."""
        about = self.data.object
        told = (about,) if isinstance(about, _Refund) else about.refunds and about.refunds.data
        for refund in told or ():
            if refund_id := (refund.metadata or {}).get(REFUND):
                yield refund_id, refund.id


@dataclass(frozen=True)
class StripeWebhook:
    """Takes what Stripe has signed, and lets each refund look for itself (REF-2).

    Nothing in a notification is believed but which refund it is about: late, repeated and
    overtaken ones are harmless. Stripe is answered with 200 once the refund knows; anything
    else makes it say the same again, for three days.
    """

    secret: str = field(repr=False)
    refunds: Refunds

    async def take(self, request: Request) -> Response:
        """Answer one notification."""
        try:
            async with asyncio.timeout(READ_WITHIN.total_seconds()):
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
            await self._pass_on(event)
        except Unavailable as unavailable:
            log.warning("Stripe has to say it again: %s", unavailable.message)
            return PlainTextResponse("try again", 503)
        return PlainTextResponse("thank you")

    def _verified(self, body: bytes, signature: str | None) -> _Event | None:
        """The event, or None when it does not concern us. Raises when it is not Stripe's."""
        stripe.WebhookSignature.verify_header(
            body, signature, self.secret, int(OLDEST.total_seconds())
        )
        if _Kind.model_validate_json(body).type not in HEARD:
            return None
        return _Event.model_validate_json(body)

    async def _pass_on(self, event: _Event | None) -> None:
        for refund_id, provider_id in event.refunds() if event else ():
            try:
                await self.refunds.notify(refund_id, provider_id)
            except Refused as refused:
                if refused.code is not ErrorCode.NOT_FOUND:
                    raise
                # Of another deployment that shares the account: saying it again changes nothing.
                log.info("Stripe tells of an unknown refund: %s", provider_id)


async def _body(request: Request) -> bytes | None:
    """What was sent; None when it is larger than anything that Stripe sends."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            return None
    return bytes(body)
