"""A file of people to invite: read and checked whole before anybody is invited (REM-3)."""

import csv
import io
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.invitation import License, Person
from domain.model import Value
from domain.text import LOCALE, one_line

NOT_UTF8: Final = "not UTF-8: save the file as “CSV UTF-8”"

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
"""What stands where bytes were no UTF-8."""


class Column(StrEnum):
    """What a file may say of a person; only the address is needed."""

    EMAIL = "email"
    LICENSE = "license"
    LOCALE = "locale"
    NAME = "name"


class CsvError(Value):
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


class CsvRow(Value):
    """One row of a file."""

    row: int
    person: Person
    """With errors, only the address is as it was given."""
    errors: tuple[CsvError, ...] = ()


class RepeatedPerson(Value):
    """A row about somebody whom an earlier row names; the earlier one counts."""

    row: int
    email: str
    first_row: int


class PeopleFile(Value):
    """What a file says."""

    rows: tuple[CsvRow, ...] = ()
    """Each address once, and every row that has a error."""
    repeated: tuple[RepeatedPerson, ...] = ()
    unreadable: tuple[CsvError, ...] = ()
    """Mistakes of the whole file, such as a column that is missing: no row can be trusted."""

    @property
    def errors(self) -> tuple[CsvError, ...]:
        """All of them, from top to bottom."""
        of_rows = (error for row in self.rows for error in row.errors)
        return tuple(sorted((*self.unreadable, *of_rows), key=lambda error: error.row))


class _Record(NamedTuple):
    """The cells of one row, or why they cannot be told apart."""

    row: int
    cells: Sequence[str]
    malformed: str | None = None
    last: bool = False
    """Nobody knows where the next one begins."""


def read_people(
    content: bytes, license: License = License.BASIC, locale: str | None = None
) -> PeopleFile:
    """Read CSV in UTF-8, with or without a byte order mark, separated by `,` or `;`.

    The first row names the columns, in any order. `license` and `locale` are those of rows
    that leave them empty.
    """
    text, has_invalid_bytes = _text(content)
    records = _records(text)
    header = next(records, None)
    if header is None:
        return _unreadable(1, None, "the file is empty")
    if has_invalid_bytes and any(_REPLACEMENT in cell for cell in header.cells):
        return _unreadable(header.row, None, NOT_UTF8)
    columns = [cell.strip().casefold() for cell in header.cells]
    file = PeopleFile(unreadable=tuple(_header_errors(header, columns)))
    if Column.EMAIL not in columns:
        return file
    read = list(records)
    unreliable = tuple(_unreliable_rows(read, columns, has_invalid_bytes=has_invalid_bytes))
    file = file.model_copy(update={"unreadable": (*file.unreadable, *unreliable)})
    unread = {error.row for error in unreliable}
    defaults = Person(email="", license=license, locale=locale)
    rows = [_person(record, columns, defaults) for record in read if record.row not in unread]
    if not rows and not file.unreadable:
        return _unreadable(header.row, None, "the file names nobody")
    return _each_once(file, rows)


def _text(content: bytes) -> tuple[str, bool]:
    """What the file says, and whether some of it is no UTF-8."""
    try:
        return content.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return content.decode("utf-8-sig", errors="replace"), True


def _unreadable(row: int, column: str | None, reason: str) -> PeopleFile:
    return PeopleFile(unreadable=(CsvError(row=row, column=column, reason=reason),))


