"""Commands about licenses: assigning them, taking them back, and the pools (ASG)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from commands.answer import DONE, REFUSED, Answer, as_json, entries
from commands.call import Account, By, ask_licenses
from commands.render import state, table, text
from domain.assignment import AssignmentResult, AssignmentState
from domain.error import ErrorCode, Refused
from domain.license import LicensePool, Sku

app = typer.Typer()

_PANEL = "Licenses"

License = Annotated[
    Sku,
    typer.Argument(metavar="LICENSE", help="large-meeting or workplace.", show_default=False),
]
Emails = Annotated[
    list[str], typer.Argument(metavar="EMAIL", help="The users, 1 to 100.", show_default=False)
]


@app.command(
    rich_help_panel=_PANEL,
    epilog="Examples: seatflow assign acme large-meeting ada@acme.example bob@acme.example "
    "--capacity 500 --by owner@acme.example --give-base-license · "
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
            help="How many participants: 500, 1000, 3000 or 5000. "
            "May be left out where only one is possible.",
        ),
    ] = None,
    atomic: Annotated[
        bool,
        typer.Option(
            "--atomic/--best-effort",
            help="All users or none; otherwise who cannot be served now waits.",
        ),
    ] = False,
    give_base_license: Annotated[
        bool,
        typer.Option("--give-base-license", help="Give basic users a free base license first."),
    ] = False,
) -> int:
    """Assign licenses to users, effective at once for all their meetings.

    Who waits is served by itself, the oldest request first, when a license is freed or bought.
    To ask again is safe: who holds that license already takes no other and gets no e-mail.
    """
    participants = _participants(capacity)
    results = ask_licenses(
        context,
        f"Assigning licenses to {_users(len(emails))}",
        lambda licenses: licenses.assign(
            account,
            license,
            emails,
            by,
            capacity=participants,
            atomic=atomic,
            give_base_license=give_base_license,
        ),
    )
    return _give(context, results, [_assigned_row(result) for result in results])


@app.command(
    rich_help_panel=_PANEL,
    epilog="Examples: seatflow unassign acme large-meeting ada@acme.example "
    "--by owner@acme.example · "
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
        typer.Option("--cascade", help="With a base license, take the add-on that needs it."),
    ] = False,
) -> int:
    """Take licenses back from users; whoever waits for one is served with it."""
    results = ask_licenses(
        context,
        f"Taking licenses back from {_users(len(emails))}",
        lambda licenses: licenses.unassign(account, license, emails, by, cascade=cascade),
    )
    return _give(context, results, [_row(result) for result in results])


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow licenses acme")
def licenses(context: typer.Context, account: Account) -> None:
    """Show an account's licenses: who holds them, and who waits for one."""
    pools = ask_licenses(context, "Looking", lambda licenses: licenses.licenses(account))
    Answer.of(context).give({"pools": [as_json(pool) for pool in pools]}, lambda: of_pools(pools))


def _participants(capacity: str | None) -> int | None:
    if capacity is None:
        return None
    try:
        return int(capacity)
    except ValueError:
        raise Refused(ErrorCode.INVALID_CAPACITY, f"No such capacity: {capacity}") from None


def _give(
    context: typer.Context, results: Sequence[AssignmentResult], rows: Sequence[JsonValue]
) -> int:
    """Every row on stdout; when all were refused, the first row's error on stderr too."""
    answer = Answer.of(context)
    answer.give({"results": list(rows)}, lambda: _results(results))
    if any(result.state is not AssignmentState.REFUSED for result in results):
        return DONE
    return answer.refuse_as(results[0].error or {}, REFUSED)


def _assigned_row(result: AssignmentResult) -> dict[str, JsonValue]:
    """Meetings are touched only where a license is taken away."""
    return {name: value for name, value in _row(result).items() if name != "meetings"}


def _row(result: AssignmentResult) -> dict[str, JsonValue]:
    return {name: value for name, value in as_json(result).items() if name != "held_before"}


def _results(results: Sequence[AssignmentResult]) -> RenderableType:
    """What became of each user of a request, and the sum of it."""
    touched = [_touched(result) for result in results]
    # Only where a license is taken away from somebody who has meetings.
    column = ("meetings touched",) if any(touched) else ()
    rows = table("email", "state", "participants", *column, "")
    for result, meetings in zip(results, touched, strict=True):
        rows.add_row(
            text(result.email),
            state(result.state),
            str(result.capacity or ""),
            *(text(", ".join(meetings)) for _ in column),
            text(str(result.error["message"]) if result.error else ""),
        )
    counts = Counter(result.state for result in results)
    total = ", ".join(f"{count} {standing}" for standing, count in counts.items())
    return Group(rows, Text(f"{_users(len(results))}: {total}.", style="dim"))


def _touched(result: AssignmentResult) -> list[str]:
    """The topics of the meetings that lose their capacity, or would have."""
    would = entries(result.error or {}, "meetings")
    return [meeting.topic for meeting in result.meetings] + [str(each["topic"]) for each in would]


def of_pools(pools: Sequence[LicensePool]) -> RenderableType:
    """The pools, and below them every user who holds a license or waits for one."""
    rows = table("license", "bought", "assigned", "reserved", "free", "waiting")
    users = table("license", "user", "")
    for pool in pools:
        rows.add_row(
            _name(pool),
            *(str(count) for count in (pool.bought, pool.assigned, pool.reserved, pool.free)),
            str(len(pool.waiting)),
        )
        for standing, emails in (("assigned", pool.holders), ("waiting", pool.waiting)):
            _add_users(users, pool, standing, emails)
    if not pools:
        return Text("No licenses.", style="dim")
    return Group(rows, "", users) if users.row_count else rows


def _add_users(users: Table, pool: LicensePool, standing: str, emails: Iterable[str]) -> None:
    for email in emails:
        users.add_row(_name(pool), text(email), state(standing))


def _name(pool: LicensePool) -> str:
    return f"{pool.sku} {pool.capacity}" if pool.capacity else pool.sku.value


def _users(count: int) -> str:
    return "1 user" if count == 1 else f"{count} users"
