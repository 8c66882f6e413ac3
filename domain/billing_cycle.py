"""Billing dates, and the part of a cycle that is due (ADD-4).

All dates are days in the account's time zone; activities convert them to instants.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date
from fractions import Fraction

from pydantic import Field

from domain.model import Value

_MONTHS = 12


class Term(Value):
    """The half-open period [start, end) that one invoice pays for."""

    start: date
    end: date
    """A billing date."""
    cycle_days: int
    """The number of days of the whole cycle that ends on `end`."""

    @property
    def share(self) -> Fraction:
        """Return the part of the cycle's price that is due; 1 for a whole cycle."""
        return Fraction((self.end - self.start).days, self.cycle_days)


class BillingDay(Value):
    """The day on which cycles begin, in every month or in one month of every year.

    In a shorter month it is the last day; longer months have the original day again.
    """

    day: int = Field(ge=1, le=31)
    month: int | None = Field(default=None, ge=1, le=_MONTHS)
    """None for monthly cycles."""

    @classmethod
    def of_year(cls, day: date) -> "BillingDay":
        """Return the billing day of annual cycles, given a day on which one begins or ends."""
        return cls(day=day.day, month=day.month)

    def next_after(self, day: date) -> date:
        """Return the first billing date later than `day`."""
        return min(billing for billing in self._around(day) if billing > day)

    def last_before(self, day: date) -> date:
        """Return the last billing date earlier than `day`."""
        return max(billing for billing in self._around(day) if billing < day)

    def term(self, start: date, end: date | None = None) -> Term:
        """Return the term from `start` to the billing date `end`, by default the next one."""
        end = end or self.next_after(start)
        return Term(start=start, end=end, cycle_days=(end - self.last_before(end)).days)

    def _around(self, day: date) -> Iterator[date]:
        """Yield the billing dates of the previous, the present and the next month or year."""
        step = 1 if self.month is None else _MONTHS
        months = day.year * _MONTHS + (self.month or day.month) - 1
        for number in (months - step, months, months + step):
            year, month = divmod(number, _MONTHS)
            _, last = monthrange(year, month + 1)
            yield date(year, month + 1, min(self.day, last))
