"""When licenses are billed, and for which part of a cycle (ADD-4).

Dates only, as the account's time zone has them; turning them into instants is for activities.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date
from fractions import Fraction

from pydantic import Field

from domain.model import Value

_MONTHS = 12


class Term(Value):
    """What one invoice pays for: the days from `start` until before `end`."""

    start: date
    end: date
    """A billing date."""
    cycle_days: int
    """The days of the whole cycle that ends then."""

    @property
    def share(self) -> Fraction:
        """The part of the whole cycle's price that is due: 1 from one billing date on."""
        return Fraction((self.end - self.start).days, self.cycle_days)


class BillingDay(Value):
    """The day on which cycles begin: of every month, or of one month of every year.

    Where the month is shorter it is the last day, and in longer ones that very day again.
    """

    day: int = Field(ge=1, le=31)
    month: int | None = Field(default=None, ge=1, le=_MONTHS)
    """None: of every month."""

    @classmethod
    def of_year(cls, day: date) -> "BillingDay":
        """The day on which cycles of a year begin that one begins or ends on `day`."""
        return cls(day=day.day, month=day.month)

    def next_after(self, day: date) -> date:
        """The first billing date after `day`: a whole cycle on where it is one itself."""
        return min(billing for billing in self._around(day) if billing > day)

    def last_before(self, day: date) -> date:
        """The latest billing date before `day`."""
        return max(billing for billing in self._around(day) if billing < day)

    def term(self, start: date, end: date | None = None) -> Term:
        """From `start` to the billing date `end`, by default the next one."""
        end = end or self.next_after(start)
        return Term(start=start, end=end, cycle_days=(end - self.last_before(end)).days)

    def _around(self, day: date) -> Iterator[date]:
        """The billing dates of the month or year of `day`, of the one before and the next."""
        step = 1 if self.month is None else _MONTHS
        months = day.year * _MONTHS + (self.month or day.month) - 1
        for number in (months - step, months, months + step):
            year, month = divmod(number, _MONTHS)
            _, last = monthrange(year, month + 1)
            yield date(year, month + 1, min(self.day, last))
