"""The terms that an invitation runs under, fixed when it starts."""

from datetime import timedelta
from typing import Final, Self

from pydantic import Field, model_validator

from domain.model import Value
from domain.proration import ChangeDay, Unit

_YEAR_DAYS: Final = 365
_CENTURY_DAYS: Final = 36_500
"""No span is longer: added to any moment it still is one."""


class Policy(Value):
    """What an operator may set; a later change does not touch running invitations."""

    invitation_ttl_days: int = Field(default=30, ge=1, le=365)
    """How long an invitation may be answered, from the moment it goes out (INV-6)."""
    resend_cooldown_seconds: int = Field(default=3600, ge=0, le=_CENTURY_DAYS * 86_400)
    """The least time between two invitation e-mails to one person (INV-9)."""
    quote_valid_hours: int = Field(default=24, ge=1, le=_CENTURY_DAYS * 24)
    """How long a quote that was shown binds, in the invitation's time (QUO-5)."""
    proration_unit: Unit = "day"
    """What a period is divided into (QUO-2)."""
    proration_change_day: ChangeDay = "unused"
    """What the day of the change itself counts as (QUO-2)."""
    pause_while_blocked: bool = False
    """Whether the deadline stands still while the invitation is blocked (BLK-5)."""
    refund_business_days_min: int = Field(default=3, ge=0, le=_YEAR_DAYS)
    """The first business day on which a refund may arrive (REF-1)."""
    refund_business_days_max: int = Field(default=5, ge=0, le=_YEAR_DAYS)
    """The last business day on which a refund is on time (REF-3)."""
    remind_after_days: int = Field(default=3, ge=1, le=_CENTURY_DAYS)
    """How long an invitee is quiet before a reminder (REM-1)."""
    remind_every_days: int = Field(default=4, ge=1, le=_CENTURY_DAYS)
    """The least time between two reminders (REM-1)."""
    remind_at_most: int = Field(default=3, ge=0)
    """How many reminders one invitation sends at most (REM-1)."""
    review_valid_hours: int = Field(default=24, ge=1, le=_CENTURY_DAYS * 24)
    """How long an unconfirmed review of an order stays open (ADD-3)."""

    @model_validator(mode="after")
    def _arrives_in_order(self) -> Self:
        if self.refund_business_days_min > self.refund_business_days_max:
            raise ValueError("a refund cannot arrive at the earliest after the latest day")
        return self

    @property
    def ttl(self) -> timedelta:
        """The life of an invitation from the moment it goes out (INV-6)."""
        return timedelta(days=self.invitation_ttl_days)

    @property
    def remind_after(self) -> timedelta:
        """How long an invitee is quiet before a reminder (REM-1)."""
        return timedelta(days=self.remind_after_days)

    @property
    def remind_every(self) -> timedelta:
        """The least time between two reminders (REM-1)."""
        return timedelta(days=self.remind_every_days)

    @property
    def resend_cooldown(self) -> timedelta:
        """The least time between two invitation e-mails (INV-9)."""
        return timedelta(seconds=self.resend_cooldown_seconds)

    @property
    def review_validity(self) -> timedelta:
        """How long an unconfirmed review stays open (ADD-3)."""
        return timedelta(hours=self.review_valid_hours)
