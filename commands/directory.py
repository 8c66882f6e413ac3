"""Commands about the accounts in the store."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails, from_json
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from commands.answer import DONE, Answer, as_json, print_json
from commands.question import ask_store
from domain.account import Directory
from domain.audit import AuditReport
from domain.error import ErrorCode, Refused

app = typer.Typer()

_PANEL = "Accounts"


@app.command("import", rich_help_panel=_PANEL, epilog="Example: seatflow import accounts.json")
def import_(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSON file; - reads stdin.", show_default=False)
    ],
) -> None:
    """Load accounts into the store, all or nothing.

    A known account is updated: what the file does not name stays.
    """
    directory = _read(file)
    ids = ask_store(context, "Importing", lambda store: store.directory.import_(directory))
    Answer.of(context).give({"accounts": list(ids)}, lambda: Text(f"Imported {', '.join(ids)}."))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow export acme > acme.json")
def export(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="One account; all of them without it.")
    ] = None,
) -> None:
    """Print accounts as JSON that `import` takes."""
    directory = ask_store(context, "Exporting", lambda store: store.directory.export(account))
    print_json(as_json(directory))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow --json audit")
def audit(context: typer.Context) -> int:
    """Prove that nothing was lost, doubled or left half done."""
    report = ask_store(context, "Auditing", lambda store: store.audit())
    answer = Answer.of(context)
    answer.give(as_json(report), lambda: _shown(report))
    if not report.violations:
        return DONE
    count = len(report.violations)
    return answer.refuse(
        Refused(ErrorCode.INVARIANT_BROKEN, f"{count} of the invariants do not hold.")
    )


def _read(file: str) -> Directory:
    document = _document(file)
    try:
        return Directory.model_validate(document)
    except ValidationError as invalid:
        mistakes = _mistakes(document, invalid)
        raise _bad_file(file, mistakes) from None


def _document(file: str) -> JsonValue:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as unreadable:
        raise _bad_file(file, {file: [unreadable.strerror or str(unreadable)]}) from None
    try:
        content = content.removeprefix(b"\xef\xbb\xbf")
        document: JsonValue = from_json(content, allow_inf_nan=False)
        json.loads(content, object_pairs_hook=_each_once)
    except ValueError as mistake:
        raise _bad_file(file, {file: [f"not JSON: {mistake}"]}) from None
    return document


def _each_once(members: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """An object whose members have different names: the last one would win unseen."""
    once = dict(members)
    if len(once) < len(members):
        names = [name for name, _ in members]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{repeated!r} is named twice in one object")
    return once


def _bad_file(file: str, mistakes: dict[str, list[str]]) -> Refused:
    listed: list[JsonValue] = [
        {"path": path, "reason": reason} for path, reasons in mistakes.items() for reason in reasons
    ]
    return Refused(
        ErrorCode.INVALID_INPUT, f"{file} cannot be imported; nothing was.", mistakes=listed
    )


def _mistakes(document: JsonValue, invalid: ValidationError) -> dict[str, list[str]]:
    """The reasons by path; what each alternative of one value lacks is one reason."""
    found: dict[str, list[str]] = {}
    for error in invalid.errors(include_url=False, include_context=False):
        reason = error["msg"].removeprefix("Value error, ")
        found.setdefault(_path(document, error), []).append(reason)
    return {path: ["; or ".join(reasons)] for path, reasons in found.items()}


def _path(document: JsonValue, error: ErrorDetails) -> str:
    """`accounts[0].users[1].email`: only steps that the document has, or lacks."""
    return "".join(_steps(document, error)).removeprefix(".") or "$"


def _steps(here: JsonValue, error: ErrorDetails) -> Iterator[str]:
    for step in error["loc"]:
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            here = here[step]
            yield f"[{step}]"
        elif isinstance(here, dict) and step in here:
            here = here[str(step)]
            yield f".{step}"
        elif error["type"] == "missing":
            yield f".{step}"


def _shown(report: AuditReport) -> RenderableType:
    if not report.violations:
        checked = ", ".join(f"{count} {what}" for what, count in report.checked.items())
        return Text(f"Everything holds: {checked}.", style="green")
    table = Table("rule", "what", "why", box=None, header_style="dim")
    for violation in report.violations:
        table.add_row(Text(violation.rule, style="red"), violation.subject, violation.message)
    return table