def _records(text: str) -> Iterator[_Record]:
    """The rows that are not blank; one that is malformed ends with its line, or is the last."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    row = 0
    while True:
        row += 1
        lines = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as malformed:
            # A quote that was not meant as one has swallowed other rows.
            hopeless = reader.line_num > lines + 1
            yield _Record(row, (), str(malformed), last=hopeless)
            if hopeless:
                return
        else:
            if any(cell.strip() for cell in cells):
                yield _Record(row, cells)


def _separator(text: str) -> str:
    """No name of a column holds one, so the header tells."""
    return ";" if ";" in text.lstrip().partition("\n")[0].partition("\r")[0] else ","


def _unreliable_rows(
    records: Sequence[_Record], columns: Sequence[str], *, has_invalid_bytes: bool
) -> Iterator[CsvError]:
    """What makes the whole file unreliable, and not only a row."""
    for record in records:
        if record.last:
            reason = f"{record.malformed}; nothing below it can be read"
            yield CsvError(row=record.row, column=None, reason=reason)
        for number, cell in enumerate(record.cells):
            if has_invalid_bytes and _REPLACEMENT in cell:
                column = columns[number] if number < len(columns) else f"column {number + 1}"
                yield CsvError(row=record.row, column=column, reason=NOT_UTF8)


def _header_errors(header: _Record, columns: Sequence[str]) -> Iterator[CsvError]:
    known = ", ".join(Column)
    if header.malformed:
        yield CsvError(row=header.row, column=None, reason=header.malformed)
    elif Column.EMAIL not in columns:
        yield CsvError(
            row=header.row, column=Column.EMAIL, reason=f"the column is missing; known are {known}"
        )
    for number, column in enumerate(columns):
        if column not in list(Column):
            shown = one_line(column) or f"column {number + 1}"
            yield CsvError(row=header.row, column=shown, reason=f"unknown; known are {known}")
        elif column in columns[:number]:
            yield CsvError(row=header.row, column=column, reason="named twice")


def _person(record: _Record, columns: Sequence[str], defaults: Person) -> CsvRow:
    """The row; cells that a spreadsheet has left out at its end are empty."""
    cells = [one_line(cell) for cell in record.cells]
    said = dict(zip(columns, cells, strict=False))
    email = said.get(Column.EMAIL, "")
    errors = tuple(_row_errors(record, len(columns), said))
    if errors:
        return CsvRow(row=record.row, person=Person(email=email), errors=errors)
    license = said.get(Column.LICENSE)
    return CsvRow(
        row=record.row,
        person=Person(
            email=email,
            license=License(license.casefold()) if license else defaults.license,
            locale=said.get(Column.LOCALE) or defaults.locale,
            name=said.get(Column.NAME) or None,
        ),
    )


def _row_errors(record: _Record, width: int, said: dict[str, str]) -> Iterator[CsvError]:
    if record.malformed:
        yield CsvError(row=record.row, column=None, reason=record.malformed)
        return
    if any(record.cells[width:]):
        reason = f"{len(record.cells)} cells under {width} columns"
        yield CsvError(row=record.row, column=None, reason=reason)
    try:
        normalized(said.get(Column.EMAIL, ""))
    except Refused as refused:
        reason = refused.message if said.get(Column.EMAIL) else "missing"
        yield CsvError(row=record.row, column=Column.EMAIL, reason=reason, code=refused.code)
    license, locale = said.get(Column.LICENSE), said.get(Column.LOCALE)
    if license and license.casefold() not in list(License):
        reason = f"neither {' nor '.join(License)}: {license}"
        yield CsvError(row=record.row, column=Column.LICENSE, reason=reason)
    if locale and not LOCALE.fullmatch(locale):
        yield CsvError(row=record.row, column=Column.LOCALE, reason=f"no such locale: {locale}")


def _each_once(file: PeopleFile, rows: Sequence[CsvRow]) -> PeopleFile:
    """Each address once, by its normalized spelling; the first row counts (INV-2)."""
    first = dict[str, int]()
    kept, repeated = list[CsvRow](), list[RepeatedPerson]()
    for row in rows:
        if row.errors:
            kept.append(row)
            continue
        email = normalized(row.person.email)
        if email in first:
            repeated.append(RepeatedPerson(row=row.row, email=email, first_row=first[email]))
        else:
            first[email] = row.row
            kept.append(row)
    return file.model_copy(update={"rows": tuple(kept), "repeated": tuple(repeated)})
