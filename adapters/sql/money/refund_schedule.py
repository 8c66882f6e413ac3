"""When a refund arrives and is asked about, by the calendar of the account that paid."""

from datetime import date, datetime
from typing import Final, Protocol

from adapters.calendar import is_day_off
from domain.business_day import arrival_window, lookup_times
from domain.policy import Policy

LOOKUPS: Final = 10
"""How many look-ups are worked out at a time (REF-2)."""


class Payer(Protocol):
    """The account that paid, as far as its calendar goes."""

    @property
    def time_zone(self) -> str:
        """Whose days are counted."""

    @property
    def country(self) -> str:
        """Whose weekends and holidays are left out."""


def arrives_between(payer: Payer, policy: Policy, at: datetime) -> tuple[date, date]:
    """The days between which a refund requested at `at` arrives (REF-1)."""
    return arrival_window(
        at,
        payer.time_zone,
        is_day_off(payer.country),
        policy.refund_business_days_min,
        policy.refund_business_days_max,
    )


def first_lookups(payer: Payer, policy: Policy, at: datetime) -> tuple[datetime, ...]:
    """When to ask about a refund requested at `at`: from the first day it may arrive (REF-2)."""
    first = policy.refund_business_days_min
    return lookup_times(at, payer.time_zone, is_day_off(payer.country), first, LOOKUPS)


def next_lookups(payer: Payer, requested_at: datetime, after: datetime) -> tuple[datetime, ...]:
    """When to ask about it after `after`, at the same time of day."""
    # There are no more business days than days.
    enough = (after - requested_at).days + 1 + LOOKUPS
    days = lookup_times(requested_at, payer.time_zone, is_day_off(payer.country), 1, enough)
    return tuple(moment for moment in days if moment > after)[:LOOKUPS]
