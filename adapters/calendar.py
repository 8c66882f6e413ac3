"""The weekends and public holidays of a country."""

from datetime import date
from typing import Final, Protocol

from holidays import country_holidays

from domain.business_day import BusinessCalendar, IsDayOff

_SATURDAY: Final = 5


class Payer(Protocol):
    """The account that paid, as far as its calendar depends on it."""

    @property
    def time_zone(self) -> str:
        """The zone whose days are counted."""

    @property
    def country(self) -> str:
        """The country whose weekends and holidays are left out, an ISO 3166 code."""


def calendar_of(payer: Payer) -> BusinessCalendar:
    """Return the business days of the account that paid (REF-1)."""
    return BusinessCalendar(payer.time_zone, is_day_off(payer.country))


def is_day_off(country: str) -> IsDayOff:
    """Whether a day is of the weekend or a public holiday in `country`, an ISO 3166 code.

    The weekend is the one that the country had on that day: in 2022 the Emirates moved theirs.
    Regional holidays do not count: an account names no region. Nor do weekend days that are
    worked instead of others: a payee may be told a day too late. A country that the library
    lacks rests on Saturdays and Sundays and has no holidays: a payee there is told a day that
    may prove early, rather than nothing.
    """
    try:
        calendar = country_holidays(country)
    except NotImplementedError:
        return lambda day: day.weekday() >= _SATURDAY

    def rests(day: date) -> bool:
        return calendar.is_weekend(day) or day in calendar

    return rests
