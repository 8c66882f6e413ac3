"""Runs of reminders: who is stale, who was reminded, which inviter was told (REM)."""

from datetime import timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from domain.invitation import InvitationState
from domain.model import Value

RunBy = Literal["schedule", "operator"]


class RemindStale(Value):
    """The order that starts a run of reminders."""

    by: RunBy
    quiet_for: timedelta
    """How long an invitee has been quiet whose inviter is told of it; the schedule asks only
    invitations of such, an operator all that want an answer."""


class ReminderRun(Value):
    """A run of reminders as it stands, or as it ended."""

    run_id: str
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    by: RunBy
    found: int = 0
    """Invitations that were asked whether it is time for a reminder."""
    reminded: int = 0
    """Those whose invitee was then reminded."""
    digests: int = 0
    """Inviters who were told of stale invitations that they had not been told of (REM-2)."""


class ReminderSchedule(Value):
    """The schedule that starts the runs."""

    every: str | None
    """As it is written on the command line, for example `1d`.

    None where it was changed, with Temporal's own tools, into something else than one interval.
    """
    paused: bool
    next: tuple[AwareDatetime, ...]
    """When the next runs start, but for the jitter."""


class Reminders(Value):
    """The schedule and its last runs: what `reminders show` prints."""

    schedule: ReminderSchedule | None = Field(default=None)
    """None before it was installed."""
    runs: tuple[ReminderRun, ...] = ()
    """The last ones, the newest first."""


class StaleInvitation(Value):
    """One that has not been answered for long, as its inviter is told of it."""

    email: str
    state: InvitationState
    quiet_since: AwareDatetime
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    reminders_sent: int
    reminded: bool
    """Whether this run has just reminded the invitee."""
