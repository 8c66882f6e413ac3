"""The part of `invite` for a file of people (REM-3)."""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import JsonValue

from commands.call import with_clients
from commands.output import CommandOutput
from commands.rows import print_results
from commands.source import MEBIBYTE, open_input
from domain.batch import BatchRow, is_batch_id, rows_of
from domain.error import ErrorCode, Refused
from domain.invitation import InviteResult, License, Person
from domain.people_file import PeopleFile, read_people
from domain.text import spreadsheet_text

if TYPE_CHECKING:
    from clients.batch import BatchClient

Counting = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a progress bar, which receives the number of rows done and of all rows."""

LARGEST_FILE = 16 * MEBIBYTE
"""Bytes of a file that `invite --file` reads."""

REPEATED_ROWS_SHOWN = 10
"""Repeated rows in the summary; the JSON document has all."""

RESULT_COLUMNS = ("email", "result", "state", "expires_at", "code", "message")


@dataclass(frozen=True)
class BatchRequest:
    """A batch without its people."""

    account: str
    by: str
    heads_up_days: int
    batch: str | None
    note: str | None = None


def batch_name(name: str | None) -> str | None:
    """Check the name of a batch. Raises `Refused(invalid_input)`."""
    if name is not None and not is_batch_id(name):
        raise Refused(
            ErrorCode.INVALID_INPUT,
            "A batch name has up to 64 lower-case letters, digits, dots, dashes and underscores.",
        )
    return name


def read(file: str, license: License, locale: str | None, *, skip_bad_rows: bool) -> PeopleFile:
    """Read and check the file; - is stdin.

    Raises `Refused(invalid_input)` with every mistake, unless bad rows may be skipped.
    """
    try:
        with open_input(file, LARGEST_FILE) as opened:
            found = read_people(opened, license, locale)
    except OSError as unreadable:
        reason = unreadable.strerror or str(unreadable)
        raise _bad_file(file, [{"path": file, "reason": reason}]) from None
    if found.unreadable or (found.errors and not skip_bad_rows):
        raise _bad_file(file, [error.as_json() for error in found.errors])
    return found


def invite(
    context: typer.Context,
    request: BatchRequest,
    file: PeopleFile,
    given: Sequence[Person],
    *,
    results: Path | None,
    wait: bool,
) -> int:
    """Invite the people `given` and the people of the file; return the exit status."""
    rows = rows_of(given, file)
    if results:
        _require_writable(results)
    output = CommandOutput.of(context)
    batch_id, found = with_clients(
        context,
        # The call shows its own progress bar.
        None,
        lambda clients: run_batch(
            clients.batches, request, rows, output.counting, results=results, wait=wait
        ),
    )
    repeated: list[JsonValue] = [repeat.model_dump(mode="json") for repeat in file.repeated]
    summary = f"{_summary(found, file)} Batch {batch_id}."
    return print_results(output, found, summary, batch=batch_id, repeated=repeated)


def _summary(found: Sequence[InviteResult], file: PeopleFile) -> str:
    """Return the number of rows by result, and the rows with a repeated address."""
    counts = Counter(row.result for row in found)
    total = ", ".join(f"{count} {result.replace('_', ' ')}" for result, count in counts.items())
    rows = "1 row" if len(found) == 1 else f"{len(found)} rows"
    if not file.repeated:
        return f"{rows}: {total}."
    named = ", ".join(str(repeat.row) for repeat in file.repeated[:REPEATED_ROWS_SHOWN])
    more = ", …" if len(file.repeated) > REPEATED_ROWS_SHOWN else ""
    return f"{rows}: {total}. Repeated address: row {named}{more}."


async def run_batch(
    batches: "BatchClient",
    request: BatchRequest,
    rows: Sequence[BatchRow],
    counting: Counting,
    *,
    results: Path | None,
    wait: bool,
) -> tuple[str, list[InviteResult]]:
    """Run the batch to its end; return its id and the result of each row."""
    batch = await batches.submit(
        request.account,
        rows,
        request.by,
        batch_id=request.batch,
        heads_up_days=request.heads_up_days,
        note=request.note,
    )
    with counting("Inviting") as watch:
        await batches.wait_until_finished(batch, watch)
    if wait:
        with counting("Sending") as watch:
            await batches.wait_until_sent(batch, watch)
    found = await batches.results(batch, waited=wait)
    if results:
        write_results(results, found)
    await batches.report(batch)
    return batch.batch_id, found


def _bad_file(file: str, mistakes: Sequence[dict[str, JsonValue]]) -> Refused:
    return Refused(
        ErrorCode.INVALID_INPUT, f"{file} has mistakes; nobody was invited.", mistakes=[*mistakes]
    )


def _require_writable(results: Path) -> None:
    """Raise Refused before anybody is invited when the results cannot be written."""
    try:
        results.open("a").close()
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise Refused(
            ErrorCode.INVALID_INPUT, f"{results} cannot be written: {reason}. Nobody was invited."
        ) from None


def write_results(results: Path, found: Sequence[InviteResult]) -> None:
    """Write a row for each result, as text for spreadsheets. Raises `Refused(invalid_input)`."""
    try:
        _write_rows(results, found)
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise Refused(
            ErrorCode.INVALID_INPUT,
            f"{results} cannot be written: {reason}. The batch is done; repeating the command "
            "writes its results.",
        ) from None


def _write_rows(results: Path, found: Sequence[InviteResult]) -> None:
    with results.open("w", encoding="utf-8-sig", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(RESULT_COLUMNS)
        for result in found:
            invitation, error = result.invitation, result.error or {}
            expires_at = invitation.expires_at if invitation else None
            lines.writerow(
                spreadsheet_text(cell)
                for cell in (
                    result.email,
                    result.result,
                    invitation.state.value if invitation else "",
                    f"{expires_at:%Y-%m-%dT%H:%M:%SZ}" if expires_at else "",
                    error.get("code", ""),
                    error.get("message", result.note or ""),
                )
            )
