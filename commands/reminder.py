"""Commands about reminders of invitations that nobody answers (REM)."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from commands.answer import Answer, as_json
from commands.question import ask_reminders
from commands.shape import facts, table, time
from domain.error import ErrorCode, Refused
from domain.period import parse_duration
from domain.reminder import ReminderRun, Reminders, ReminderSchedule

if TYPE_CHECKING:
    from clients.reminder import ReminderClient

LONGEST_INTERVAL = timedelta(days=365)

app = typer.Typer(
    name="reminders",
    help="Reminders to invitees who are quiet, and digests to their inviters.",
    rich_markup_mode="markdown",
)


@app.command(epilog="Example: seatflow reminders install --every 1d")
def install(
    context: typer.Context,
    every: Annotated[
        str, typer.Option(metavar="SPAN", help="How often a run starts: 1d, 12h, 90m.")
    ] = "1d",
) -> None:
    """Have a run started again and again; repeated, it changes the interval."""
    span = parse_duration(every)
    if span > LONGEST_INTERVAL:
        raise Refused(ErrorCode.INVALID_INPUT, f"A run starts every {every}: at most 365d.")
    _schedule(context, "Installing", lambda reminders: reminders.install(span))


@app.command(epilog="Example: seatflow reminders pause")
def pause(context: typer.Context) -> None:
    """Start no more runs until they are resumed."""
    _schedule(context, "Pausing", lambda reminders: reminders.pause())


@app.command(epilog="Example: seatflow reminders resume")
def resume(context: typer.Context) -> None:
    """Start runs again; those that were missed are not made up for."""
    _schedule(context, "Resuming", lambda reminders: reminders.resume())


@app.command(epilog="Example: seatflow --json reminders run")
def run(context: typer.Context) -> None:
    """Ask every invitation that wants an answer whether it is time for a reminder, now."""
    ran = ask_reminders(context, "Reminding", lambda reminders: reminders.run())
    Answer.of(context).give(as_json(ran), lambda: _runs([ran]))


@app.command(epilog="Example: seatflow reminders show")
def show(context: typer.Context) -> None:
    """Show the schedule, its next runs, and what came of the last ones."""
    found = ask_reminders(context, "Looking", lambda reminders: reminders.show())
    Answer.of(context).give(as_json(found), lambda: of_reminders(found))


def _schedule(
    context: typer.Context,
    doing: str,
    question: "Callable[[ReminderClient], Awaitable[ReminderSchedule]]",
) -> None:
    schedule = ask_reminders(context, doing, question)
    Answer.of(context).give({"schedule": as_json(schedule)}, lambda: _scheduled(schedule))


def of_reminders(found: Reminders) -> RenderableType:
    """The schedule, and what came of the last runs."""
    schedule = (
        _scheduled(found.schedule)
        if found.schedule
        else Text("No schedule: `seatflow reminders install` makes it.", style="dim")
    )
    return Group(schedule, _runs(found.runs)) if found.runs else schedule


def _scheduled(schedule: ReminderSchedule) -> RenderableType:
    return facts(
        "Reminders",
        ("every", schedule.every),
        ("paused", "until `seatflow reminders resume`" if schedule.paused else None),
        ("next", ", ".join(map(time, schedule.next[:3]))),
    )


def _runs(runs: Sequence[ReminderRun]) -> RenderableType:
    rows = table("started", "ended", "by", "asked", "reminded", "inviters told")
    for each in runs:
        rows.add_row(
            time(each.started_at),
            time(each.ended_at),
            each.by,
            str(each.found),
            str(each.reminded),
            str(each.digests),
        )
    return rows
