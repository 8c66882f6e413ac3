"""Billing dates, and the part of a cycle that is due."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.billing_cycle import BillingDay

# (every month's, or this month's; day; after; next, and the days of the cycle that ends there).
NEXT = [
    pytest.param(None, 15, (2026, 3, 2), (2026, 3, 15), 28, id="later in the month"),
    pytest.param(None, 15, (2026, 3, 15), (2026, 4, 15), 31, id="on the day itself: a cycle on"),
    pytest.param(None, 1, (2026, 12, 31), (2027, 1, 1), 31, id="over the year's end"),
    pytest.param(None, 31, (2026, 1, 31), (2026, 2, 28), 28, id="31: the last of February"),
    pytest.param(None, 31, (2026, 2, 28), (2026, 3, 31), 31, id="31: and the 31st again"),
    pytest.param(None, 31, (2026, 3, 31), (2026, 4, 30), 30, id="31: the last of April"),
    pytest.param(None, 30, (2028, 1, 30), (2028, 2, 29), 30, id="30: in a leap year"),
    pytest.param(None, 29, (2026, 2, 1), (2026, 2, 28), 30, id="29: in no leap year"),
    pytest.param(3, 1, (2026, 3, 2), (2027, 3, 1), 365, id="a year: later in it"),
    pytest.param(3, 1, (2027, 3, 1), (2028, 3, 1), 366, id="a year on, over 29 February"),
    pytest.param(2, 29, (2028, 2, 29), (2029, 2, 28), 365, id="29 February: a year on"),
    pytest.param(2, 29, (2031, 2, 28), (2032, 2, 29), 366, id="29 February: and again"),
]

# (price 100 a cycle: every month's day, bought on, until, due/days).
SHARES = [
    pytest.param(1, (2026, 3, 17), (15, 31), id="ADD-4: 15 of 31 days"),
    pytest.param(1, (2026, 3, 1), (31, 31), id="on the billing day: a full cycle"),
    pytest.param(1, (2026, 2, 28), (1, 28), id="the last day"),
    pytest.param(31, (2026, 2, 10), (18, 28), id="from 31 January to 28 February"),
    # Cases 2, 3 and 5 of Kill Bill's catalog examples, read as purchases.
    pytest.param(25, (2021, 9, 16), (9, 31), id="2 Kill Bill: 9/31"),
    pytest.param(1, (2021, 9, 9), (22, 30), id="3 Kill Bill: 22/30"),
    pytest.param(1, (2021, 9, 11), (20, 30), id="5 Kill Bill: 20/30"),
]


@pytest.mark.parametrize(("month", "day", "after", "following", "days"), NEXT)
def test_the_next_billing_date_follows_the_billing_day(
    month: int | None,
    day: int,
    after: tuple[int, int, int],
    following: tuple[int, int, int],
    days: int,
) -> None:
    """ADD-4: in shorter months it is the last day."""
    billing = BillingDay(day=day, month=month)
    assert billing.next_after(date(*after)) == date(*following)
    assert billing.term(date(*after)).cycle_days == days


@pytest.mark.parametrize(("day", "bought_on", "expected"), SHARES)
def test_a_first_payment_is_a_share_of_the_cycle(
    day: int, bought_on: tuple[int, int, int], expected: tuple[int, int]
) -> None:
    """ADD-4: days to the next billing date ÷ days of the cycle."""
    term = BillingDay(day=day).term(date(*bought_on))
    assert ((term.end - term.start).days, term.cycle_days) == expected


def test_a_term_may_end_with_a_plan_that_was_paid_for_years() -> None:
    """ADD-4: the term ends with the plan's period; its cycle is the last year of it."""
    end = date(2036, 7, 1)
    term = BillingDay.of_year(end).term(date(2026, 7, 1), end)
    assert (term.end, term.cycle_days) == (end, 366)
    assert term.share > 9


days = st.dates(min_value=date(1970, 1, 1), max_value=date(2200, 1, 1))
billing_days = st.builds(
    BillingDay, day=st.integers(1, 31), month=st.none() | st.integers(min_value=1, max_value=12)
)


@settings(deadline=None)  # Other tests may have the processor.
@given(billing_days, days)
def test_a_first_term_is_a_part_of_a_cycle_and_a_renewal_all_of_it(
    billing: BillingDay, day: date
) -> None:
    """ADD-4: a renewal pays for a whole cycle."""
    first = billing.term(day)
    assert 0 < first.share <= 1
    assert billing.last_before(first.end) <= day < first.end
    renewal = billing.term(first.end)
    assert renewal.share == 1
    assert renewal.start == first.end < renewal.end


@settings(deadline=None)  # Other tests may have the processor.
@given(st.integers(1, 31), days)
def test_the_anchor_day_never_drifts(day: int, start: date) -> None:
    """ADD-7: after a year of renewals it is the same day, or the last of a shorter month."""
    billing, on = BillingDay(day=day), start
    for _ in range(24):
        on = billing.next_after(on)
        assert on.day == day or (on.day < day and (on + timedelta(days=1)).day == 1)
