"""A file of people to invite: read and checked whole before anybody is invited (REM-3)."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.invitation import License, Person
from domain.model import Value
from domain.text import one_line

LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
"""A language, perhaps with a region."""


class Column(StrEnum):
    """What a file may say of a person; only the address is needed."""

    EMAIL = "email"
    LICENSE = "license"
    LOCALE = "locale"
    NAME = "name"


class FileMistake(Value):
    """One thing that is wrong with a file."""

    row: int
    """As a spreadsheet counts: the header is row 1, a quoted line break makes no new row."""
    column: str | None
    """None when it is about the whole row."""
    reason: str
    code: ErrorCode = ErrorCode.INVALID_INPUT

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"row {self.row}, {self.column}" if self.column else f"row {self.row}"


class FiledPerson(Value):
    """One row of a file."""

    row: int
    person: Person
    """With mistakes, only the address is as it was given."""
    mistakes: tuple[FileMistake, ...] = ()


class RepeatedPerson(Value):
    """A row about somebody whom an earlier row names; the earlier one counts."""

    row: int
    email: str
    first_row: int


class PeopleFile(Value):
    """What a file says."""

    rows: tuple[FiledPerson, ...] = ()
    """Each address once, and every row that has a mistake."""
    repeated: tuple[RepeatedPerson, ...] = ()
    unreadable: tuple[FileMistake, ...] = ()
    """Mistakes of the whole file, such as a column that is missing: no row can be trusted."""

    @property
    def mistakes(self) -> tuple[FileMistake, ...]:
        """All of them, from top to bottom."""
        return (*self.unreadable, *(mistake for row in self.rows for mistake in row.mistakes))


class _Record(NamedTuple):
    """The cells of one row, or why they cannot be told apart."""

    row: int
    cells: Sequence[str]
    malformed: str | None = None


def read_people(
    content: bytes, license: License = License.BASIC, locale: str | None = None
) -> PeopleFile:
    """Read CSV in UTF-8, with or without a byte order mark, separated by `,` or `;`.

    The first row names the columns, in any order. `license` and `locale` are those of rows
    that leave them empty.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as mistake:
        row = content.count(b"\n", 0, mistake.start) + 1
        return _unreadable(row, None, "not UTF-8: save it as “CSV UTF-8”")
    records = _records(text)
    header = next(records, None)
    if header is None:
        return _unreadable(1, None, "the file is empty")
    columns = [cell.strip().casefold() for cell in header.cells]
    filed = PeopleFile(unreadable=tuple(_header_mistakes(header, columns)))
    if Column.EMAIL not in columns:
        return filed
    defaults = Person(email="", license=license, locale=locale)
    rows = [_person(record, columns, defaults) for record in records]
    if not rows and not filed.unreadable:
        return _unreadable(header.row, None, "the file names nobody")
    return _each_once(filed, rows)


def _unreadable(row: int, column: str | None, reason: str) -> PeopleFile:
    return PeopleFile(unreadable=(FileMistake(row=row, column=column, reason=reason),))


def _records(text: str) -> Iterator[_Record]:
    """The rows that are not blank; one that is malformed ends with its line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    row = 0
    while True:
        row += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as malformed:
            yield _Record(row, (), str(malformed))
        else:
            if any(cell.strip() for cell in cells):
                yield _Record(row, cells)


def _separator(text: str) -> str:
    """No name of a column holds one, so the header tells."""
    return ";" if ";" in text.lstrip().partition("\n")[0].partition("\r")[0] else ","


def _header_mistakes(header: _Record, columns: Sequence[str]) -> Iterator[FileMistake]:
    known = ", ".join(Column)
    if header.malformed:
        yield FileMistake(row=header.row, column=None, reason=header.malformed)
    elif Column.EMAIL not in columns:
        yield FileMistake(
            row=header.row, column=Column.EMAIL, reason=f"the column is missing; known are {known}"
        )
    for number, column in enumerate(columns):
        if column not in list(Column):
            shown = one_line(column) or f"column {number + 1}"
            yield FileMistake(row=header.row, column=shown, reason=f"unknown; known are {known}")
        elif column in columns[:number]:
            yield FileMistake(row=header.row, column=column, reason="named twice")


def _person(record: _Record, columns: Sequence[str], defaults: Person) -> FiledPerson:
    """The row; cells that a spreadsheet has left out at its end are empty."""
    cells = [one_line(cell) for cell in record.cells]
    said = dict(zip(columns, cells, strict=False))
    email = said.get(Column.EMAIL, "")
    mistakes = tuple(_row_mistakes(record, len(columns), said))
    if mistakes:
        return FiledPerson(row=record.row, person=Person(email=email), mistakes=mistakes)
    license = said.get(Column.LICENSE)
    return FiledPerson(
        row=record.row,
        person=Person(
            email=email,
            license=License(license.casefold()) if license else defaults.license,
            locale=said.get(Column.LOCALE) or defaults.locale,
            name=said.get(Column.NAME) or None,
        ),
    )


def _row_mistakes(record: _Record, width: int, said: dict[str, str]) -> Iterator[FileMistake]:
    if record.malformed:
        yield FileMistake(row=record.row, column=None, reason=record.malformed)
        return
    if any(record.cells[width:]):
        reason = f"{len(record.cells)} cells under {width} columns"
        yield FileMistake(row=record.row, column=None, reason=reason)
    try:
        normalized(said.get(Column.EMAIL, ""))
    except Refused as refused:
        reason = refused.message if said.get(Column.EMAIL) else "missing"
        yield FileMistake(row=record.row, column=Column.EMAIL, reason=reason, code=refused.code)
    license, locale = said.get(Column.LICENSE), said.get(Column.LOCALE)
    if license and license.casefold() not in list(License):
        reason = f"neither {' nor '.join(License)}: {license}"
        yield FileMistake(row=record.row, column=Column.LICENSE, reason=reason)
    if locale and not LOCALE.fullmatch(locale):
        yield FileMistake(row=record.row, column=Column.LOCALE, reason=f"no such locale: {locale}")


def _each_once(filed: PeopleFile, rows: Sequence[FiledPerson]) -> PeopleFile:
    """Each address once, by its normalized spelling; the first row counts (INV-2)."""
    first = dict[str, int]()
    kept, repeated = list[FiledPerson](), list[RepeatedPerson]()
    for row in rows:
        if row.mistakes:
            kept.append(row)
            continue
        email = normalized(row.person.email)
        if email in first:
            repeated.append(RepeatedPerson(row=row.row, email=email, first_row=first[email]))
        else:
            first[email] = row.row
            kept.append(row)
    return filed.model_copy(update={"rows": tuple(kept), "repeated": tuple(repeated)})
