"""The values of the store that cannot be read (AUD)."""

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import Dialect, Text, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.column import DayOrMoment, Document, ExactAmount
from adapters.sql.database.schema import Base
from domain.audit import Violation

_PAGE: Final = 500
_Parsed = Document[object] | ExactAmount | DayOrMoment
"""The types of the columns whose text may have another form."""


async def unreadable_values(session: AsyncSession) -> list[Violation]:
    """Return a violation for every document, amount and day that cannot be read."""
    return [
        Violation(
            rule="AUD",
            subject=subject,
            message=f"the value in the column {column} cannot be read; correct it, and run the "
            "audit again, which has left out the checks that need it",
        )
        async for column, subject in _unreadable(session)
    ]


async def _unreadable(session: AsyncSession) -> AsyncIterator[tuple[str, str]]:
    dialect = session.get_bind().dialect
    for table in Base.metadata.sorted_tables:
        parsed = [
            (column, column.type)
            for column in table.columns
            if isinstance(column.type, Document | ExactAmount | DayOrMoment)
        ]
        if not parsed:
            continue
        key = [*table.primary_key]
        values = (cast(column, Text) for column, _ in parsed)
        query = select(*key, *values).order_by(*key).execution_options(yield_per=_PAGE)
        async for row in await session.stream(query):
            for (column, kind), value in zip(parsed, row[len(key) :], strict=True):
                if value is not None and not _is_readable(kind, value, dialect):
                    yield str(column), "/".join(map(str, row[: len(key)]))


def _is_readable(kind: _Parsed, value: str, dialect: Dialect) -> bool:
    try:
        if isinstance(kind, Document):
            kind.kind.validate_json(value)
        else:
            kind.process_result_value(value, dialect)
    except (ArithmeticError, ValueError):
        return False
    return True
