"""Plausible wrong values for every column of every row, and for every member of a record."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Connection, Table, select, type_coerce, update

from adapters.sql.database.column import Document
from adapters.sql.database.schema import Base

Key = dict[str, object]
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Corruption:
    """A wrong value in one column of one row."""

    table: Table
    column: Column[Any]
    path: Path
    """The path of the changed member of a document; empty for a plain column."""
    key: Key
    right: object
    wrong: object

    @property
    def name(self) -> str:
        """Return `TABLE.COLUMN`, with the names of the members on the path."""
        members = (part for part in self.path if isinstance(part, str))
        return ".".join((self.table.name, self.column.name, *members))

    def apply(self, connection: Connection) -> None:
        """Write the wrong value."""
        self._write(connection, self.key, self.wrong)

    def revert(self, connection: Connection) -> None:
        """Write the right value again."""
        key = self.key
        if self.column.primary_key:
            key = {**key, self.column.name: self.wrong}
        self._write(connection, key, self.right)

    def _write(self, connection: Connection, key: Key, value: object) -> None:
        where = [self.table.c[name] == each for name, each in key.items()]
        if isinstance(self.column.type, Document):
            value = type_coerce(value, JSON(none_as_null=True))
        done = connection.execute(update(self.table).where(*where).values({self.column: value}))
        assert done.rowcount == 1


def corruptions(connection: Connection, name: str) -> Iterator[Corruption]:
    """Yield a corruption of every column of every row, and of every member of a document."""
    table = Base.metadata.tables[name]
    columns = [
        type_coerce(column, JSON(none_as_null=True)).label(column.name)
        if isinstance(column.type, Document)
        else column
        for column in table.columns
    ]
    query = select(*columns).order_by(*table.primary_key)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    schemas = {
        column.name: column.type.kind.json_schema()
        for column in table.columns
        if isinstance(column.type, Document)
    }
    for row in rows:
        key = {column.name: row[column.name] for column in table.primary_key}
        for column in table.columns:
            right = row[column.name]
            if isinstance(column.type, Document) and right is not None:
                for path, wrong in _wrong_members(right, schemas[column.name]):
                    yield Corruption(table, column, path, key, right, wrong)
            else:
                wrong = _wrong_value(connection, column, right, rows)
                yield Corruption(table, column, (), key, right, wrong)


def _wrong_value(
    connection: Connection, column: Column[Any], right: object, rows: Sequence[Mapping[str, Any]]
) -> object:
    """Return another value that the column may have."""
    others = [*_permitted(column), *_referred(connection, column)]
    others += [row[column.name] for row in rows if row[column.name] is not None]
    other = next((each for each in others if each != right), None)
    if right is None:
        return other if other is not None else _some_value(column)
    if isinstance(right, str) and other is not None:
        return other
    return _other(right)


def _permitted(column: Column[Any]) -> list[str]:
    """Return the values that a check of the table permits in the column."""
    assert isinstance(column.table, Table)
    checks = [each for each in column.table.constraints if isinstance(each, CheckConstraint)]
    found = (re.match(rf"{column.name} IN \((.*)\)$", str(check.sqltext)) for check in checks)
    return [value for match in found if match for value in re.findall(r"'(.*?)'", match[1])]


def _referred(connection: Connection, column: Column[Any]) -> list[object]:
    return [
        value
        for key in column.foreign_keys
        for value in connection.scalars(select(key.column).order_by(key.column)).all()
    ]


def _some_value(column: Column[Any]) -> object:
    if isinstance(column.type, Document):
        return {"code": "wrong"}
    kind = column.type.python_type if not hasattr(column.type, "impl") else None
    if kind is int:
        return 500
    if kind is str:
        return "wrong"
    return datetime(2026, 5, 1, tzinfo=UTC)


def _other(value: object) -> object:
    match value:
        case bool():
            return not value
        case int() | Decimal():
            return value + 1
        case date():
            return value + timedelta(days=1)
        case str():
            return _other_text(value)
    raise TypeError(value)


def _other_text(value: str) -> str:
    """Return another text of the same form: an amount, a time, a day, or words."""
    try:
        return f"{Decimal(value) + 1:f}"
    except ArithmeticError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return f"{value}x"
    later = moment + timedelta(days=1)
    return later.isoformat() if "T" in value else later.date().isoformat()


def _wrong_members(
    document: Any, schema: Mapping[str, Any], path: Path = ()
) -> Iterator[tuple[Path, Any]]:
    """Yield copies of the document with one wrong member each."""
    match document:
        case dict():
            for name, member in document.items():
                for place, wrong in _wrong_members(member, schema, (*path, name)):
                    yield place, {**document, name: wrong}
        case list():
            if document:
                yield (*path, "[]"), document[:-1]
            for number, member in enumerate(document):
                for place, wrong in _wrong_members(member, schema, (*path, number)):
                    yield place, [*document[:number], wrong, *document[number + 1 :]]
        case None:
            pass
        case _:
            others = [each for each in _named(schema, path) if each != document]
            yield path, others[0] if others else _other(document)


def _named(schema: Mapping[str, Any], path: Path) -> list[str]:
    """Return the values that the schema of a document lists for the member at `path`."""
    found = [dict(schema)]
    for part in (*path, None):
        found = [each for one in found for each in _variants(one, schema)]
        if part is None:
            return [value for one in found for value in one.get("enum", [])]
        found = [
            one.get("properties", {}).get(part) or one.get("additionalProperties") or {}
            if isinstance(part, str)
            else one.get("items") or {}
            for one in found
        ]
        found = [one for one in found if isinstance(one, dict)]
    return []


def _variants(schema: dict[str, Any], root: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema, or those that it refers to."""
    if reference := schema.get("$ref"):
        yield from _variants(root["$defs"][reference.rpartition("/")[2]], root)
    elif options := schema.get("anyOf") or schema.get("oneOf"):
        for option in options:
            yield from _variants(option, root)
    else:
        yield schema
