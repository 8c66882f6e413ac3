"""Commands for the accounts in the store."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer
from pydantic import JsonValue
from pydantic_core import from_json
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from commands.call import with_clients
from commands.output import DONE, CommandOutput, as_json, print_json
from commands.person import export_person
from commands.render import text
from commands.source import MEBIBYTE, read_input
from domain.account import Directory
from domain.account_file import InputError, read_accounts
from domain.audit import AuditReport
from domain.error import ErrorCode, Refused, Unavailable

app = typer.Typer()

_PANEL = "Accounts"

LARGEST_FILE = 32 * MEBIBYTE
"""Bytes of a file that `import` reads: its accounts take some 20 times as much memory."""


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
    directory = _read(context, file)
    ids = with_clients(
        context,
        "Importing",
        lambda clients: clients.store.directory.import_(directory, by=clients.author.name),
    )
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
    directory = with_clients(
        context, "Exporting", lambda clients: clients.store.directory.export(account)
    )
    print_json(as_json(directory))


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


def _read(context: typer.Context, file: str) -> Directory:
    """Return the accounts of the file. Raises Refused, with every mistake in it."""
    document, repeated = _document(file)
    read = read_accounts(document)
    read = replace(read, errors=(*repeated, *read.errors))
    if not read.errors:
        return read.directory
    errors_in_store: list[InputError] = []
    # Without the store, the mistakes in the file itself are still reported.
    with suppress(Unavailable):
        errors_in_store = with_clients(
            context, "Checking", lambda clients: clients.store.directory.errors(read.directory)
        )
    raise _bad_file(file, read.all_errors(errors_in_store))


def _document(file: str) -> tuple[JsonValue, list[InputError]]:
    """Return the content of the file, and the names that one object repeats."""
    try:
        content = read_input(file, LARGEST_FILE)
    except OSError as unreadable:
        raise _bad_file(file, [(file, unreadable.strerror or str(unreadable))]) from None
    try:
        content = content.removeprefix(b"\xef\xbb\xbf")
        # This parser limits the depth, and names the line and column of an error.
        from_json(content, allow_inf_nan=False)
    except ValueError as mistake:
        raise _bad_file(file, [(file, f"not JSON: {mistake}")]) from None
    return _with_repeated_names(content)


def _with_repeated_names(content: bytes) -> tuple[JsonValue, list[InputError]]:
    """Return the document, and the repeated names, whose first values are lost."""
    repeated: dict[int, list[str]] = {}

    def read_object(members: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        read = dict(members)
        if len(read) < len(members):
            counts = Counter(name for name, _ in members)
            repeated[id(read)] = [name for name, times in counts.items() if times > 1]
        return read

    def errors(path: str, value: JsonValue) -> Iterator[InputError]:
        if isinstance(value, dict):
            for name in repeated.get(id(value), ()):
                yield path or "$", f"{name!r} is named twice in one object"
            for name, member in value.items():
                yield from errors(f"{path}.{name}".removeprefix("."), member)
        elif isinstance(value, list):
            for number, entry in enumerate(value):
                yield from errors(f"{path}[{number}]", entry)

    document: JsonValue = json.loads(content, object_pairs_hook=read_object)
    return document, list(errors("", document)) if repeated else []


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
