"""Only what may wait is left to a thread, and the event loop goes on meanwhile."""

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

MOMENT = 0.05
"""Longer than any step of these tests takes, in seconds."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/seatflow.db")
    await upgrade(engine)
    yield engine
    await engine.dispose()


async def write(engine: AsyncEngine, email: str) -> None:
    async with writing(engine) as session:
        await insert_missing(session, PersonRow, [{"email": email}])


async def people(engine: AsyncEngine) -> set[str]:
    async with reading(engine) as session:
        return set(await session.scalars(select(PersonRow.email)))


async def watched(engine: AsyncEngine) -> list[str]:
    """What the connection that is used next does in its thread, from now on."""
    elsewhere, loop = list[str](), threading.get_ident()

    def note(statement: str) -> None:
        if threading.get_ident() != loop:
            elsewhere.append(statement)

    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.set_trace_callback(note)
    return elsewhere


async def test_reading_needs_no_thread(engine: AsyncEngine) -> None:
    await write(engine, "jane@example.com")
    elsewhere = await watched(engine)
    assert await people(engine) == {"jane@example.com"}
    assert elsewhere == []


async def test_only_beginning_and_committing_are_left_to_a_thread(engine: AsyncEngine) -> None:
    elsewhere = await watched(engine)
    await write(engine, "jane@example.com")
    assert elsewhere == ["BEGIN IMMEDIATE", "COMMIT"]


async def test_what_has_changed_nothing_is_committed_at_once(engine: AsyncEngine) -> None:
    await write(engine, "jane@example.com")
    elsewhere = await watched(engine)
    await write(engine, "jane@example.com")
    assert elsewhere == ["BEGIN IMMEDIATE"]


async def test_others_go_on_while_one_waits_for_who_writes(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await insert_missing(session, PersonRow, [{"email": "first@example.com"}])
        waiting = asyncio.create_task(write(engine, "second@example.com"))
        done, _ = await asyncio.wait([waiting], timeout=MOMENT)
        assert not done
        assert await people(engine) == set()
    await waiting
    assert await people(engine) == {"first@example.com", "second@example.com"}


async def test_who_is_cancelled_while_waiting_holds_nobody_up(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await insert_missing(session, PersonRow, [{"email": "first@example.com"}])
        waiting = asyncio.create_task(write(engine, "second@example.com"))
        await asyncio.wait([waiting], timeout=MOMENT)
        waiting.cancel()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(MOMENT)
        # What it has begun in its thread goes on; nobody waits for that.
        assert asyncio.get_running_loop().time() - began < 20 * MOMENT
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await write(engine, "third@example.com")
    assert await people(engine) == {"first@example.com", "third@example.com"}


async def test_a_failed_statement_leaves_nothing_behind(engine: AsyncEngine) -> None:
    with pytest.raises(Exception, match="no such table"):
        async with writing(engine) as session:
            await insert_missing(session, PersonRow, [{"email": "jane@example.com"}])
            await session.execute(text("INSERT INTO nowhere VALUES (1)"))
    assert await people(engine) == set()
    await write(engine, "jane@example.com")
