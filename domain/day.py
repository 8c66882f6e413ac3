"""Calendar days as a time zone has them.

The time-zone database changes with releases: turn days into instants in activities, and
record them.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def day_of(moment: datetime, time_zone: str) -> date:
    """The calendar day on which `moment` falls in `time_zone`."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def at_time(day: date, clock: time, time_zone: str) -> datetime:
    """The instant, in UTC, at which clocks in `time_zone` show `clock` on `day`.

    The first one when they show it twice; as long after the gap as it lies in it when they
    skip it.
    """
    return datetime.combine(day, clock.replace(fold=0), ZoneInfo(time_zone)).astimezone(UTC)


def begin(day: date, time_zone: str) -> datetime:
    """The first instant of `day` in `time_zone`, in UTC."""
    return at_time(day, time(), time_zone)


def end(day: date, time_zone: str) -> datetime:
    """The instant at which `day` is over in `time_zone`, in UTC: the first of the next."""
    return begin(day + timedelta(days=1), time_zone)


def to_utc(instant: datetime | date, time_zone: str) -> datetime:
    """`instant` in UTC; a date is 00:00 in `time_zone`."""
    if isinstance(instant, datetime):
        return instant.astimezone(UTC)
    return begin(instant, time_zone)
