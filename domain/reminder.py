"""Reminder runs, the reminder schedule and stale invitations (REM)."""

from datetime import timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from domain.invitation import InvitationState
from domain.model import Value

SCHEDULE: Final = "schedule"
"""The author of runs that the schedule starts; an operator's runs name the operator."""

RunFailure = Literal["timed_out", "failed", "canceled", "terminated"]


class RemindStale(Value):
    """The request that starts a reminder run."""

    by: str
    quiet_for: timedelta
    """The time without contact after which an invitation is stale, and in its inviter's digest.

    A scheduled run signals only stale invitations; an operator's run all unanswered ones.
    """


class ReminderRun(Value):
    """The present status or the result of a reminder run."""

    run_id: str
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    by: str
    found: int = 0
    """The number of invitations that were signalled."""
    reminded: int = 0
    """The number of invitees who were reminded."""
    digests: int = 0
    """The number of inviters who got a digest of newly stale invitations (REM-2)."""
    failure: RunFailure | None = None
    """The end of a run that did not complete, as Temporal reports it; None for any other run."""


class ReminderSchedule(Value):
    """The schedule that starts the reminder runs."""

    every: str | None
    """The interval in the notation of the command line, for example `1d`.

    None when Temporal's tools changed the schedule to something other than one interval.
    """
    paused: bool
    next: tuple[AwareDatetime, ...]
    """The start times of the next runs, without jitter."""


class Reminders(Value):
    """The schedule and its last runs, as `reminders show` prints them."""

    schedule: ReminderSchedule | None = Field(default=None)
    """None until it is installed."""
    runs: tuple[ReminderRun, ...] = ()
    """The last runs, newest first."""


class StaleInvitation(Value):
    """A stale invitation, as listed in the digest to its inviter."""

    email: str
    state: InvitationState
    quiet_since: AwareDatetime
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    reminders_sent: int
    reminded: bool
    """True if this run reminded the invitee."""
