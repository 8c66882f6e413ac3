"""The weekends and public holidays of a country."""

from datetime import date
from typing import Final

from holidays import country_holidays

from domain.business_day import IsDayOff

_SATURDAY: Final = 5


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
