"""Engines mean what they say, and say when nobody answers."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import create_engine
from adapters.sql.database.transaction import reading, writing
from adapters.sql.store import SqlStore
from domain.catalog import Catalog
from domain.error import ErrorCode, Refused, Unavailable
from tests.builders.invitation import NOON, Town, directory
from tests.postgres import Postgres


@pytest.mark.parametrize("url", ["mysql+aiomysql://host/db", "sqlite:///x.db", "no url", ""])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(Refused) as refused:
        create_engine(url)
    assert refused.value.code is ErrorCode.INVALID_INPUT


async def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/a/b/store.db")
    async with engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA foreign_keys")) == 1
    await engine.dispose()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_on_sqlite_readers_do_not_wait_for_a_writer(engine: AsyncEngine) -> None:
    """A writer has the lock from its first statement, be it a look."""
    async with writing(engine) as writer:
        await writer.execute(text("SELECT 1"))
        async with reading(engine) as reader:
            assert await reader.scalar(text("SELECT count(*) FROM accounts")) == 0


async def test_a_reader_sees_one_moment(engine: AsyncEngine) -> None:
    store = SqlStore(engine)
    async with reading(engine) as reader:
        assert await reader.scalar(text("SELECT count(*) FROM letters")) == 0
        await store.letters.record_sent("l1", NOON)
        assert await reader.scalar(text("SELECT count(*) FROM letters")) == 0


async def test_a_database_that_nobody_serves_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        engine = create_engine(f"postgresql+asyncpg://u:secret@127.0.0.1:{port}/db")
        with pytest.raises(Unavailable) as unavailable:
            await SqlStore(engine).audit()
    assert "secret" not in unavailable.value.message
    await engine.dispose()


async def test_a_database_that_does_not_exist_is_unavailable(postgres: Postgres) -> None:
    engine = create_engine(postgres.url("nowhere"))
    with pytest.raises(Unavailable):
        await SqlStore(engine).directory.import_(directory())
    await engine.dispose()


async def test_a_sqlite_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}")
    with pytest.raises(Unavailable):
        await SqlStore(engine).audit()
    await engine.dispose()


async def test_a_letter_is_remembered_once(store: SqlStore) -> None:
    assert not await store.letters.is_sent("l1")
    for _ in range(2):
        await store.letters.record_sent("l1", NOON)
    assert await store.letters.is_sent("l1")
    assert not await store.letters.is_sent("l2")


async def test_the_key_behind_the_ids_is_kept_for_ever(store: SqlStore) -> None:
    await store.check_id_key("first")
    for _ in range(2):
        await store.keep_id_key("first")
    await store.check_id_key("first")
    for ask in (store.check_id_key, store.keep_id_key):
        with pytest.raises(Refused) as refused:
            await ask("second")
        assert refused.value.code is ErrorCode.INVALID_INPUT


async def test_the_catalog_is_replaced_whole(town: Town) -> None:
    for catalog in ({"workplace": "1.00", "large-meeting": {"500": "2.00"}}, {"workplace": 3}):
        await town.store.directory.import_(directory(catalog=catalog))
    kept = (await town.store.directory.export(None)).catalog
    assert kept == Catalog.model_validate({"workplace": "3"})
