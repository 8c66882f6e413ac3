"""The webhook for notifications from Stripe."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from domain.error import ErrorCode, Refused, Unavailable
from domain.reversal import Dispute, FailedRefund
from portal.webhook import MAX_BODY_BYTES
from tests.portal.stripe_events import (
    Deliveries,
    Json,
    NotifiedRefunds,
    dispute,
    event,
    refund,
    signed,
    webhook,
)


@dataclass
class ReportedReversals:
    """A fake store that records reports, knows no payment, or does not answer."""

    reported: list[Dispute | FailedRefund] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def report_dispute(self, dispute: Dispute) -> bool:
        return self._report(dispute)

    async def report_failed_refund(self, failed: FailedRefund) -> bool:
        return self._report(failed)

    def _report(self, report: Dispute | FailedRefund) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        self.reported.append(report)
        return False


@dataclass
class Portal(Deliveries):
    """The webhook over fakes."""

    refunds: NotifiedRefunds
    reversals: ReportedReversals


@pytest.fixture
async def portal() -> AsyncIterator[Portal]:
    refunds, reversals = NotifiedRefunds(), ReportedReversals()
    async with webhook(refunds, reversals) as deliveries:
        yield Portal(deliveries.web, refunds, reversals)


@pytest.mark.parametrize(
    "kind", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"]
)
async def test_a_notification_about_a_refund_is_passed_to_the_refund(
    portal: Portal, kind: str
) -> None:
    """REF-2: it triggers a look-up at once."""
    assert await portal.deliver(event(kind, refund())) == 200
    assert portal.refunds.notified == [("rf-1", "re_1")]


async def test_each_refund_of_a_charge_is_notified(portal: Portal) -> None:
    """REF-2: older versions of the API list the refunds in the charge."""
    refunds: Json = {
        "object": "list",
        "data": [refund("rf-1", "re_1"), refund(None, "re_2"), refund("rf-3", "re_3")],
    }
    charge: Json = {"id": "ch_1", "object": "charge", "refunds": refunds}
    assert await portal.deliver(event("charge.refunded", charge)) == 200
    assert portal.refunds.notified == [("rf-1", "re_1"), ("rf-3", "re_3")]


@pytest.mark.parametrize(
    "unrelated",
    [
        event("charge.refunded", {"id": "ch_1", "object": "charge"}),
        event("refund.updated", refund(None)),
        event("refund.updated", refund() | {"metadata": None}),
        event("payment_intent.succeeded", {"id": "pi_1", "object": "payment_intent"}),
    ],
)
async def test_an_event_without_a_refund_of_ours_is_acknowledged(
    portal: Portal, unrelated: Json
) -> None:
    """REF-2: Stripe does not repeat it, and no refund is notified."""
    assert await portal.deliver(unrelated) == 200
    assert portal.refunds.notified == []


async def test_a_repeated_notification_is_passed_on_each_time(portal: Portal) -> None:
    """REF-2: repeats and reordered events are harmless; the refund reads its state from Stripe."""
    for kind in ("refund.updated", "refund.created", "refund.created"):
        assert await portal.deliver(event(kind, refund())) == 200
    assert len(portal.refunds.notified) == 3


BODY = json.dumps(event("refund.updated", refund()))


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (BODY, ""),
        (BODY, "nonsense"),
        (BODY, "t=1,v1="),
        (BODY, "t=now,v1=00"),
        (BODY, signed(BODY, secret="whsec_another")),
        (BODY, signed(BODY).replace("v1=", "v0=")),
        (BODY.replace("rf-1", "rf-2"), signed(BODY)),
        ("\udce4", "t=1,v1=00"),
        ("not json", signed("not json")),
        ("[]", signed("[]")),
        ('{"type": "refund.updated"}', signed('{"type": "refund.updated"}')),
    ],
    # A signature holds the time, and a test has the same name in every process.
    ids=itertools.count(),
)
async def test_a_request_that_stripe_has_not_signed_is_refused(
    portal: Portal, body: str, signature: str
) -> None:
    """SEATFLOW_STRIPE_WEBHOOK_SECRET: signature, content and form are verified (400)."""
    raw = body.encode(errors="surrogateescape")
    response = await portal.web.post(
        "/webhooks/stripe", content=raw, headers={"Stripe-Signature": signature}
    )
    assert response.status_code == 400
    assert portal.refunds.notified == []


async def test_a_replayed_delivery_is_refused_after_five_minutes(portal: Portal) -> None:
    """SEATFLOW_STRIPE_WEBHOOK_SECRET: the signature includes the time."""
    assert await portal.deliver(BODY, signed(BODY, seconds_ago=290)) == 200
    assert await portal.deliver(BODY, signed(BODY, seconds_ago=310)) == 400
    assert len(portal.refunds.notified) == 1


async def test_one_of_two_signatures_is_enough_while_the_secret_changes(portal: Portal) -> None:
    """SEATFLOW_STRIPE_WEBHOOK_SECRET: Stripe signs with the old and the new secret for a while."""
    old, new = signed(BODY, secret="whsec_old"), signed(BODY)
    assert await portal.deliver(BODY, f"{old},{new.partition(',')[2]}") == 200


async def test_without_temporal_stripe_repeats_the_notification(portal: Portal) -> None:
    """REF-2: a notification is acknowledged only once the refund has it (503)."""
    portal.refunds.failures = [Unavailable("Temporal does not answer.")]
    assert await portal.deliver(BODY) == 503
    assert await portal.deliver(BODY) == 200
    assert portal.refunds.notified == [("rf-1", "re_1")]


async def test_a_notification_about_an_unknown_refund_is_acknowledged(portal: Portal) -> None:
    """REF-2: another deployment may share the Stripe account; a repeat would not help."""
    portal.refunds.failures = [Refused(ErrorCode.NOT_FOUND, "There is no such refund.")]
    assert await portal.deliver(BODY) == 200


async def test_a_dispute_about_an_unknown_payment_is_acknowledged(portal: Portal) -> None:
    """OPS-5: another deployment may share the Stripe account; a repeat would not help."""
    assert await portal.deliver(event("charge.dispute.created", dispute("pi_1"))) == 200
    assert len(portal.reversals.reported) == 1
    assert portal.refunds.notified == []


@pytest.mark.parametrize(
    "reported",
    [
        event("charge.dispute.created", dispute("pi_1")),
        event("refund.failed", refund(status="failed")),
    ],
)
async def test_without_the_store_stripe_repeats_a_report(portal: Portal, reported: Json) -> None:
    """OPS-5: it is acknowledged only once it is kept (503)."""
    portal.reversals.failures = [Unavailable("The database does not answer.")]
    assert await portal.deliver(reported) == 503
    assert portal.refunds.notified == []
    assert await portal.deliver(reported) == 200
    assert len(portal.reversals.reported) == 1


async def test_a_failed_refund_is_reported_and_notified(portal: Portal) -> None:
    """REF-4: it may have arrived before, or is still expected."""
    failed = refund(status="failed", failure_reason="lost_or_stolen_card")
    assert await portal.deliver(event("refund.failed", failed)) == 200
    [report] = portal.reversals.reported
    assert isinstance(report, FailedRefund)
    assert (report.refund_id, report.provider_id) == ("rf-1", "re_1")
    assert report.reason == "lost_or_stolen_card"
    assert portal.refunds.notified == [("rf-1", "re_1")]


async def test_a_body_that_is_too_large_is_not_read_to_its_end(portal: Portal) -> None:
    """`/webhooks/stripe`: the request is refused (413) as soon as the limit is passed."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10 * MAX_BODY_BYTES:
            sent += 64 * 1024
            yield bytes(64 * 1024)
            await asyncio.sleep(0)

    response = await portal.web.post("/webhooks/stripe", content=endless())
    assert response.status_code == 413
    assert sent <= MAX_BODY_BYTES + 2 * 64 * 1024


async def test_only_post_is_accepted(portal: Portal) -> None:
    """`/webhooks/stripe`: a GET is refused (405)."""
    assert (await portal.web.get("/webhooks/stripe")).status_code == 405
