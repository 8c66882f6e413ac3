"""The rendering of reminder runs."""

from datetime import UTC, datetime, timedelta

from rich.console import Console

from commands.reminder import of_reminders
from domain.reminder import ReminderRun, Reminders

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_run_that_did_not_complete_says_so() -> None:
    """REM-1, OPS-5: beside the time of its end."""
    run = ReminderRun(
        run_id="run-1",
        started_at=NOON,
        ended_at=NOON + timedelta(hours=12),
        by="schedule",
        failure="timed_out",
    )
    console = Console(width=120)
    with console.capture() as shown:
        console.print(of_reminders(Reminders(schedule=None, runs=(run,))))
    assert "2026-11-21 00:00 UTC (timed out)  schedule" in shown.get()
