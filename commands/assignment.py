"""Commands that assign and release licenses (ASG)."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.text import Text

from commands.call import Account, By, with_clients
from commands.output import DONE, REFUSED, CommandOutput, as_json, entries
from commands.render import state, table, text
from domain.assignment import AssignmentResult, AssignmentState
from domain.license import Sku, parse_capacity

app = typer.Typer()

_PANEL = "Licenses"

License = Annotated[
    Sku,
    typer.Argument(
        metavar="LICENSE", help="large-meeting, webinar or workplace.", show_default=False
    ),
]
Emails = Annotated[
    list[str], typer.Argument(metavar="EMAIL", help="The users, 1 to 100.", show_default=False)
]


@app.command(
    rich_help_panel=_PANEL,
    epilog="Examples: seatflow assign acme large-meeting ada@acme.example bob@acme.example "
    "--capacity 500 --by owner@acme.example --give-base-license · "
    "seatflow assign acme webinar ada@acme.example --capacity 1000 --by owner@acme.example · "
    "seatflow assign acme workplace ada@acme.example --by owner@acme.example --atomic",
)
def assign(
    context: typer.Context,
    account: Account,
    license: License,
    emails: Emails,
    by: By,
    capacity: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Participants: 500, 1000, 3000 or 5000; for webinar also 10000. Optional when "
            "the account has only one capacity.",
        ),
    ] = None,
    atomic: Annotated[
        bool,
        typer.Option(
            "--atomic/--best-effort",
            help="Assign to all users or to none; by default users without a free license wait.",
        ),
    ] = False,
    give_base_license: Annotated[
        bool,
        typer.Option(
            "--give-base-license", help="Assign a free base license to basic users first."
        ),
    ] = False,
) -> int:
    """Assign licenses to users, effective at once for all their meetings or webinars.

    Waiting users are served automatically, the oldest request first, when a license is released
    or bought. Repeating the command is safe: a user who holds the license gets no second one.
    """
    participants = parse_capacity(capacity)
    results = with_clients(
        context,
        f"Assigning licenses to {_users(len(emails))}",
        lambda clients: clients.assignments.assign(
            account,
            license,
            emails,
            by,
            capacity=participants,
            atomic=atomic,
            give_base_license=give_base_license,
        ),
    )
    return _print(context, results, [_assigned_row(result) for result in results])


@app.command(
    rich_help_panel=_PANEL,
    epilog="Examples: seatflow unassign acme large-meeting ada@acme.example "
    "--by owner@acme.example · "
    "seatflow unassign acme webinar ada@acme.example --by owner@acme.example · "
    "seatflow unassign acme workplace ada@acme.example --by owner@acme.example --cascade",
)
def unassign(
    context: typer.Context,
    account: Account,
    license: License,
    emails: Emails,
    by: By,
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade", help="With a base license, also release the add-ons that need it."
        ),
    ] = False,
) -> int:
    """Release licenses of users, effective at once; waiting users get them."""
    results = with_clients(
        context,
        f"Releasing licenses of {_users(len(emails))}",
        lambda clients: clients.assignments.unassign(account, license, emails, by, cascade=cascade),
    )
    return _print(context, results, [_as_row(result) for result in results])


def _print(
    context: typer.Context, results: Sequence[AssignmentResult], rows: Sequence[JsonValue]
) -> int:
    """Print every row on stdout; when all were refused, the first row's error on stderr too."""
    output = CommandOutput.of(context)
    output.print({"results": list(rows)}, lambda: _results(results))
    if any(result.state is not AssignmentState.REFUSED for result in results):
        return DONE
    return output.print_error_document(results[0].error or {}, REFUSED)


def _assigned_row(result: AssignmentResult) -> dict[str, JsonValue]:
    """Return a row without `meetings` and `webinars`, which only `unassign` changes."""
    hosted = {"meetings", "webinars"}
    return {name: value for name, value in _as_row(result).items() if name not in hosted}


def _as_row(result: AssignmentResult) -> dict[str, JsonValue]:
    return {name: value for name, value in as_json(result).items() if name != "held_before"}


def _results(results: Sequence[AssignmentResult]) -> RenderableType:
    """Render the result of each user, and the totals."""
    affected = [_affected(result) for result in results]
    # Shown only when a user with meetings or webinars loses a license.
    column = ("affected",) if any(affected) else ()
    rows = table("email", "state", "participants", *column, "")
    for result, topics in zip(results, affected, strict=True):
        rows.add_row(
            text(result.email),
            state(result.state),
            str(result.capacity or ""),
            *(text(", ".join(topics)) for _ in column),
            text(str(result.error["message"]) if result.error else ""),
        )
    counts = Counter(result.state for result in results)
    total = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Group(rows, Text(f"{_users(len(results))}: {total}.", style="dim"))


def _affected(result: AssignmentResult) -> list[str]:
    """Return the meetings and webinars that lose their capacity, or would have lost it."""
    topics = [f"meeting {meeting.topic}" for meeting in result.meetings]
    topics += [f"webinar {webinar.topic}" for webinar in result.webinars]
    for kind, refused in (("meeting", "meetings"), ("webinar", "webinars")):
        topics += [f"{kind} {event['topic']}" for event in entries(result.error or {}, refused)]
    return topics


def _users(count: int) -> str:
    return "1 user" if count == 1 else f"{count} users"
