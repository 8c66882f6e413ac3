"""Calendar days in a time zone.

The time-zone database changes with releases: convert days to instants in activities, and
record the instants.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def day_of(moment: datetime, time_zone: str) -> date:
    """Return the calendar day of `moment` in `time_zone`."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def at_time(day: date, clock: time, time_zone: str) -> datetime:
    """Return the instant, in UTC, at which clocks in `time_zone` show `clock` on `day`.

    When clocks show it twice, the first one; when clocks skip it, the time is moved forward by
    the length of the gap.
    """
    return datetime.combine(day, clock.replace(fold=0), ZoneInfo(time_zone)).astimezone(UTC)


def begin(day: date, time_zone: str) -> datetime:
    """Return the first instant of `day` in `time_zone`, in UTC."""
    return at_time(day, time(), time_zone)


def end(day: date, time_zone: str) -> datetime:
    """Return the end of `day` in `time_zone`, in UTC: the first instant of the next day."""
    return begin(day + timedelta(days=1), time_zone)


def to_utc(instant: datetime | date, time_zone: str) -> datetime:
    """Return `instant` in UTC; a date means 00:00 in `time_zone`."""
    if isinstance(instant, datetime):
        return instant.astimezone(UTC)
    return begin(instant, time_zone)
