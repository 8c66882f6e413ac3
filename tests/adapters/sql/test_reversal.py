"""Disputed payments and returned refunds, as Stripe reports them to the webhook (OPS-5)."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from adapters.provider import LedgerProvider
from adapters.sql.database.schema import InvoiceRow, ReversalRow
from adapters.sql.database.transaction import reading
from clients.invoice import InvoiceClient
from domain.attention import AttentionCase, AttentionKind
from domain.day import begin
from domain.error import ErrorCode, Refused
from domain.journal import OPERATOR
from domain.refund import PartState, Refund
from tests.builders.account import NOON, account, directory, user
from tests.builders.invitation import StoreScenario
from tests.builders.order import OrderScenario
from tests.builders.refund import (
    ACCEPTED_AT,
    book,
    import_paid_account,
    request_refund,
    with_part_states,
)
from tests.portal.stripe_events import (
    Deliveries,
    Json,
    NotifiedRefunds,
    dispute,
    event,
    refund,
    webhook,
)

CREATED = 1_772_452_800
"""2 March 2026, 12:00 UTC."""
DAY = 24 * 60 * 60
LATER = datetime(2026, 4, 1, tzinfo=UTC)


@dataclass
class Disputes:
    """A store that Stripe's events reach through the webhook."""

    scenario: StoreScenario
    stripe: Deliveries

    async def disputed(
        self, payment: str | None = "card-1", changes: Json | None = None, *, day: int = 0
    ) -> None:
        """Deliver the state of the dispute about `payment` on a day after its creation."""
        subject = dispute(payment) | (changes or {})
        reported = event("charge.dispute.updated", subject, CREATED + day * DAY)
        assert await self.stripe.deliver(reported) == 200

    async def refund_failed(self, refund_id: str, provider_id: str, *, day: int = 0) -> None:
        subject = refund(refund_id, provider_id, status="failed", failure_reason="expired_card")
        reported = event("refund.failed", subject, CREATED + day * DAY)
        assert await self.stripe.deliver(reported) == 200

    async def cases(self) -> list[AttentionCase]:
        return await self.scenario.store.attention.cases(ACCEPTED_AT)

    async def close(self, reversal_id: str) -> None:
        await self.scenario.store.reversals.close(reversal_id, "operator", "paid by bank", LATER)

    async def rows(self) -> list[ReversalRow]:
        async with reading(self.scenario.engine) as session:
            return list(await session.scalars(select(ReversalRow)))


@pytest.fixture
async def disputes(scenario: StoreScenario) -> AsyncIterator[Disputes]:
    async with webhook(NotifiedRefunds(), scenario.store.reversals) as stripe:
        yield Disputes(scenario, stripe)


async def test_a_dispute_is_listed_with_the_time_to_answer(disputes: Disputes) -> None:
    """OPS-5: at once; a repeated event changes nothing."""
    await import_paid_account(disputes.scenario)
    for _ in range(2):
        await disputes.disputed()
    [case] = await disputes.cases()
    assert (case.kind, case.account, case.id) == (AttentionKind.PAYMENT_DISPUTED, "paid", "du_1")
    assert case.since == datetime.fromtimestamp(CREATED, UTC)
    assert case.message == (
        "60.00 EUR of the payment card-1 are disputed (fraudulent). Answer at the payment"
        " provider by 2026-03-10 00:00 UTC; closing gives no answer."
    )
    assert case.remedy == "seatflow reversal close du_1 --reason TEXT"


async def test_a_payment_may_be_recorded_as_a_charge(disputes: Disputes) -> None:
    """OPS-5: files name the payments of older integrations by their charge."""
    await import_paid_account(disputes.scenario)
    await disputes.disputed("pi_unknown", {"charge": "card-1"})
    await disputes.disputed(None, {"charge": "bank-1", "id": "du_2"})
    assert {(case.id, case.account) for case in await disputes.cases()} == {
        ("du_1", "paid"),
        ("du_2", "paid"),
    }


