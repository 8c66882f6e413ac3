"""Weekends and public holidays by country."""

from datetime import date
from typing import Final, Protocol

from holidays import country_holidays

from domain.business_day import BusinessCalendar, IsDayOff

_SATURDAY: Final = 5


class PayerCalendar(Protocol):
    """The account that paid, as far as its calendar depends on it."""

    @property
    def time_zone(self) -> str:
        """The zone whose days are counted."""

    @property
    def country(self) -> str:
        """The country whose weekends and holidays are left out, an ISO 3166 code."""


def calendar_of(payer: PayerCalendar) -> BusinessCalendar:
    """Return the business days of the account that paid (REF-1)."""
    return BusinessCalendar(payer.time_zone, is_day_off(payer.country))


def is_day_off(country: str) -> IsDayOff:
    """Return a predicate for the weekends and public holidays of `country`, an ISO 3166 code.

    The weekend is the one that the country had on that day: in 2022 the Emirates moved theirs.
    Regional holidays are not counted: an account names no region. A weekend day that is declared
    a working day still counts as off, so the stated date may be a day too late. A country that
    the library does not know gets Saturdays and Sundays and no holidays: a date that may be too
    early is better than none.
    """
    try:
        calendar = country_holidays(country)
    except NotImplementedError:
        return lambda day: day.weekday() >= _SATURDAY

    def is_off(day: date) -> bool:
        return calendar.is_weekend(day) or day in calendar

    return is_off
