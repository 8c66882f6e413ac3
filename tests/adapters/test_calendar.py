"""Weekends and public holidays by country."""

from datetime import UTC, date, datetime, timedelta

import pytest

from adapters.calendar import is_day_off
from domain.business_day import arrival_window


@pytest.mark.parametrize(
    ("country", "day", "off"),
    [
        # By the countries' laws.
        ("US", date(2026, 11, 26), True),
        ("US", date(2026, 11, 27), False),
        ("DE", date(2025, 10, 3), True),
        ("DE", date(2026, 11, 26), False),
        # Observed on the Friday before a Saturday.
        ("US", date(2026, 7, 3), True),
        # Holidays of one region only.
        ("DE", date(2025, 8, 15), False),
        ("JP", date(2026, 11, 23), True),
    ],
)
def test_only_holidays_of_the_whole_country_count(country: str, day: date, off: bool) -> None:
    """REF-1: public holidays of the whole country are off, regional ones are not."""
    assert is_day_off(country)(day) is off


@pytest.mark.parametrize(
    ("country", "week_of", "off"),
    [
        ("DE", date(2026, 6, 8), ["Sat", "Sun"]),
        # Since 1 September 2007: Arab News, https://www.arabnews.com/node/298933.
        ("KW", date(2026, 6, 8), ["Fri", "Sat"]),
        ("SA", date(2026, 6, 8), ["Fri", "Sat"]),
        ("IL", date(2026, 6, 8), ["Fri", "Sat"]),
        # Moved on 1 January 2022: Time, https://time.com/6126260/uae-working-days-weekend/.
        ("AE", date(2021, 6, 7), ["Fri", "Sat"]),
        ("AE", date(2026, 6, 8), ["Sat", "Sun"]),
        # Unknown to the library.
        ("AC", date(2026, 6, 8), ["Sat", "Sun"]),
    ],
)
def test_the_weekend_is_the_one_that_the_country_had_then(
    country: str, week_of: date, off: list[str]
) -> None:
    """REF-1: in weeks without a holiday; weekends of the `holidays` library, version 0.109."""
    week = [week_of + timedelta(days=days) for days in range(7)]
    assert [f"{day:%a}" for day in week if is_day_off(country)(day)] == off


def test_an_unknown_country_has_no_holidays() -> None:
    """REF-1: for a country that the library does not know, only weekends are off."""
    assert not is_day_off("AC")(date(2026, 12, 25))


@pytest.mark.parametrize(
    ("country", "zone", "first", "last"),
    [
        ("DE", "Europe/Berlin", date(2026, 11, 25), date(2026, 11, 27)),
        ("AE", "Asia/Dubai", date(2026, 11, 25), date(2026, 11, 27)),
        # The business week begins on Sunday.
        ("KW", "Asia/Kuwait", date(2026, 11, 24), date(2026, 11, 26)),
        ("IL", "Asia/Jerusalem", date(2026, 11, 24), date(2026, 11, 26)),
    ],
)
def test_the_weekend_of_the_country_moves_the_arrival_window(
    country: str, zone: str, first: date, last: date
) -> None:
    """REF-1: counted on a calendar from the Friday of worked example 14; no holiday in between."""
    friday = datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert arrival_window(friday, zone, is_day_off(country)) == (first, last)


def test_thanksgiving_delays_an_american_refund() -> None:
    """REF-1: the arrival window of worked example 15."""
    friday = datetime(2026, 11, 20, 15, tzinfo=UTC)
    window = arrival_window(friday, "America/New_York", is_day_off("US"))
    assert window == (date(2026, 11, 25), date(2026, 11, 30))
