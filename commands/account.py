"""Commands for the accounts in the store."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from commands.call import with_clients
from commands.import_file import ImportFile, UnreadableFile
from commands.output import DONE, CommandOutput, as_json
from commands.person import export_person
from commands.render import text
from commands.source import MEBIBYTE, open_input
from domain.account import Account
from domain.account_file import InputError
from domain.audit import AuditReport
from domain.catalog import Catalog
from domain.error import ErrorCode, Refused, Unavailable

if TYPE_CHECKING:
    from runtime.clients import Clients

app = typer.Typer()

_PANEL = "Accounts"

LARGEST_FILE = 1024 * MEBIBYTE
"""Bytes of a file that `import` reads: it takes hours in one transaction."""


@app.command("import", rich_help_panel=_PANEL, epilog="Example: seatflow import accounts.json")
def import_(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSON file, or - for stdin.", show_default=False)
    ],
) -> None:
    """Load accounts into the store, all or nothing.

    An account that exists is updated; members that the file does not name are kept.
    """
    try:
        with open_input(file, LARGEST_FILE) as opened:
            ids = _import(context, file, ImportFile(opened))
    except OSError as unreadable:
        raise _bad_file(file, [(file, unreadable.strerror or str(unreadable))]) from None
    except UnreadableFile as unreadable:
        raise _bad_file(file, [(unreadable.path or file, unreadable.reason)]) from None
    CommandOutput.of(context).print(
        {"accounts": list(ids)}, lambda: Text(f"Imported {', '.join(ids)}.")
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow export acme > acme.json")
def export(
    context: typer.Context,
    account: Annotated[
        str | None,
        typer.Argument(metavar="ACCOUNT", help="The id of an account. Default: all accounts."),
    ] = None,
    person: Annotated[
        str | None,
        typer.Option(
            "--person",
            metavar="EMAIL",
            help="Print everything that the store has about one person instead.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print accounts as JSON that `import` accepts, or everything about one person."""
    if person is not None:
        if account is not None:
            raise Refused(ErrorCode.INVALID_INPUT, "Use either ACCOUNT or --person.")
        export_person(context, person)
        return

    async def write(clients: "Clients") -> BrokenPipeError | None:
        async with clients.store.directory.exporting(account) as (catalog, accounts):
            try:
                await _print_directory(catalog, accounts)
            except BrokenPipeError as closed:
                # The store would take it for a lost connection of its own.
                return closed
        return None

    # On a terminal, the spinner would be drawn between the lines.
    if closed := with_clients(context, None if sys.stdout.isatty() else "Exporting", write):
        raise closed


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow --json audit")
def audit(context: typer.Context) -> int:
    """Check the invariants of the store, and list every violation."""
    report = with_clients(context, "Auditing", lambda clients: clients.store.audit())
    output = CommandOutput.of(context)
    output.print(as_json(report), lambda: _render(report))
    if not report.violations:
        return DONE
    count = len(report.violations)
    return output.print_error(
        Refused(
            ErrorCode.INVARIANT_BROKEN,
            "1 violation was found." if count == 1 else f"{count} violations were found.",
        )
    )


async def _print_directory(catalog: Catalog | None, accounts: AsyncIterator[Account]) -> None:
    """Print the directory as `print_json` would, account by account."""
    print(f'{{\n  "catalog": {_indented(as_json(catalog) if catalog else None, 1)},')
    print('  "accounts": [', end="")
    separator, end = "", "]"
    async for account in accounts:
        print(f"{separator}\n    {_indented(as_json(account), 2)}", end="")
        separator, end = ",", "\n  ]"
    print(f"{end}\n}}", flush=True)


def _indented(document: JsonValue, levels: int) -> str:
    # A line break in a text is escaped, so all others are those of the indentation.
    return json.dumps(document, indent=2).replace("\n", "\n" + "  " * levels)


def _import(context: typer.Context, file: str, accounts: ImportFile) -> Sequence[str]:
    """Import the file; return the ids. Raises Refused, with every mistake in it."""
    read = accounts.check()
    if not read.errors:
        return with_clients(
            context,
            "Importing",
            lambda clients: clients.store.directory.import_(accounts, by=clients.author.name),
        )
    errors_in_store: list[InputError] = []
    # Without the store, the mistakes in the file itself are still reported.
    with suppress(Unavailable):
        errors_in_store = with_clients(
            context, "Checking", lambda clients: clients.store.directory.errors(accounts)
        )
    raise _bad_file(file, read.all_errors(errors_in_store))


def _bad_file(file: str, mistakes: Iterable[InputError]) -> Refused:
    listed: list[JsonValue] = [{"path": path, "reason": reason} for path, reason in mistakes]
    return Refused(
        ErrorCode.INVALID_INPUT,
        f"{file} cannot be imported; no account was changed.",
        mistakes=listed,
    )


def _render(report: AuditReport) -> RenderableType:
    if not report.violations:
        checked = ", ".join(f"{count} {name}" for name, count in report.checked.items())
        return Text(f"No violations: {checked}.", style="green")
    table = Table("rule", "subject", "violation", box=None, header_style="dim")
    for violation in report.violations:
        table.add_row(
            Text(violation.rule, style="red"), text(violation.subject), text(violation.message)
        )
    return table
