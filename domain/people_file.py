"""CSV files of people to invite, validated as a whole before the batch starts (REM-3)."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import chain
from typing import BinaryIO, Final, NamedTuple, TextIO

from pydantic import JsonValue

from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.invitation import License, Person
from domain.model import Value
from domain.text import one_line, unknown_locale

NOT_UTF8: Final = "not UTF-8: save the file as “CSV UTF-8”"

_INVALID: Final = re.compile("[\udc80-\udcff]")
"""Bytes that are not UTF-8."""


class Column(StrEnum):
    """The columns of a file; only the address is required."""

    EMAIL = "email"
    LICENSE = "license"
    LOCALE = "locale"
    NAME = "name"


class CsvError(Value):
    """An error in a file."""

    row: int
    """The row number in a spreadsheet: the header is row 1, quoted line breaks do not count."""
    column: str | None
    """None when the error concerns the whole row."""
    reason: str
    code: ErrorCode = ErrorCode.INVALID_INPUT

    @property
    def place(self) -> str:
        """Return the position of the error as text."""
        return f"row {self.row}, {self.column}" if self.column else f"row {self.row}"

    def as_json(self) -> dict[str, JsonValue]:
        """Return the error as refusals list it."""
        return {
            "row": self.row,
            "column": self.column,
            "path": self.place,
            "reason": self.reason,
        }


class CsvRow(Value):
    """One row of a file."""

    row: int
    person: Person
    """In a row with errors, only the address is set."""
    errors: tuple[CsvError, ...] = ()


class RepeatedPerson(Value):
    """A row that repeats the address of an earlier row and is ignored."""

    row: int
    email: str
    first_row: int


class PeopleFile(Value):
    """The content of a file."""

    rows: tuple[CsvRow, ...] = ()
    """The first row of each address, and every row with an error."""
    repeated: tuple[RepeatedPerson, ...] = ()
    unreadable: tuple[CsvError, ...] = ()
    """Errors of the whole file, such as a missing column, which make all rows unreliable."""

    @property
    def errors(self) -> tuple[CsvError, ...]:
        """Return all errors, in the order of the rows."""
        of_rows = (error for row in self.rows for error in row.errors)
        return tuple(sorted((*self.unreadable, *of_rows), key=lambda error: error.row))


class _Record(NamedTuple):
    """The cells of one row, or the reason why they cannot be parsed."""

    row: int
    cells: Sequence[str]
    malformed: str | None = None
    last: bool = False
    """True if the start of the next row cannot be determined."""


def read_people(
    content: BinaryIO, license: License = License.BASIC, locale: str | None = None
) -> PeopleFile:
    """Read CSV in UTF-8 row by row, separated by `,`, `;` or tabs; a byte order mark is skipped.

    The first row names the columns, in any order. `license` and `locale` are the defaults of
    rows that leave them empty.
    """
    # Bytes that are not UTF-8 become characters that no UTF-8 has.
    text = io.TextIOWrapper(content, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        return _read(text, Person(email="", license=license, locale=locale))
    finally:
        # Otherwise the wrapper would close the file.
        text.detach()


def _read(text: TextIO, defaults: Person) -> PeopleFile:
    records = _records(text)
    header = next(records, None)
    if header is None:
        return _unreadable(1, None, "the file is empty")
    if any(map(_has_invalid_bytes, header.cells)):
        return _unreadable(header.row, None, NOT_UTF8)
    columns = [cell.strip().casefold() for cell in header.cells]
    unreadable = list(_header_errors(header, columns))
    if Column.EMAIL not in columns:
        return PeopleFile(unreadable=tuple(unreadable))
    rows = list[CsvRow]()
    for record in records:
        unreliable = list(_unreliable_cells(record, columns))
        unreadable += unreliable
        if not unreliable:
            rows.append(_person(record, columns, defaults))
    if not rows and not unreadable:
        return _unreadable(header.row, None, "the file has no rows below the header")
    return _each_once(PeopleFile(unreadable=tuple(unreadable)), rows)


def _has_invalid_bytes(cell: str) -> bool:
    return _INVALID.search(cell) is not None


def _unreadable(row: int, column: str | None, reason: str) -> PeopleFile:
    return PeopleFile(unreadable=(CsvError(row=row, column=column, reason=reason),))


def _records(text: TextIO) -> Iterator[_Record]:
    """Yield the rows that are not blank; after an unclosed quote no further row is read."""
    first = _first_lines(text)
    reader = csv.reader(chain(first, text), delimiter=_separator(first), strict=True)
    row = 0
    while True:
        row += 1
        lines = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as malformed:
            # An unclosed quote has consumed further rows.
            unclosed = reader.line_num > lines + 1
            yield _Record(row, (), str(malformed), last=unclosed)
            if unclosed:
                return
        else:
            if any(cell.strip() for cell in cells):
                yield _Record(row, cells)


def _first_lines(text: TextIO) -> Sequence[str]:
    """Return the lines up to the first one that is not blank."""
    lines = list[str]()
    for line in text:
        lines.append(line)
        if line.strip():
            break
    return lines


def _separator(lines: Sequence[str]) -> str:
    """Return the separator that the header uses; no column name contains one.

    Cells that are copied from a spreadsheet are separated by tabs.
    """
    header = lines[-1].strip() if lines else ""
    return next((each for each in ";\t" if each in header), ",")


def _unreliable_cells(record: _Record, columns: Sequence[str]) -> Iterator[CsvError]:
    """Yield the errors of a row that make the whole file unreliable."""
    if record.last:
        reason = f"{record.malformed}; nothing below it can be read"
        yield CsvError(row=record.row, column=None, reason=reason)
    for number, cell in enumerate(record.cells):
        if _has_invalid_bytes(cell):
            column = columns[number] if number < len(columns) else f"column {number + 1}"
            yield CsvError(row=record.row, column=column, reason=NOT_UTF8)


def _header_errors(header: _Record, columns: Sequence[str]) -> Iterator[CsvError]:
    known = ", ".join(Column)
    if header.malformed:
        yield CsvError(row=header.row, column=None, reason=header.malformed)
    elif Column.EMAIL not in columns:
        yield CsvError(
            row=header.row, column=Column.EMAIL, reason=f"missing column; use columns of {known}"
        )
    for number, column in enumerate(columns):
        if column not in list(Column):
            shown = one_line(column) or f"column {number + 1}"
            reason = f"unknown column; use columns of {known}"
            yield CsvError(row=header.row, column=shown, reason=reason)
        elif column in columns[:number]:
            yield CsvError(row=header.row, column=column, reason="duplicate column; remove one")


def _person(record: _Record, columns: Sequence[str], defaults: Person) -> CsvRow:
    """Return the person of a row; cells missing at its end are empty."""
    cells = [one_line(cell) for cell in record.cells]
    values = dict(zip(columns, cells, strict=False))
    email = values.get(Column.EMAIL, "")
    errors = tuple(_row_errors(record, len(columns), values))
    if errors:
        return CsvRow(row=record.row, person=Person(email=email), errors=errors)
    license = values.get(Column.LICENSE)
    return CsvRow(
        row=record.row,
        person=Person(
            email=email,
            license=License(license.casefold()) if license else defaults.license,
            locale=values.get(Column.LOCALE) or defaults.locale,
            name=values.get(Column.NAME) or None,
        ),
    )


def _row_errors(record: _Record, width: int, values: dict[str, str]) -> Iterator[CsvError]:
    if record.malformed:
        yield CsvError(row=record.row, column=None, reason=record.malformed)
        return
    if any(record.cells[width:]):
        reason = f"the row has {len(record.cells)} cells, but the header has {width}"
        yield CsvError(row=record.row, column=None, reason=reason)
    try:
        normalized(values.get(Column.EMAIL, ""))
    except Refused as refused:
        reason = refused.message if values.get(Column.EMAIL) else "the address is missing"
        yield CsvError(row=record.row, column=Column.EMAIL, reason=reason, code=refused.code)
    license, locale = values.get(Column.LICENSE), values.get(Column.LOCALE)
    if license and license.casefold() not in list(License):
        reason = f"unknown license {license}; use {' or '.join(License)}"
        yield CsvError(row=record.row, column=Column.LICENSE, reason=reason)
    if locale and (unknown := unknown_locale(locale)):
        yield CsvError(row=record.row, column=Column.LOCALE, reason=unknown)


def _each_once(file: PeopleFile, rows: Sequence[CsvRow]) -> PeopleFile:
    """Return the file with the first row of each normalized address (INV-2)."""
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
