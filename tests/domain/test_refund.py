"""Look-ups of closed refunds, and changes of records."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from domain.journal import JournalEntry
from domain.money import Money
from domain.refund import (
    LATE_LOOKUP_PERIOD,
    PartReport,
    PartState,
    Refund,
    RefundChange,
    RefundPart,
    RefundState,
    amount_open,
    late_lookups,
)

CLOSED_AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_closed_refund_is_looked_up_on_business_days_and_then_weekly() -> None:
    """REF-4: for a quarter at most."""
    business_days = tuple(CLOSED_AT + days * DAY for days in (1, 2, 3, 4, 7, 8, 9, 10, 11, 14))
    moments = list(late_lookups(CLOSED_AT, business_days))
    assert tuple(moments[:10]) == business_days
    assert [(moment - CLOSED_AT).days for moment in moments[10:]] == list(range(21, 90, 7))
    assert moments[-1] <= CLOSED_AT + LATE_LOOKUP_PERIOD


def test_a_change_has_the_changed_parts_and_leads_to_the_same_record() -> None:
    """OPS-7: its size depends on what happened, not on the number of payments."""
    euro = Money(amount=Decimal("1.00"), currency="EUR")
    parts = tuple(
        RefundPart(payment=f"pay-{number}", method="card", amount=euro) for number in range(100)
    )
    before = Refund(
        refund_id="rf-1",
        workflow_id="refund/rf-1",
        state=RefundState.PROCESSING,
        amount=amount_open(parts),
        amount_open=amount_open(parts),
        parts=parts,
        requested_at=CLOSED_AT,
        arrives_between=(CLOSED_AT.date(), CLOSED_AT.date()),
    )
    report = PartReport(payment="pay-7", attempt=1, state=PartState.FAILED, failure="declined")
    entry = JournalEntry(
        at=CLOSED_AT, event="fail", from_state="processing", to_state="failed", by="seatflow"
    )
    after = before.with_reports([report]).with_entry(entry, allowed=("close",))
    change = RefundChange.between(before, after)
    assert [part.payment for part in change.parts] == ["pay-7"]
    assert change.applied_to(before) == after
