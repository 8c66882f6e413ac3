"""The public holidays of a country."""

from datetime import date

from holidays import country_holidays

from domain.business_day import IsHoliday


def is_holiday(country: str) -> IsHoliday:
    """Whether a day is a public holiday everywhere in `country`, an ISO 3166 code.

    Regional holidays do not count: an account names no region. A country that the library
    lacks has none: a payee there is told a day that may prove early, rather than nothing.
    """
    try:
        calendar = country_holidays(country)
    except NotImplementedError:
        return lambda day: False

    def is_public_holiday(day: date) -> bool:
        return day in calendar

    return is_public_holiday
