"""Inviting a whole file of people (REM-3)."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from commands.answer import Answer
from commands.question import ask_bulk
from commands.rows import give_results
from commands.source import content_of
from domain.address import normalized
from domain.batch import BatchRow
from domain.error import ErrorCode, Refused
from domain.invitation import InviteResult, License, Person
from domain.people_file import CsvError, CsvRow, PeopleFile, read_people

if TYPE_CHECKING:
    from clients.batch import BulkClient

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

Counting = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows what is being counted; inside, it is told how many are done, and of how many."""

NAMED_AGAIN = 10
"""So many rows that name somebody again are told of; the JSON has all."""

RESULT_COLUMNS = ("email", "result", "state", "expires_at", "code", "message")


@dataclass(frozen=True)
class Asked:
    """What is asked for, beside whom."""

    account: str
    by: str
    heads_up_days: int
    batch: str | None


def batch_name(name: str | None) -> str | None:
    """The name that an operator has given a batch. Raises `Refused(invalid_input)`."""
    if name is not None and not _NAME.fullmatch(name):
        raise Refused(
            ErrorCode.INVALID_INPUT,
            "A batch is named with up to 64 small letters, digits, dots, dashes and underscores.",
        )
    return name


def read(file: str, license: License, locale: str | None, *, skip_bad_rows: bool) -> PeopleFile:
    """The file, checked; - is stdin.

    Raises `Refused(invalid_input)` that names every mistake, unless bad rows may be skipped.
    """
    try:
        content = content_of(file)
    except OSError as unreadable:
        reason = unreadable.strerror or str(unreadable)
        raise _bad_file(file, [{"path": file, "reason": reason}]) from None
    found = read_people(content, license, locale)
    if found.unreadable or (found.errors and not skip_bad_rows):
        raise _bad_file(file, [_as_json(mistake) for mistake in found.errors])
    return found


def invite(
    answer: Answer,
    asked: Asked,
    file: PeopleFile,
    given: Sequence[Person],
    *,
    results: Path | None,
    wait: bool,
) -> int:
    """Invite those `given` and those of the file; returns the exit status."""
    rows = rows_of(given, file)
    if results:
        _require_writable(results)
    batch_id, found = ask_bulk(
        lambda bulk: invited(bulk, asked, rows, answer.counting, results=results, wait=wait)
    )
    repeated: list[JsonValue] = [repeat.model_dump(mode="json") for repeat in file.repeated]
    told = f"{_sum(found, file)} Batch {batch_id}."
    return give_results(answer, found, told, batch=batch_id, repeated=repeated)


def _sum(found: Sequence[InviteResult], file: PeopleFile) -> str:
    """How many rows became what, and which ones name somebody again."""
    counts = Counter(row.result for row in found)
    total = ", ".join(f"{count} {result.replace('_', ' ')}" for result, count in counts.items())
    rows = "1 row" if len(found) == 1 else f"{len(found)} rows"
    if not file.repeated:
        return f"{rows}: {total}."
    named = ", ".join(str(repeat.row) for repeat in file.repeated[:NAMED_AGAIN])
    more = ", …" if len(file.repeated) > NAMED_AGAIN else ""
    return f"{rows}: {total}. Named again: row {named}{more}."


async def invited(
    bulk: "BulkClient",
    asked: Asked,
    rows: Sequence[BatchRow],
    counting: Counting,
    *,
    results: Path | None,
    wait: bool,
) -> tuple[str, list[InviteResult]]:
    """The batch, and what became of each row when all are done; `counting` shows how far it is."""
    batch = await bulk.submit(
        asked.account, rows, asked.by, batch_id=asked.batch, heads_up_days=asked.heads_up_days
    )
    with counting("Inviting") as watch:
        await bulk.wait_until_done(batch, watch)
    if wait:
        with counting("Sending") as watch:
            await bulk.wait_until_out(batch, watch)
    found = await bulk.results(batch, waited=wait)
    if results:
        _write(results, found)
    await bulk.report(batch)
    return batch.batch_id, found


def rows_of(given: Sequence[Person], file: PeopleFile) -> list[BatchRow]:
    """Each address once, in the order asked; bad rows with what is wrong with them."""
    return list(_rows(given, file))


def _rows(given: Sequence[Person], file: PeopleFile) -> Iterator[BatchRow]:
    seen, position = set[str](), 0
    for row in (*(CsvRow(row=0, person=person) for person in given), *file.rows):
        if not row.errors:
            spelling = _spelling(row.person)
            if spelling in seen:
                continue
            seen.add(spelling)
        refused = _refusal(row.errors).as_json() if row.errors else None
        yield BatchRow(position=position, person=row.person, refused=refused)
        position += 1


def _spelling(person: Person) -> str:
    try:
        return normalized(person.email)
    except Refused:
        # It gets a row of its own that says what is wrong with it.
        return person.email.strip()


def _refusal(mistakes: Sequence[CsvError]) -> Refused:
    first = mistakes[0]
    return Refused(
        first.code,
        f"{first.place}: {first.reason}",
        mistakes=[_as_json(mistake) for mistake in mistakes],
    )


def _as_json(mistake: CsvError) -> dict[str, JsonValue]:
    return {
        "row": mistake.row,
        "column": mistake.column,
        "path": mistake.place,
        "reason": mistake.reason,
    }


def _bad_file(file: str, mistakes: Sequence[dict[str, JsonValue]]) -> Refused:
    return Refused(
        ErrorCode.INVALID_INPUT, f"{file} has mistakes; nobody was invited.", mistakes=[*mistakes]
    )


def _require_writable(results: Path) -> None:
    """Before anybody is invited: afterwards it would be too late to say so."""
    try:
        results.open("a").close()
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise Refused(
            ErrorCode.INVALID_INPUT, f"{results} cannot be written: {reason}. Nobody was invited."
        ) from None


def _write(results: Path, found: Sequence[InviteResult]) -> None:
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
                (
                    result.email,
                    result.result,
                    invitation.state.value if invitation else "",
                    f"{expires_at:%Y-%m-%dT%H:%M:%SZ}" if expires_at else "",
                    error.get("code", ""),
                    error.get("message", ""),
                )
            )
