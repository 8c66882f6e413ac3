"""The unused share of a paid period, under every policy."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.day import begin, end, to_utc
from domain.money import rounded
from domain.proration import (
    ChangeDay,
    ProrationTerms,
    Unit,
    period_days,
    unused_days,
    unused_share,
)

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def terms(
    unit: Unit = "day", change_day: ChangeDay = "unused", time_zone: str | None = BERLIN
) -> ProrationTerms:
    return ProrationTerms(unit=unit, change_day=change_day, time_zone=time_zone)


def during(day: date, hour: int = 15, zone: str = BERLIN) -> datetime:
    return begin(day, zone) + timedelta(hours=hour)


# Worked examples from public sources: (paid, start, end, change on, unit, unused).
CASES = [
    pytest.param("10.00", (2026, 4, 1), (2026, 5, 1), (2026, 4, 16), "second", "5.00",
                 id="1 Stripe docs, Prorations: exactly half of the period"),
    pytest.param("24.95", (2021, 8, 25), (2021, 9, 25), (2021, 9, 16), "day", "7.24",
                 id="2 Kill Bill, catalog examples: 9/31"),
    pytest.param("24.95", (2021, 9, 1), (2021, 10, 1), (2021, 9, 9), "day", "18.30",
                 id="3 Kill Bill, catalog examples: 22/30"),
    pytest.param("24.95", (2021, 8, 1), (2021, 9, 1), (2021, 8, 24), "day", "6.44",
                 id="4 Kill Bill, catalog examples: 8/31"),
    pytest.param("24.95", (2021, 9, 1), (2021, 10, 1), (2021, 9, 6), "day", "20.79",
                 id="4 Kill Bill, catalog examples: 25/30"),
    pytest.param("17.95", (2021, 9, 1), (2021, 10, 1), (2021, 9, 11), "day", "11.97",
                 id="5 Kill Bill, catalog examples: 20/30"),
    pytest.param("19.95", (2023, 4, 23), (2023, 5, 23), (2023, 5, 15), "fixed30", "5.32",
                 id="6 Kill Bill, TestInvoiceFixedProration: 05-15 to 05-23"),
    pytest.param("19.95", (2023, 5, 15), (2023, 6, 15), (2023, 5, 23), "fixed30", "14.63",
                 id="6 Kill Bill, TestInvoiceFixedProration: 05-23 to 06-15"),
    pytest.param("60.00", (2012, 4, 1), (2012, 5, 1), (2012, 4, 21), "day", "20.00",
                 id="8 Chargebee docs, proration: change on the 21st"),
    pytest.param("30.00", (2012, 4, 1), (2012, 5, 1), (2012, 4, 5), "day", "26.00",
                 id="9 Chargebee docs, proration: change on the 5th"),
    pytest.param("100.00", (2026, 1, 1), (2026, 2, 1), (2026, 1, 15), "day", "54.84",
                 id="10 Lago docs, upgrades: 14/31 are used, 45.16"),
]  # fmt: skip


@pytest.mark.parametrize(("paid", "start", "last", "change", "unit", "unused"), CASES)
def test_worked_examples_of_other_products_hold(
    paid: str,
    start: tuple[int, int, int],
    last: tuple[int, int, int],
    change: tuple[int, int, int],
    unit: Unit,
    unused: str,
) -> None:
    """QUO-1, QUO-2: the day of the change is unused."""
    at = during(date(*change), hour=0, zone="UTC")
    share = unused_share(date(*start), date(*last), at, terms(unit, time_zone="UTC"))
    assert rounded(Decimal(paid) * share.numerator / share.denominator, "EUR").amount == Decimal(
        unused
    )


@pytest.mark.parametrize(
    ("start", "last", "change", "factor"),
    [
        # 7, Kill Bill, TestInvoiceDateUtilsWithFixedProration.
        (date(2024, 2, 15), date(2024, 3, 15), date(2024, 2, 23), "0.733333333"),
        (date(2023, 4, 23), date(2023, 5, 23), date(2023, 5, 15), "0.266666667"),
        # The same test, its other rows.
        (date(2023, 2, 15), date(2023, 3, 15), date(2023, 2, 23), "0.733333333"),
        (date(2023, 6, 15), date(2023, 7, 15), date(2023, 6, 23), "0.733333333"),
    ],
)
def test_fixed_months_have_thirty_days(start: date, last: date, change: date, factor: str) -> None:
    """QUO-2: in leap years as well."""
    share = unused_share(start, last, during(change), terms("fixed30"))
    assert f"{share.numerator / Decimal(share.denominator):.9f}" == factor
    assert period_days(start, last, terms("fixed30")) == 30


@pytest.mark.parametrize(
    ("start", "last", "days"),
    [
        (date(2026, 1, 1), date(2027, 1, 1), 360),
        (date(2024, 2, 1), date(2024, 3, 1), 30),
        (date(2026, 1, 31), date(2026, 2, 28), 28),
        (date(2026, 1, 31), date(2026, 3, 31), 60),
        (date(2026, 5, 30), date(2026, 5, 31), 0),
    ],
)
def test_fixed_months_count_day_31_as_day_30(start: date, last: date, days: int) -> None:
    """QUO-2: a year has 360 days; worked out by hand from the rule."""
    assert period_days(start, last, terms("fixed30")) == days


@pytest.mark.parametrize(
    ("start", "last", "change", "unused", "whole"),
    [
        # Leap years.
        (date(2024, 2, 1), date(2024, 3, 1), date(2024, 2, 29), 1, 29),
        (date(2026, 2, 1), date(2026, 3, 1), date(2026, 2, 28), 1, 28),
        (date(2024, 1, 1), date(2025, 1, 1), date(2024, 7, 1), 184, 366),
        # Month-end anchors.
        (date(2026, 1, 31), date(2026, 2, 28), date(2026, 2, 1), 27, 28),
        (date(2026, 2, 28), date(2026, 3, 31), date(2026, 3, 30), 1, 31),
    ],
)
def test_days_are_calendar_days(
    start: date, last: date, change: date, unused: int, whole: int
) -> None:
    """QUO-2: counted on a calendar."""
    at = during(change)
    assert unused_share(start, last, at, terms()) == Fraction(unused, whole)
    assert unused_days(start, last, at, terms()) == unused
    assert period_days(start, last, terms()) == whole


@pytest.mark.parametrize(
    ("zone", "start", "last", "changed", "days"),
    [
        # (…, the day on which clocks change, days of the month); IANA time-zone database.
        (BERLIN, date(2026, 3, 1), date(2026, 4, 1), date(2026, 3, 29), 31),
        (BERLIN, date(2026, 10, 1), date(2026, 11, 1), date(2026, 10, 25), 31),
        (NEW_YORK, date(2026, 3, 1), date(2026, 4, 1), date(2026, 3, 8), 31),
        (NEW_YORK, date(2026, 11, 1), date(2026, 12, 1), date(2026, 11, 1), 30),
    ],
)
def test_a_day_on_which_clocks_change_counts_as_one(
    zone: str, start: date, last: date, changed: date, days: int
) -> None:
    """QUO-2: in both directions, from its first instant to its last."""
    for at in (begin(changed, zone), end(changed, zone) - timedelta(microseconds=1)):
        share = unused_share(start, last, at, terms(time_zone=zone))
        assert share == Fraction((last - changed).days, days)


@pytest.mark.parametrize(("changed", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_seconds_are_elapsed_time(changed: date, hours: int) -> None:
    """QUO-2: a day of 23 or 25 hours has as many seconds."""
    next_day = changed + timedelta(days=1)
    at = begin(changed, BERLIN) + timedelta(hours=1)
    assert unused_share(changed, next_day, at, terms("second")) == Fraction(hours - 1, hours)


def test_the_day_is_that_of_the_source_account() -> None:
    """QUO-2: 23:30 on the 10th in New York is 05:30 on the 11th in Berlin."""
    at = datetime(2026, 6, 11, 3, 30, tzinfo=UTC)
    june = date(2026, 6, 1), date(2026, 7, 1)
    assert unused_days(*june, at, terms(time_zone=NEW_YORK)) == 21
    assert unused_days(*june, at, terms(time_zone=BERLIN)) == 20
    assert unused_days(*june, at, terms(time_zone=None)) == 20


@pytest.mark.parametrize("unit", ["day", "fixed30"])
def test_the_day_of_change_is_unused_or_used(unit: Unit) -> None:
    """QUO-2: with `used`, the result is that of a change on the next day."""
    april = date(2026, 4, 1), date(2026, 5, 1)
    at = during(date(2026, 4, 21))
    assert unused_share(*april, at, terms(unit)) == Fraction(10, 30)
    assert unused_share(*april, at, terms(unit, "used")) == Fraction(9, 30)


def test_seconds_have_no_day_of_change() -> None:
    """QUO-2: the policy `used` has no effect with the unit `second`."""
    april = date(2026, 4, 1), date(2026, 5, 1)
    at = during(date(2026, 4, 21))
    assert unused_share(*april, at, terms("second", "used")) == unused_share(
        *april, at, terms("second")
    )
    assert unused_days(*april, at, terms("second", "used")) == 10


@pytest.mark.parametrize("unit", ["day", "second", "fixed30"])
@pytest.mark.parametrize("change_day", ["unused", "used"])
def test_all_is_unused_before_the_period_and_nothing_after(
    unit: Unit, change_day: ChangeDay
) -> None:
    """QUO-2: periods are half-open."""
    april, under = (date(2026, 4, 1), date(2026, 5, 1)), terms(unit, change_day)
    moment_before = timedelta(microseconds=1)
    before, after = begin(april[0], BERLIN) - moment_before, begin(april[1], BERLIN)
    for at in (before, before - timedelta(days=400)):
        assert unused_share(*april, at, under) == 1
        assert unused_days(*april, at, under) == 30
    for at in (after, after + timedelta(days=400)):
        assert unused_share(*april, at, under) == 0
        assert unused_days(*april, at, under) == 0


@pytest.mark.parametrize(
    ("unit", "change_day", "first", "last"),
    [
        ("day", "unused", Fraction(1), Fraction(1, 30)),
        ("day", "used", Fraction(29, 30), Fraction(0)),
        ("fixed30", "unused", Fraction(1), Fraction(1, 30)),
        ("fixed30", "used", Fraction(29, 30), Fraction(0)),
        ("second", "unused", Fraction(1), Fraction(1, 30 * 24 * 3600 * 10**6)),
    ],
)
def test_a_change_in_the_first_and_in_the_last_instant(
    unit: Unit, change_day: ChangeDay, first: Fraction, last: Fraction
) -> None:
    """QUO-2: worked out by hand from the rule."""
    april, under = (date(2026, 4, 1), date(2026, 5, 1)), terms(unit, change_day)
    at_end = begin(april[1], BERLIN)
    assert unused_share(*april, begin(april[0], BERLIN), under) == first
    assert unused_share(*april, at_end - timedelta(microseconds=1), under) == last


@pytest.mark.parametrize("change_day", ["unused", "used"])
@pytest.mark.parametrize("unit", ["day", "second", "fixed30"])
def test_an_empty_period_has_no_unused_share(unit: Unit, change_day: ChangeDay) -> None:
    """QUO-2: its end is excluded."""
    day, under = date(2026, 4, 1), terms(unit, change_day)
    assert unused_share(day, day, during(day), under) == 0
    assert unused_share(day, day, during(day - timedelta(days=2)), under) == 1
    assert period_days(day, day, under) == 0


# Properties of all periods.

days = st.dates(min_value=date(2019, 1, 1), max_value=date(2029, 12, 31))
moments = st.datetimes(
    min_value=datetime(2019, 1, 1), max_value=datetime(2029, 12, 31), timezones=st.just(UTC)
)
instants = days | moments
any_terms = st.builds(
    terms,
    st.sampled_from(["day", "second", "fixed30"]),
    st.sampled_from(["unused", "used"]),
    st.sampled_from([BERLIN, NEW_YORK, "Asia/Kathmandu", "Pacific/Auckland", None]),
)


def in_order(
    under: ProrationTerms,
) -> Callable[[date | datetime], datetime]:
    return lambda instant: to_utc(instant, under.zone)


def length(start: date | datetime, last: date | datetime, under: ProrationTerms) -> int:
    """Return the length, computed independently of the code except for fixed months."""
    match under.unit:
        case "second":
            passed = to_utc(last, under.zone) - to_utc(start, under.zone)
            return passed // timedelta(microseconds=1)
        case _:
            return period_days(start, last, under)


@given(under=any_terms, period=st.tuples(instants, instants), at=moments)
def test_a_share_lies_between_0_and_1(
    under: ProrationTerms, period: tuple[date | datetime, date | datetime], at: datetime
) -> None:
    """QUO-2: for every period and policy."""
    start, last = sorted(period, key=in_order(under))
    assert 0 <= unused_share(start, last, at, under) <= 1
    assert 0 <= unused_days(start, last, at, under) <= period_days(start, last, under)


@given(under=any_terms, period=st.tuples(instants, instants), changes=st.tuples(moments, moments))
def test_a_share_never_grows_with_time(
    under: ProrationTerms,
    period: tuple[date | datetime, date | datetime],
    changes: tuple[datetime, datetime],
) -> None:
    """QUO-2: for every period and policy."""
    start, last = sorted(period, key=in_order(under))
    sooner, later = sorted(changes)
    assert unused_share(start, last, sooner, under) >= unused_share(start, last, later, under)
    assert unused_days(start, last, sooner, under) >= unused_days(start, last, later, under)


@given(under=any_terms, cuts=st.tuples(instants, instants, instants), at=moments)
def test_shares_of_two_parts_add_up_to_that_of_the_period(
    under: ProrationTerms,
    cuts: tuple[date | datetime, date | datetime, date | datetime],
    at: datetime,
) -> None:
    """QUO-2: for every period and policy."""
    a, b, c = sorted(cuts, key=in_order(under))

    def unused(start: date | datetime, last: date | datetime) -> Fraction:
        return unused_share(start, last, at, under) * length(start, last, under)

    assert unused(a, c) == unused(a, b) + unused(b, c)


@given(period=st.tuples(days, days), at=moments)
def test_days_shown_are_the_days_computed_with(period: tuple[date, date], at: datetime) -> None:
    """QUO-2: for units of days."""
    start, last = sorted(period)
    for under in (terms(), terms("fixed30", "used")):
        whole = period_days(start, last, under)
        if whole:
            share = Fraction(unused_days(start, last, at, under), whole)
            assert unused_share(start, last, at, under) == share
