"""How much of a paid period is unused at a moment (QUO-2)."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Literal, assert_never

from domain.day import day_of, to_utc
from domain.model import Value

Unit = Literal["day", "second", "fixed30"]
ChangeDay = Literal["unused", "used"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProrationTerms(Value):
    """The policy that a quote was computed under (QUO-2)."""

    unit: Unit
    """What a period is divided into.

    `day`: calendar days, so that one of 23 or 25 hours counts as one. `fixed30`: days of
    months that all have 30, the 31st being the 30th. `second`: time as it passes.
    """
    change_day: ChangeDay
    """What the day of the change itself counts as. Time that is cut by the `second` has no
    such day, so this has no effect on it."""
    time_zone: str | None
    """Whose days they are: the source account's. None (nothing to prorate) reads as UTC."""

    @property
    def zone(self) -> str:
        """The time zone in which days begin."""
        return self.time_zone or "UTC"


def unused_share(
    start: datetime | date, end: datetime | date, at: datetime, terms: ProrationTerms
) -> Fraction:
    """The part of the half-open period [start, end) that is unused at `at`, from 0 to 1.

    Before the period all of it, from its end on nothing. Under day units a period runs from
    the day of its start to the day of its end, whatever their hours.
    """
    first, last, cut = _place(start, terms), _place(end, terms), _cut(at, terms)
    if cut >= last:
        return Fraction(0)
    if cut <= first:
        return Fraction(1)
    return Fraction(last - cut, last - first)


def period_days(start: datetime | date, end: datetime | date, terms: ProrationTerms) -> int:
    """How many days [start, end) has, to be shown beside a quote."""
    terms = _in_days(terms)
    return max(_place(end, terms) - _place(start, terms), 0)


def unused_days(
    start: datetime | date, end: datetime | date, at: datetime, terms: ProrationTerms
) -> int:
    """How many days of [start, end) are unused at `at`, to be shown beside a quote.

    Under `second` a day begun is counted as unused, for it is not used up.
    """
    terms = _in_days(terms)
    whole = period_days(start, end, terms)
    return min(max(_place(end, terms) - _cut(at, terms), 0), whole)


def _place(instant: datetime | date, terms: ProrationTerms) -> int:
    """Where `instant` lies, counted in the unit from a point of no importance."""
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


def _cut(at: datetime, terms: ProrationTerms) -> int:
    """Where the unused part begins: with the day of the change, or with the day after it."""
    if terms.unit == "second" or terms.change_day == "unused":
        return _place(at, terms)
    return _place(day_of(at, terms.zone) + timedelta(days=1), terms)


def _in_days(terms: ProrationTerms) -> ProrationTerms:
    """What is shown for seconds: the calendar days that they lie in."""
    if terms.unit != "second":
        return terms
    return terms.model_copy(update={"unit": "day", "change_day": "unused"})
