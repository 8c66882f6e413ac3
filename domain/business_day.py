"""Business days: the dates at which a refund arrives, is looked up and is late (REF-1..REF-3).

The country's weekend and holidays are not business days. Counting starts on the day after the
acceptance, in the time zone of the source account. Calendars change with releases of the
holidays package: count in activities, and record the result.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count, islice
from typing import Final
from zoneinfo import ZoneInfo

from domain import day
from domain.policy import Policy

LOOKUPS: Final = 10
"""Number of look-ups of a refund that are computed at a time (REF-2)."""

IsDayOff = Callable[[date], bool]
"""A predicate that is true for days of the weekend and holidays."""


@dataclass(frozen=True)
class BusinessCalendar:
    """The business days of an account, in its time zone and country."""

    time_zone: str
    is_day_off: IsDayOff

    def arrives_between(self, policy: Policy, at: datetime) -> tuple[date, date]:
        """Return the first and last day on which a refund requested at `at` arrives (REF-1)."""
        return arrival_window(
            at,
            self.time_zone,
            self.is_day_off,
            policy.refund_business_days_min,
            policy.refund_business_days_max,
        )

    def first_lookups(self, policy: Policy, at: datetime) -> tuple[datetime, ...]:
        """Return the first look-ups of a refund requested at `at` (REF-2).

        The first one is on the first day on which the refund may arrive.
        """
        return lookup_times(
            at, self.time_zone, self.is_day_off, policy.refund_business_days_min, LOOKUPS
        )

    def next_lookups(self, requested_at: datetime, after: datetime) -> tuple[datetime, ...]:
        """Return the look-ups that follow `after`, at the same time of day."""
        # Enough even if every day until `after` is a business day.
        enough = (after - requested_at).days + 1 + LOOKUPS
        times = lookup_times(requested_at, self.time_zone, self.is_day_off, 1, enough)
        return tuple(time for time in times if time > after)[:LOOKUPS]


def arrival_window(
    accepted_at: datetime, time_zone: str, is_day_off: IsDayOff, first: int = 3, last: int = 5
) -> tuple[date, date]:
    """Return the dates of the `first` and the `last` business day after the acceptance (REF-1).

    A refund arrives between them, both included. 0 is the day of acceptance itself.
    """
    days = list(islice(_business_days(accepted_at, time_zone, is_day_off), last + 1))
    return days[first], days[last]


def overdue_from(arrives_between: tuple[date, date], time_zone: str) -> datetime:
    """Return the instant from which an unsettled refund is overdue: its last day's end (REF-3)."""
    return day.end(arrives_between[1], time_zone)


def lookup_times(
    accepted_at: datetime, time_zone: str, is_day_off: IsDayOff, first: int, times: int
) -> tuple[datetime, ...]:
    """Return the instants, in UTC, of the first `times` look-ups of a refund (REF-2).

    There is one on each business day from the `first` on, at the local time of the acceptance.
    """
    clock = accepted_at.astimezone(ZoneInfo(time_zone)).time()
    days = islice(_business_days(accepted_at, time_zone, is_day_off), first, first + times)
    return tuple(day.at_time(business_day, clock, time_zone) for business_day in days)


def _business_days(accepted_at: datetime, time_zone: str, is_day_off: IsDayOff) -> Iterator[date]:
    """Yield the day of acceptance, business day or not, and then every business day."""
    accepted_on = day.day_of(accepted_at, time_zone)
    yield accepted_on
    for later in count(1):
        candidate = accepted_on + timedelta(days=later)
        if not is_day_off(candidate):
            yield candidate
