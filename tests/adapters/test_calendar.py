"""Which days are holidays, by country."""

from datetime import UTC, date, datetime

import pytest

from adapters.calendar import is_holiday
from domain.business_day import arrival_window


@pytest.mark.parametrize(
    ("country", "day", "off"),
    [
        # The countries' own laws.
        ("US", date(2026, 11, 26), True),
        ("US", date(2026, 11, 27), False),
        ("DE", date(2026, 10, 3), True),
        ("DE", date(2026, 11, 26), False),
        # Observed on the Friday before a Saturday.
        ("US", date(2026, 7, 3), True),
        # Holidays of one region only.
        ("DE", date(2026, 8, 15), False),
        ("JP", date(2026, 11, 23), True),
    ],
)
def test_a_public_holiday_is_one_everywhere_in_its_country(
    country: str, day: date, off: bool
) -> None:
    assert is_holiday(country)(day) is off


def test_a_country_that_nobody_lists_has_no_holidays() -> None:
    assert not is_holiday("AC")(date(2026, 12, 25))


def test_thanksgiving_delays_an_american_refund() -> None:
    """REF-1; worked example 15, refund arrival."""
    friday = datetime(2026, 11, 20, 15, tzinfo=UTC)
    window = arrival_window(friday, "America/New_York", is_holiday("US"))
    assert window == (date(2026, 11, 25), date(2026, 11, 30))
