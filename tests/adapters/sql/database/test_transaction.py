"""Errors of statements, without the statement, its values and the row (OPS-4)."""

import traceback

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import LetterRow
from adapters.sql.database.transaction import StatementFailed, reading, writing
from domain.error import ErrorCode, Refused, Unavailable
from tests.builders.account import NOON

KEY = "jane@example.com." + "a" * 5_000


async def record(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        session.add(LetterRow(letter_id=KEY, taken_at=NOON))


def printed(error: BaseException) -> str:
    """Return the error with all the causes that a log or a history shows."""
    return "".join(traceback.format_exception(error))


async def test_a_broken_constraint_is_a_refusal_that_names_it(engine: AsyncEngine) -> None:
    """OPS-4: nothing was changed, and no row is repeated."""
    await record(engine)
    with pytest.raises(Refused) as refused:
        await record(engine)
    assert refused.value.code is ErrorCode.INVARIANT_BROKEN
    assert "letters" in refused.value.message
    assert len(refused.value.message) < 400
    assert "jane@example.com" not in printed(refused.value)
    assert "INSERT" not in printed(refused.value)


async def test_a_wrong_statement_is_a_short_failure(engine: AsyncEngine) -> None:
    """OPS-4: SQLite reports it like an unreachable file, so it is retried."""
    with pytest.raises((StatementFailed, Unavailable)) as failed:
        async with reading(engine) as session:
            await session.execute(text(f"SELECT missing FROM letters WHERE letter_id = '{KEY}'"))
    assert "missing" in str(failed.value)
    assert len(str(failed.value)) < 400
    assert "jane@example.com" not in printed(failed.value)


async def test_a_value_that_cannot_be_stored_is_a_short_failure(engine: AsyncEngine) -> None:
    """OPS-4: the value itself is not repeated at length."""
    with pytest.raises(StatementFailed) as failed:
        async with writing(engine) as session:
            session.add(LetterRow(letter_id=KEY, taken_at=NOON.replace(tzinfo=None)))
    assert "has no time zone" in str(failed.value)
    assert "jane@example.com" not in printed(failed.value)