async def test_the_payment_of_an_earlier_term_of_an_order_is_found(disputes: Disputes) -> None:
    """OPS-5: disputes arrive months after the payment."""
    purchases = OrderScenario(disputes.scenario)
    await purchases.import_account()
    order = await purchases.buy()
    account = await disputes.scenario.account("firm")
    [first] = [
        payment.id
        for line in account.subscriptions
        for payment in line.payments
        if line.id == order.order_id
    ]
    await purchases.pay(order, begin(date(2026, 4, 1), "Europe/Berlin"))
    await disputes.disputed(first)
    [case] = await disputes.cases()
    assert case.account == "firm"
    assert first in case.message


async def test_the_payment_of_an_invoice_is_found(disputes: Disputes) -> None:
    """OPS-5: `pay-invoice` has collected it."""
    invoice = {"id": "inv-1", "amount_due": "9.90", "due_on": "2026-04-01"}
    methods = [{"id": "card-1", "kind": "card"}]
    payer = account("payer", user("pia@payer.example", "owner"), payment_methods=methods)
    await disputes.scenario.store.directory.import_(directory({**payer, "invoices": [invoice]}))
    provider = LedgerProvider(disputes.scenario.engine, 4, frozenset())
    client = InvoiceClient(disputes.scenario.store.invoices, lambda: nullcontext(provider))
    await client.pay("payer", "inv-1", by=OPERATOR, at=NOON)
    async with reading(disputes.scenario.engine) as session:
        payment = await session.scalar(
            select(InvoiceRow.payment).where(InvoiceRow.account_id == "payer")
        )
    await disputes.disputed(payment)
    [case] = await disputes.cases()
    assert case.account == "payer"


async def test_a_dispute_about_an_unknown_payment_is_not_kept(disputes: Disputes) -> None:
    """OPS-5: it belongs to another program with the same Stripe account."""
    await disputes.disputed("pi_of_a_shop")
    assert await disputes.rows() == []


@pytest.mark.parametrize(
    ("status", "case_type"),
    [("won", "chargeback"), ("warning_closed", "inquiry"), ("prevented", "block")],
)
async def test_a_dispute_disappears_when_the_money_stays(
    disputes: Disputes, status: str, case_type: str
) -> None:
    """OPS-5: nothing is left to do; the dispute is kept."""
    await import_paid_account(disputes.scenario)
    await disputes.disputed()
    details: Json = {"card": {"case_type": case_type}}
    closed: Json = {"status": status, "payment_method_details": details}
    await disputes.disputed(changes=closed, day=30)
    assert await disputes.cases() == []
    assert [row.status for row in await disputes.rows()] == ["won"]


@pytest.mark.parametrize(
    ("status", "case_type"), [("lost", "chargeback"), ("prevented", "resolution")]
)
async def test_a_lost_dispute_is_listed_until_it_is_closed(
    disputes: Disputes, status: str, case_type: str
) -> None:
    """OPS-5: also one that was closed while the bank was deciding, once."""
    await import_paid_account(disputes.scenario)
    await disputes.disputed()
    await disputes.close("du_1")
    await disputes.disputed(day=1)
    assert await disputes.cases() == []
    details: Json = {"card": {"case_type": case_type}}
    lost: Json = {"status": status, "payment_method_details": details}
    await disputes.disputed(changes=lost, day=30)
    [case] = await disputes.cases()
    assert case.since == datetime.fromtimestamp(CREATED, UTC)
    assert case.message == (
        "The dispute about the payment card-1 was lost (fraudulent): 60.00 EUR are gone."
        " Agree with the account how to pay them, then close the case."
    )
    await disputes.close("du_1")
    await disputes.disputed(changes=lost, day=31)
    assert await disputes.cases() == []


@pytest.mark.parametrize(
    "answered",
    [
        {"status": "under_review"},
        {"status": "warning_under_review", "evidence_details": None},
        {"status": "appeal_under_review", "payment_method_details": None},
        {"status": "needs_response", "evidence_details": {"due_by": 0}},
        {"status": "a_status_of_tomorrow"},
    ],
)
async def test_while_the_bank_decides_no_answer_is_requested(
    disputes: Disputes, answered: Json
) -> None:
    """OPS-5: also if the bank accepts no answer."""
    await import_paid_account(disputes.scenario)
    await disputes.disputed(changes=answered)
    [case] = await disputes.cases()
    assert case.message == (
        "60.00 EUR of the payment card-1 are disputed (fraudulent)."
        " The bank is deciding; a lost dispute is listed again."
    )


