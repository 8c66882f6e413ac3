"""The webhook for Stripe's notifications about refunds and disputes."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Protocol

import stripe
from pydantic import AliasPath, AwareDatetime, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from adapters.stripe import REFUND
from adapters.stripe_amount import money_of
from domain.error import ErrorCode, Refused, Unavailable
from domain.model import Value
from domain.reversal import Dispute, FailedRefund, ReversalStatus

REFUND_EVENTS = frozenset(
    {
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refund.updated",
        "charge.refunded",
    }
)
"""The event types that concern refunds."""

DISPUTE_EVENTS = "charge.dispute."
"""The beginning of the types that concern disputes; all others are acknowledged and ignored."""

_STATUSES = {
    "won": ReversalStatus.WON,
    "warning_closed": ReversalStatus.WON,
    "lost": ReversalStatus.LOST,
    # It was prevented by a refund, unless it was blocked.
    "prevented": ReversalStatus.LOST,
}
"""The final statuses of disputes; all others are open."""
_BLOCKED = ("prevented", "block")
_UNANSWERED = "needs_response"
"""The end of each status in which the bank expects an answer."""

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


class Reversals(Protocol):
    """The store of money that Stripe has moved back."""

    async def report_dispute(self, dispute: Dispute) -> bool:
        """Keep the dispute; return false for unknown payments. Raises Unavailable."""

    async def report_failed_refund(self, failed: FailedRefund) -> bool:
        """Keep the refund if it had arrived; return false otherwise. Raises Unavailable."""


class _Refund(Value):
    object: Literal["refund"]
    id: str
    metadata: dict[str, str] | None = None
    status: str | None = None
    failure_reason: str | None = None


class _Dispute(Value):
    object: Literal["dispute"]
    id: str
    amount: int
    currency: str
    charge: str | None = None
    payment_intent: str | None = None
    reason: str | None = None
    status: str
    created: AwareDatetime
    case_type: str | None = Field(
        default=None, validation_alias=AliasPath("payment_method_details", "card", "case_type")
    )
    due_by: int | None = Field(
        default=None, validation_alias=AliasPath("evidence_details", "due_by")
    )
    """0 if the bank accepts no answer."""

    def reversal_status(self) -> ReversalStatus:
        """Return the status; one that Stripe may add is open."""
        if (self.status, self.case_type) == _BLOCKED:
            return ReversalStatus.WON
        return _STATUSES.get(self.status, ReversalStatus.OPEN)

    def answer_by(self) -> datetime | None:
        """Return the time until which the bank expects an answer, if it does."""
        if not self.due_by or not self.status.endswith(_UNANSWERED):
            return None
        return datetime.fromtimestamp(self.due_by, UTC)


class _Listed(Value):
    data: tuple[_Refund, ...] = ()


class _Charge(Value):
    object: Literal["charge"]
    refunds: _Listed | None = None
    """Only in older API versions; newer ones send events of the refund itself."""


class _Subject(Value):
    object: Annotated[_Refund | _Charge | _Dispute, Field(discriminator="object")]


class _Kind(Value):
    type: str


class _Event(_Kind):
    data: _Subject
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    def refunds(self) -> Iterator[tuple[str, _Refund]]:
        """Return our id of each of our refunds in the event, and the refund."""
        match self.data.object:
            case _Refund() as refund:
                listed: tuple[_Refund, ...] = (refund,)
            case _Charge(refunds=_Listed(data=refunds)):
                listed = refunds
            case _:
                listed = ()
        for refund in listed:
            if refund_id := (refund.metadata or {}).get(REFUND):
                yield refund_id, refund

    def dispute(self) -> Dispute | None:
        """Return the dispute that the event is about, if any."""
        dispute = self.data.object
        if not isinstance(dispute, _Dispute):
            return None
        return Dispute(
            dispute_id=dispute.id,
            payments=tuple(filter(None, (dispute.payment_intent, dispute.charge))),
            amount=money_of(dispute.amount, dispute.currency),
            reason=dispute.reason,
            status=dispute.reversal_status(),
            since=dispute.created,
            answer_by=dispute.answer_by(),
            reported_at=self.created,
        )


@dataclass(frozen=True)
class StripeWebhook:
    """Accepts notifications signed by Stripe, and makes each refund look up its status (REF-2).

    Only the refund's id is taken from a notification, so late, repeated and reordered ones are
    harmless. Disputes, and refunds that come back after they had arrived, are kept for operators
    as the newest notification reports them (OPS-5). The response is 200 once the refund has the
    signal and the report is kept; after any other response Stripe repeats the notification for
    three days.
    """

    secret: str = field(repr=False)
    refunds: Refunds
    reversals: Reversals

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
        kind = _Kind.model_validate_json(body).type
        if kind not in REFUND_EVENTS and not kind.startswith(DISPUTE_EVENTS):
            return None
        return _Event.model_validate_json(body)

    async def _notify(self, event: _Event | None) -> None:
        if event is None:
            return
        if (dispute := event.dispute()) and not await self.reversals.report_dispute(dispute):
            # Another deployment with the same Stripe account may know the payment.
            log.info("ignored a dispute about an unknown payment: %s", dispute.dispute_id)
        for refund_id, refund in event.refunds():
            await self._notify_refund(refund_id, refund, event.created)

    async def _notify_refund(self, refund_id: str, refund: _Refund, at: datetime) -> None:
        if refund.status == "failed":
            await self.reversals.report_failed_refund(
                FailedRefund(
                    refund_id=refund_id,
                    provider_id=refund.id,
                    reason=refund.failure_reason,
                    reported_at=at,
                )
            )
        try:
            await self.refunds.notify(refund_id, refund.id)
        except Refused as refused:
            if refused.code is not ErrorCode.NOT_FOUND:
                raise
            # It belongs to another deployment with the same Stripe account.
            log.info("ignored a notification about an unknown refund: %s", refund.id)


async def _body(request: Request) -> bytes | None:
    """Return the body; None when it exceeds the limit."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)
