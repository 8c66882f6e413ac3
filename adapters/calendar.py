"""Weekends, public holidays and bank holidays by country."""

import re
from datetime import date
from typing import Final, Protocol

from holidays import BANK, country_holidays

from domain.business_day import BusinessCalendar, IsDayOff

_SATURDAY: Final = 5
_PART_OF_DAY: Final = re.compile(r"\((from|afternoon)")


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
    """Return a predicate for the days on which banks in `country` are closed, an ISO 3166 code.

    They are the weekend, which is the one that the country had on that day (in 2022 the Emirates
    moved theirs), its public holidays, and those on which only banks are closed, where the library
    lists them: in Sweden the eves of Midsummer, Christmas and New Year. `docs/operations.md` lists
    what is not known. A country that the library does not know gets Saturdays and Sundays and no
    holidays: a date that may be too early is better than none.
    """
    try:
        public = country_holidays(country)
    except NotImplementedError:
        return lambda day: day.weekday() >= _SATURDAY
    bank = None
    if BANK in public.supported_categories:
        bank = country_holidays(country, categories=(BANK,), language="en_US")

    def is_off(day: date) -> bool:
        closed = public.is_weekend(day) or day in public
        return closed or (bank is not None and any(map(_is_whole_day, bank.get_list(day))))

    return is_off


def _is_whole_day(bank_holiday: str) -> bool:
    # Banks that close at 14:00, as in Sweden on 23 December, still settle payments on that day.
    return _PART_OF_DAY.search(bank_holiday) is None
