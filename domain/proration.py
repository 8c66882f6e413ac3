"""Proration: the unused part of a paid period (QUO-2)."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Literal, assert_never

from domain.day import day_of, to_utc
from domain.model import Value

Unit = Literal["day", "second", "fixed30"]
ChangeDay = Literal["unused", "used"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProrationTerms(Value):
    """The proration policy of a quote (QUO-2)."""

    unit: Unit
    """The unit into which a period is divided.

    `day`: calendar days; a day of 23 or 25 hours counts as one. `fixed30`: days of months that
    all have 30 days; the 31st counts as the 30th. `second`: elapsed time.
    """
    change_day: ChangeDay
    """The treatment of the day of the change; without effect on the unit `second`."""
    time_zone: str | None
    """The time zone of the source account; None (nothing to prorate) means UTC."""

    @property
    def zone(self) -> str:
        """Return the time zone in which days begin."""
        return self.time_zone or "UTC"


def unused_share(
    start: datetime | date, end: datetime | date, at: datetime, terms: ProrationTerms
) -> Fraction:
    """Return the part of the half-open period [start, end) that is unused at `at`.

    It is 1 before the period and 0 from its end on. With units of days, a period runs from the
    day of its start to the day of its end; the times of day do not count.
    """
    first, last, cut = _position(start, terms), _position(end, terms), _unused_from(at, terms)
    if cut >= last:
        return Fraction(0)
    if cut <= first:
        return Fraction(1)
    return Fraction(last - cut, last - first)


def period_days(start: datetime | date, end: datetime | date, terms: ProrationTerms) -> int:
    """Return the number of days of [start, end), to be shown with a quote."""
    terms = _in_days(terms)
    return max(_position(end, terms) - _position(start, terms), 0)


def unused_days(
    start: datetime | date, end: datetime | date, at: datetime, terms: ProrationTerms
) -> int:
    """Return the number of unused days of [start, end) at `at`, to be shown with a quote.

    With the unit `second`, a partly used day counts as unused.
    """
    terms = _in_days(terms)
    whole = period_days(start, end, terms)
    return min(max(_position(end, terms) - _unused_from(at, terms), 0), whole)


def _position(instant: datetime | date, terms: ProrationTerms) -> int:
    """Return the position of `instant` in units, counted from a fixed origin."""
    when = to_utc(instant, terms.zone)
    match terms.unit:
        case "day":
            return day_of(when, terms.zone).toordinal()
        case "fixed30":
            day = day_of(when, terms.zone)
            return 360 * day.year + 30 * day.month + min(day.day, 30)
        case "second":
            return (when - _EPOCH) // timedelta(microseconds=1)
    assert_never(terms.unit)


def _unused_from(at: datetime, terms: ProrationTerms) -> int:
    """Return the position at which the unused part begins: on the day of the change or after."""
    if terms.unit == "second" or terms.change_day == "unused":
        return _position(at, terms)
    return _position(day_of(at, terms.zone) + timedelta(days=1), terms)


def _in_days(terms: ProrationTerms) -> ProrationTerms:
    """Return terms in days, for display; `second` is shown in calendar days."""
    if terms.unit != "second":
        return terms
    return terms.model_copy(update={"unit": "day", "change_day": "unused"})
