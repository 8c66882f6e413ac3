"""The dates at which refunds arrive, are looked up and are late."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.business_day import IsDayOff, arrival_window, lookup_times, overdue_from
from domain.day import day_of

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
FRIDAY = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def november(day: int) -> date:
    return date(2026, 11, day)


THANKSGIVING = november(26)


SATURDAY = 5


def on(*days: date) -> IsDayOff:
    """Return a calendar with these holidays, and Saturday and Sunday off."""
    return lambda day: day in days or day.weekday() >= SATURDAY


no_holidays = on()


@pytest.mark.parametrize(
    ("accepted_at", "zone", "holidays", "first", "last"),
    [
        # Worked examples 14 and 15, refund arrival.
        (FRIDAY, BERLIN, [], november(25), november(27)),
        (FRIDAY, NEW_YORK, [THANKSGIVING], november(25), november(30)),
        # Counted on a calendar: accepted on a Saturday, on a Monday, on a holiday.
        (FRIDAY + timedelta(days=1), BERLIN, [], november(25), november(27)),
        (FRIDAY + timedelta(days=3), BERLIN, [], november(26), november(30)),
        (FRIDAY - timedelta(days=2), BERLIN, [november(18)], november(23), november(25)),
        # A holiday on a Saturday takes no day away; two in a row take two.
        (FRIDAY, BERLIN, [november(21)], november(25), november(27)),
        (
            FRIDAY - timedelta(days=7),
            BERLIN,
            [november(16), november(17)],
            november(20),
            november(24),
        ),
        # 03:30 on Friday in UTC is still Thursday in New York.
        (FRIDAY - timedelta(hours=12), NEW_YORK, [], november(24), november(26)),
    ],
)
def test_a_refund_arrives_on_the_third_to_the_fifth_business_day(
    accepted_at: datetime, zone: str, holidays: Collection[date], first: date, last: date
) -> None:
    """REF-1: days are counted from the day after the acceptance, in the source account's zone."""
    assert arrival_window(accepted_at, zone, on(*holidays)) == (first, last)


def test_a_window_of_no_days_is_the_day_of_acceptance() -> None:
    """REF-1: a policy of 0 business days means the day of the acceptance."""
    saturday = FRIDAY + timedelta(days=1)
    accepted_on, monday = date(2026, 11, 21), date(2026, 11, 23)
    assert arrival_window(saturday, BERLIN, no_holidays, 0, 1) == (accepted_on, monday)


@pytest.mark.parametrize(
    ("zone", "late"),
    [
        (BERLIN, datetime(2026, 11, 27, 23, tzinfo=UTC)),
        (NEW_YORK, datetime(2026, 11, 28, 5, tzinfo=UTC)),
        ("Asia/Tokyo", datetime(2026, 11, 27, 15, tzinfo=UTC)),
    ],
)
def test_a_refund_is_late_when_its_last_day_is_over(zone: str, late: datetime) -> None:
    """REF-3: it is overdue from the end of Friday 27 November in the source account's zone."""
    assert overdue_from((date(2026, 11, 25), date(2026, 11, 27)), zone) == late


def test_the_weekend_is_that_of_the_country() -> None:
    """REF-1: with Friday and Saturday off, Sunday is the first business day."""
    friday_and_saturday = (4, 5)
    window = arrival_window(FRIDAY, "Asia/Kuwait", lambda day: day.weekday() in friday_and_saturday)
    assert window == (november(24), november(26))


def test_a_refund_is_looked_up_on_business_days_at_the_time_of_its_request() -> None:
    """REF-2: look-ups start on the third business day."""
    assert lookup_times(FRIDAY, NEW_YORK, on(THANKSGIVING), first=3, times=3) == (
        datetime(2026, 11, 25, 15, 30, tzinfo=UTC),
        datetime(2026, 11, 27, 15, 30, tzinfo=UTC),
        datetime(2026, 11, 30, 15, 30, tzinfo=UTC),
    )
    assert lookup_times(FRIDAY, NEW_YORK, no_holidays, first=3, times=0) == ()


@pytest.mark.parametrize(
    ("requested", "looked_up"),
    [
        # Requested on the Wednesday before clocks change on Sunday; third to fifth day.
        (datetime(2026, 3, 25, 9, tzinfo=UTC), ["2026-03-30T08:00", "2026-03-31T08:00"]),
        (datetime(2026, 10, 21, 8, tzinfo=UTC), ["2026-10-26T09:00", "2026-10-27T09:00"]),
    ],
)
def test_the_time_of_day_stays_when_clocks_change(
    requested: datetime, looked_up: list[str]
) -> None:
    """REF-2: the look-up is at 10:00 in Berlin before and after the change."""
    expected = tuple(datetime.fromisoformat(f"{each}+00:00") for each in looked_up)
    assert lookup_times(requested, BERLIN, no_holidays, first=3, times=2) == expected


def test_a_time_of_day_in_a_clock_gap_moves_forward() -> None:
    """REF-2: in Cairo, 00:30 did not exist on Friday 28 April 2023; the look-up is at 01:30."""
    requested = datetime(2023, 4, 26, 22, 30, tzinfo=UTC)
    before, after = lookup_times(requested, "Africa/Cairo", no_holidays, first=1, times=2)
    assert before == datetime(2023, 4, 27, 22, 30, tzinfo=UTC)
    assert after == datetime(2023, 4, 30, 21, 30, tzinfo=UTC)


@given(
    accepted_at=st.datetimes(
        min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC)
    ),
    zone=st.sampled_from([BERLIN, NEW_YORK, "Africa/Cairo", "Asia/Tokyo"]),
    off=st.sets(st.integers(min_value=0, max_value=10)),
)
def test_every_lookup_is_on_a_business_day_and_the_window_holds_the_first(
    accepted_at: datetime, zone: str, off: set[int]
) -> None:
    """REF-1, REF-2: for every country, zone and time of acceptance."""
    holidays = on(*(day_of(accepted_at, zone) + timedelta(days=days) for days in off))
    first, last = arrival_window(accepted_at, zone, holidays)
    looked_up = lookup_times(accepted_at, zone, holidays, first=3, times=3)
    days = [day_of(each, zone) for each in looked_up]
    assert days == sorted(set(days))
    assert (days[0], days[-1]) == (first, last)
    assert not any(map(holidays, days))
    assert looked_up[-1] < overdue_from((first, last), zone)
