"""Calendar days of 23, 24 or 25 hours, by the zone."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from domain.day import at_time, begin, day_of, end


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        # The source is the IANA time-zone database.
        ("Europe/Berlin", date(2026, 3, 28), 24),
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        # 00:00 is skipped; 00:00 is shown twice.
        ("America/Sao_Paulo", date(2017, 10, 15), 23),
        ("America/Havana", date(2026, 11, 1), 25),
    ],
)
def test_a_day_begins_and_ends_with_the_clocks_of_its_zone(
    zone: str, day: date, hours: int
) -> None:
    """QUO-2: days may have 23, 24 or 25 hours."""
    assert end(day, zone) - begin(day, zone) == timedelta(hours=hours)
    assert day_of(begin(day, zone), zone) == day
    assert day_of(begin(day, zone) - timedelta(microseconds=1), zone) == day - timedelta(days=1)
    assert day_of(end(day, zone), zone) == day + timedelta(days=1)


def test_a_time_in_a_clock_gap_moves_forward() -> None:
    """REF-2: it is moved by the length of the gap."""
    skipped = at_time(date(2026, 3, 29), time(2, 30), "Europe/Berlin")
    assert skipped == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_the_first_of_two_equal_clock_times_counts() -> None:
    """REF-2: clocks show it twice when they are set back."""
    twice = at_time(date(2026, 10, 25), time(2, 30, fold=1), "Europe/Berlin")
    assert twice == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
