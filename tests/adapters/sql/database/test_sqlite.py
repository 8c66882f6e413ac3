"""Only steps that may block run in the thread; the event loop continues meanwhile.

These tests fail when aiosqlite no longer runs each step through the method that is overridden.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import create_engine
from adapters.sql.database.schema import PersonRow
from adapters.sql.database.transaction import insert_missing, reading, writing
from adapters.sql.migrations import upgrade

SHORT_WAIT = 0.05
"""In seconds; longer than any step of these tests takes."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/seatflow.db")
    await upgrade(engine)
    yield engine
    await engine.dispose()


async def write(engine: AsyncEngine, email: str) -> None:
    async with writing(engine) as session:
        await insert_missing(session, PersonRow, [{"email": email}])


async def stored_emails(engine: AsyncEngine) -> set[str]:
    async with reading(engine) as session:
        return set(await session.scalars(select(PersonRow.email)))


async def thread_statements(engine: AsyncEngine) -> list[str]:
    """Record the statements that later connections run in their thread."""
    in_thread, loop = list[str](), threading.get_ident()

    def record(statement: str) -> None:
        if threading.get_ident() != loop:
            in_thread.append(statement)

    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.set_trace_callback(record)
    return in_thread


async def test_reading_needs_no_thread(engine: AsyncEngine) -> None:
    """ADR 14: SELECT statements run on the event loop."""
    await write(engine, "jane@example.com")
    in_thread = await thread_statements(engine)
    assert await stored_emails(engine) == {"jane@example.com"}
    assert in_thread == []


async def test_a_write_uses_the_thread_to_begin_and_to_commit(engine: AsyncEngine) -> None:
    """ADR 14: only these two steps may block."""
    in_thread = await thread_statements(engine)
    await write(engine, "jane@example.com")
    assert in_thread == ["BEGIN IMMEDIATE", "COMMIT"]


async def test_a_commit_without_changes_needs_no_thread(engine: AsyncEngine) -> None:
    """ADR 14: there is nothing to write to the disk."""
    await write(engine, "jane@example.com")
    in_thread = await thread_statements(engine)
    await write(engine, "jane@example.com")
    assert in_thread == ["BEGIN IMMEDIATE"]


async def test_readers_continue_while_a_writer_waits(engine: AsyncEngine) -> None:
    """ADR 14: the second writer waits in its thread, not on the event loop."""
    async with writing(engine) as session:
        await insert_missing(session, PersonRow, [{"email": "first@example.com"}])
        waiting = asyncio.create_task(write(engine, "second@example.com"))
        done, _ = await asyncio.wait([waiting], timeout=SHORT_WAIT)
        assert not done
        assert await stored_emails(engine) == set()
    await waiting
    assert await stored_emails(engine) == {"first@example.com", "second@example.com"}


async def test_a_cancelled_writer_does_not_block_the_event_loop(engine: AsyncEngine) -> None:
    """ADR 14: its step continues in the thread, and the next writer succeeds."""
    async with writing(engine) as session:
        await insert_missing(session, PersonRow, [{"email": "first@example.com"}])
        waiting = asyncio.create_task(write(engine, "second@example.com"))
        await asyncio.wait([waiting], timeout=SHORT_WAIT)
        waiting.cancel()
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(SHORT_WAIT)
        # The step goes on in the thread; the event loop does not wait for it.
        assert asyncio.get_running_loop().time() - start < 20 * SHORT_WAIT
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await write(engine, "third@example.com")
    assert await stored_emails(engine) == {"first@example.com", "third@example.com"}


async def test_a_failed_statement_rolls_back_the_transaction(engine: AsyncEngine) -> None:
    """ADR 14: the next transaction starts clean."""
    with pytest.raises(Exception, match="no such table"):
        async with writing(engine) as session:
            await insert_missing(session, PersonRow, [{"email": "jane@example.com"}])
            await session.execute(text("INSERT INTO nowhere VALUES (1)"))
    assert await stored_emails(engine) == set()
    await write(engine, "jane@example.com")
