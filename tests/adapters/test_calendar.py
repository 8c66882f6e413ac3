"""Weekends, public holidays and bank holidays by country."""

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
    ("country", "days", "off"),
    [
        # The Riksbank's calendar of RIX: https://www.riksbank.se, "Bankdagar".
        ("SE", [date(2026, 6, 19), date(2026, 12, 24), date(2026, 12, 31)], True),
        # Banks close at 14:00, and settle payments.
        ("SE", [date(2026, 1, 5), date(2026, 4, 2), date(2026, 6, 18), date(2026, 12, 23)], False),
        ("LU", [date(2026, 12, 24)], False),
        # Shops and offices are open; banks are closed.
        ("AT", [date(2026, 4, 3), date(2026, 12, 24), date(2026, 12, 31)], True),
        ("JP", [date(2026, 1, 2), date(2026, 12, 31)], True),
        # Public, and not named as a bank holiday too.
        ("SE", [date(2026, 1, 6), date(2026, 5, 1), date(2026, 6, 20)], True),
        ("DE", [date(2026, 12, 24)], False),
    ],
)
def test_days_on_which_only_banks_are_closed_count(
    country: str, days: list[date], off: bool
) -> None:
    """REF-1: a refund travels through banks; those that close early still settle it."""
    assert {day: is_day_off(country)(day) for day in days} == dict.fromkeys(days, off)


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


def test_midsummer_delays_a_swedish_refund() -> None:
    """REF-1: 17 June 2026 is a Wednesday; banks are closed on Friday, Midsummer Eve."""
    wednesday = datetime(2026, 6, 17, 9, tzinfo=UTC)
    window = arrival_window(wednesday, "Europe/Stockholm", is_day_off("SE"))
    assert window == (date(2026, 6, 23), date(2026, 6, 25))
