"""Database engines: supported URLs, isolation, and errors of an unreachable database."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import create_engine
from adapters.sql.database.transaction import reading, writing
from adapters.sql.store import SqlStore
from domain.error import ErrorCode, Refused, Unavailable
from tests.builders.account import NOON, directory
from tests.postgres import Postgres


@pytest.mark.parametrize("url", ["mysql+aiomysql://host/db", "sqlite:///x.db", "no url", ""])
def test_an_unsupported_database_url_is_refused(url: str) -> None:
    """SEATFLOW_DATABASE_URL: only aiosqlite and asyncpg URLs are accepted."""
    with pytest.raises(Refused) as refused:
        create_engine(url)
    assert refused.value.code is ErrorCode.INVALID_INPUT


async def test_the_folder_of_a_sqlite_file_is_created(tmp_path: Path) -> None:
    """SEATFLOW_DATABASE_URL: missing folders are created; WAL and foreign keys are on."""
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/a/b/store.db")
    async with engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA foreign_keys")) == 1
    await engine.dispose()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_on_sqlite_readers_do_not_wait_for_a_writer(engine: AsyncEngine) -> None:
    """ADR 14: a write transaction has the lock from its first statement, and readers continue."""
    async with writing(engine) as writer:
        await writer.execute(text("SELECT 1"))
        async with reading(engine) as reader:
            assert await reader.scalar(text("SELECT count(*) FROM accounts")) == 0


async def test_a_reader_sees_one_snapshot(engine: AsyncEngine) -> None:
    """ADR 2: a row that is committed during the transaction stays invisible to it."""
    store = SqlStore(engine)
    async with reading(engine) as reader:
        assert await reader.scalar(text("SELECT count(*) FROM letters")) == 0
        await store.letters.record_sent("l1", NOON)
        assert await reader.scalar(text("SELECT count(*) FROM letters")) == 0


async def test_a_database_server_that_does_not_listen_is_unavailable() -> None:
    """Contract, error codes: `unavailable`, without the password of the URL."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        engine = create_engine(f"postgresql+asyncpg://u:secret@127.0.0.1:{port}/db")
        with pytest.raises(Unavailable) as unavailable:
            await SqlStore(engine).audit()
    assert "secret" not in unavailable.value.message
    await engine.dispose()


async def test_a_database_that_does_not_exist_is_unavailable(postgres: Postgres) -> None:
    """Contract, error codes: `unavailable`."""
    engine = create_engine(postgres.url("nowhere"))
    with pytest.raises(Unavailable):
        await SqlStore(engine).directory.import_(directory())
    await engine.dispose()


async def test_a_sqlite_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """Contract, error codes: `unavailable`; the path is a folder."""
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}")
    with pytest.raises(Unavailable):
        await SqlStore(engine).audit()
    await engine.dispose()
