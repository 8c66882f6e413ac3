"""Look-ups of closed refunds."""

from datetime import UTC, datetime, timedelta

from domain.refund import LATE_LOOKUP_PERIOD, late_lookups

CLOSED_AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_closed_refund_is_looked_up_on_business_days_and_then_weekly() -> None:
    """REF-4: for a quarter at most."""
    business_days = tuple(CLOSED_AT + days * DAY for days in (1, 2, 3, 4, 7, 8, 9, 10, 11, 14))
    moments = list(late_lookups(CLOSED_AT, business_days))
    assert tuple(moments[:10]) == business_days
    assert [(moment - CLOSED_AT).days for moment in moments[10:]] == list(range(21, 90, 7))
    assert moments[-1] <= CLOSED_AT + LATE_LOOKUP_PERIOD
