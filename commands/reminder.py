"""Commands for reminders of unanswered invitations (REM)."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput, as_json
from commands.render import facts, table, time
from domain.error import ErrorCode, Refused
from domain.period import parse_duration
from domain.reminder import ReminderRun, Reminders, ReminderSchedule

if TYPE_CHECKING:
    from clients.reminder import ReminderClient

LONGEST_INTERVAL = timedelta(days=365)

app = typer.Typer(
    name="reminders",
    help="Reminders to invitees who have not answered, and digests to their inviters.",
    rich_markup_mode="markdown",
)


@app.command(epilog="Example: seatflow reminders install --every 1d")
def install(
    context: typer.Context,
    every: Annotated[
        str, typer.Option(metavar="SPAN", help="The interval, such as 1d, 12h or 90m.")
    ] = "1d",
) -> None:
    """Install the reminder schedule, or change its interval."""
    span = parse_duration(every)
    if span > LONGEST_INTERVAL:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"--every {every} is too long; the longest interval is 365d."
        )
    _schedule(context, "Installing", lambda reminders: reminders.install(span))


@app.command(epilog="Example: seatflow reminders pause")
def pause(context: typer.Context) -> None:
    """Pause the reminder schedule."""
    _schedule(context, "Pausing", lambda reminders: reminders.pause())


@app.command(epilog="Example: seatflow reminders resume")
def resume(context: typer.Context) -> None:
    """Resume the reminder schedule; missed runs are not started."""
    _schedule(context, "Resuming", lambda reminders: reminders.resume())


@app.command(epilog="Example: seatflow --json reminders run")
def run(context: typer.Context) -> None:
    """Send all reminders that are due now."""
    ran = with_clients(context, "Reminding", lambda clients: clients.reminders.run())
    CommandOutput.of(context).print(as_json(ran), lambda: _render_runs([ran]))


@app.command(epilog="Example: seatflow reminders show")
def show(context: typer.Context) -> None:
    """Show the reminder schedule, its next runs and the results of the last runs."""
    reminders = with_clients(context, "Loading", lambda clients: clients.reminders.show())
    CommandOutput.of(context).print(as_json(reminders), lambda: of_reminders(reminders))


def _schedule(
    context: typer.Context,
    progress: str,
    call: "Callable[[ReminderClient], Awaitable[ReminderSchedule]]",
) -> None:
    schedule = with_clients(context, progress, lambda clients: call(clients.reminders))
    CommandOutput.of(context).print(
        {"schedule": as_json(schedule)}, lambda: _render_schedule(schedule)
    )


def of_reminders(reminders: Reminders) -> RenderableType:
    """Render the schedule and the last runs."""
    schedule = (
        _render_schedule(reminders.schedule)
        if reminders.schedule
        else Text("No schedule is installed: run `seatflow reminders install`.", style="dim")
    )
    return Group(schedule, _render_runs(reminders.runs)) if reminders.runs else schedule


def _render_schedule(schedule: ReminderSchedule) -> RenderableType:
    return facts(
        "Reminders",
        ("every", schedule.every),
        ("paused", "until `seatflow reminders resume`" if schedule.paused else None),
        ("next", ", ".join(map(time, schedule.next[:3]))),
    )


def _end(run: ReminderRun) -> str:
    ended = time(run.ended_at)
    return f"{ended} ({run.failure.replace('_', ' ')})" if run.failure else ended


def _render_runs(runs: Sequence[ReminderRun]) -> RenderableType:
    rows = table("started", "ended", "by", "invitations", "reminders", "digests")
    for each in runs:
        rows.add_row(
            time(each.started_at),
            _end(each),
            each.by,
            str(each.found),
            str(each.reminded),
            str(each.digests),
        )
    return rows
