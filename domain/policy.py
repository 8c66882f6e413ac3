"""The policy of a workflow, fixed when it starts."""

from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from domain.model import Value
from domain.proration import ChangeDay, Unit
from domain.text import WholeNumber

_YEAR_DAYS: Final = 365
_CENTURY_DAYS: Final = 36_500
"""The longest duration; adding it to any supported time does not overflow."""


class Policy(Value):
    """Settings of an operator; a later change does not affect running workflows."""

    invitation_ttl_days: WholeNumber = Field(default=30, ge=1, le=365)
    """The life of an invitation, counted from the invitation e-mail (INV-6)."""
    resend_cooldown_seconds: WholeNumber = Field(default=3600, ge=0, le=_CENTURY_DAYS * 86_400)
    """The minimum time between two invitation e-mails to one person (INV-9)."""
    quote_valid_hours: WholeNumber = Field(default=24, ge=1, le=_CENTURY_DAYS * 24)
    """The validity of a recorded quote, in the invitation's time (QUO-5)."""
    proration_unit: Unit = "day"
    """The unit into which a period is divided (QUO-2)."""
    proration_change_day: ChangeDay = "unused"
    """The treatment of the day of the change (QUO-2)."""
    pause_while_blocked: bool = False
    """True: the deadline is paused while the invitation is blocked (BLK-5)."""
    refund_business_days_min: WholeNumber = Field(default=3, ge=0, le=_YEAR_DAYS)
    """The first business day on which a refund may arrive (REF-1)."""
    refund_business_days_max: WholeNumber = Field(default=5, ge=0, le=_YEAR_DAYS)
    """The last business day on which a refund is on time (REF-3)."""
    remind_after_days: WholeNumber = Field(default=3, ge=1, le=_CENTURY_DAYS)
    """The time without contact after which a reminder is sent (REM-1)."""
    remind_every_days: WholeNumber = Field(default=4, ge=1, le=_CENTURY_DAYS)
    """The minimum time between two reminders (REM-1)."""
    remind_at_most: WholeNumber = Field(default=3, ge=0)
    """The maximum number of reminders of one invitation (REM-1)."""
    review_valid_hours: WholeNumber = Field(default=24, ge=1, le=_CENTURY_DAYS * 24)
    """The time after which an unconfirmed review of an order lapses (ADD-3)."""

    @model_validator(mode="after")
    def _arrives_in_order(self) -> Self:
        if self.refund_business_days_min > self.refund_business_days_max:
            raise ValueError("refund_business_days_min must not exceed refund_business_days_max")
        return self

    @property
    def ttl(self) -> timedelta:
        """Return the life of an invitation, counted from the invitation e-mail (INV-6)."""
        return timedelta(days=self.invitation_ttl_days)

    @property
    def remind_after(self) -> timedelta:
        """Return the time without contact after which a reminder is sent (REM-1)."""
        return timedelta(days=self.remind_after_days)

    @property
    def remind_every(self) -> timedelta:
        """Return the minimum time between two reminders (REM-1)."""
        return timedelta(days=self.remind_every_days)

    @property
    def resend_cooldown(self) -> timedelta:
        """Return the minimum time between two invitation e-mails (INV-9)."""
        return timedelta(seconds=self.resend_cooldown_seconds)

    @property
    def review_validity(self) -> timedelta:
        """Return the time after which an unconfirmed review lapses (ADD-3)."""
        return timedelta(hours=self.review_valid_hours)


@lru_cache
def _shared(policy: Policy) -> Policy:
    return policy


SharedPolicy = Annotated[Policy, AfterValidator(_shared)]
"""A policy of which equal ones are one object: a worker keeps thousands of invitations."""