async def test_an_event_that_arrives_late_changes_nothing(disputes: Disputes) -> None:
    """OPS-5: Stripe does not deliver events in order."""
    await import_paid_account(disputes.scenario)
    await disputes.disputed(changes={"status": "lost"}, day=30)
    await disputes.disputed(day=0)
    await disputes.disputed(day=30)
    [case] = await disputes.cases()
    assert "was lost" in case.message


async def test_a_dispute_of_a_currency_without_decimals(disputes: Disputes) -> None:
    """OPS-5: Stripe's amounts are counted in its own units."""
    await import_paid_account(disputes.scenario)
    for number, currency in enumerate(("jpy", "ugx", "kwd")):
        await disputes.disputed(changes={"id": f"du_{number}", "currency": currency})
    found = {case.message.partition(" of ")[0] for case in await disputes.cases()}
    assert found == {"6000 JPY", "60 UGX", "6.000 KWD"}


async def arrived(scenario: StoreScenario) -> Refund:
    """Return a refund of 40.00 whose part to the card has arrived, and that to the bank not."""
    _, requested = await request_refund(scenario)
    changed = with_part_states(requested, PartState.SUCCEEDED, PartState.PENDING)
    ids = ("re_card", "re_bank")
    parts = tuple(
        part.model_copy(update={"provider_id": provider_id})
        for part, provider_id in zip(changed.parts, ids, strict=True)
    )
    await book(scenario, changed.with_parts(parts), ACCEPTED_AT)
    return await scenario.store.refunds.latest(requested.refund_id)


async def test_a_refund_that_comes_back_is_listed_until_it_is_closed(disputes: Disputes) -> None:
    """REF-4, OPS-5: the payee has been notified of its arrival."""
    kept = await arrived(disputes.scenario)
    await disputes.refund_failed(kept.refund_id, "re_card", day=9)
    [case] = await disputes.cases()
    assert (case.kind, case.account, case.id) == (AttentionKind.REFUND_REVERSED, "acme", "re_card")
    assert case.message == (
        f"30.00 EUR of the refund {kept.refund_id} had arrived and came back (expired_card)."
        " Agree with the payee on another way, then close the case."
    )
    assert case.remedy == "seatflow reversal close re_card --reason TEXT"
    await disputes.close("re_card")
    await disputes.refund_failed(kept.refund_id, "re_card", day=9)
    assert await disputes.cases() == []
    [row] = await disputes.rows()
    assert (row.closed_at, row.closed_by, row.closing_reason) == (LATER, "operator", "paid by bank")


async def test_a_refund_that_fails_before_it_arrives_is_no_reversal(disputes: Disputes) -> None:
    """REF-4: it becomes `failed` by its look-up; unknown ones belong to another program."""
    kept = await arrived(disputes.scenario)
    await disputes.refund_failed(kept.refund_id, "re_bank")
    await disputes.refund_failed(kept.refund_id, "re_unknown")
    await disputes.refund_failed("rf-unknown", "re_card")
    assert await disputes.rows() == []


async def test_only_a_listed_reversal_can_be_closed(disputes: Disputes) -> None:
    """OPS-8: the first reason is kept."""
    store = disputes.scenario.store.reversals
    await import_paid_account(disputes.scenario)
    await disputes.disputed()
    await disputes.disputed("bank-1", {"id": "du_2", "status": "won"})
    await disputes.close("du_1")
    for reversal_id, code in (
        ("du_1", ErrorCode.CONFLICT),
        ("du_2", ErrorCode.CONFLICT),
        ("du_3", ErrorCode.NOT_FOUND),
    ):
        with pytest.raises(Refused) as refused:
            await store.close(reversal_id, "operator", "again", LATER + timedelta(days=1))
        assert refused.value.code is code
    reasons = {row.reversal_id: row.closing_reason for row in await disputes.rows()}
    assert reasons == {"du_1": "paid by bank", "du_2": None}


async def test_reports_leave_the_ledger_as_it_is(disputes: Disputes) -> None:
    """AUD: a person decides what a dispute or a returned refund means for the account."""
    kept = await arrived(disputes.scenario)
    await disputes.disputed()
    await disputes.refund_failed(kept.refund_id, "re_card")
    assert len(await disputes.rows()) == 2
    assert (await disputes.scenario.store.audit()).violations == ()
