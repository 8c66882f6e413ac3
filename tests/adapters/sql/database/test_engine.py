"""Database engines: supported URLs, isolation, and errors of an unreachable database."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import LONG, SHORT, create_engine
from adapters.sql.database.transaction import reading, writing
from adapters.sql.store import SqlStore
from domain.error import ErrorCode, Refused, Unavailable
from tests.builders.account import NOON, directory
from tests.builders.invitation import StoreScenario
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


async def test_a_hung_transaction_delays_others_for_a_bounded_time(scenario: StoreScenario) -> None:
    """OPS-4, error codes: `backend_unavailable`, which is retried; the work continues after it."""
    impatient = _with_limits(scenario.engine, busy_seconds=0.2, lock=timedelta(seconds=0.2))
    other = SqlStore(impatient)
    async with writing(scenario.engine) as hung:
        await hung.execute(text("UPDATE accounts SET name = 'Hung' WHERE id = 'crowd'"))
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await other.remedies.remove_room("crowd", "blue", NOON)
        # Another account is not locked on PostgreSQL, and can be read on both.
        assert (await other.directory.export("acme")).accounts
    assert await other.remedies.remove_room("crowd", "blue", NOON)
    await impatient.dispose()


@pytest.mark.parametrize("databases", ["postgres"], indirect=True)
async def test_a_statement_that_takes_too_long_is_ended(engine: AsyncEngine) -> None:
    """OPS-4: it fails, and the connection works after it."""
    limited = _with_limits(engine, statement=timedelta(seconds=0.2))
    with pytest.raises(Unavailable, match="statement timeout"):
        async with reading(limited) as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    assert (await SqlStore(limited).audit()).violations == ()
    await limited.dispose()


@pytest.mark.parametrize("databases", ["postgres"], indirect=True)
async def test_a_transaction_of_a_stopped_process_is_ended(scenario: StoreScenario) -> None:
    """OPS-4: its locks are released, so that others continue; what it had written is gone."""
    limited = _with_limits(scenario.engine, idle=timedelta(seconds=0.2))
    with pytest.raises(Unavailable):
        async with writing(limited) as hung:
            await hung.execute(text("UPDATE accounts SET name = 'Hung' WHERE id = 'crowd'"))
            assert await scenario.store.remedies.remove_room("crowd", "blue", NOON)
            await hung.execute(text("SELECT 1"))
    assert (await scenario.account("crowd")).name == "Crowd"
    assert (await SqlStore(limited).audit()).violations == ()
    await limited.dispose()


@pytest.mark.parametrize("databases", ["postgres"], indirect=True)
async def test_long_operations_have_limits_of_their_own(engine: AsyncEngine) -> None:
    """OPS-4: for one transaction; the connection keeps those of requests."""
    shown = []
    for limits in (SHORT, LONG, SHORT):
        for opened in (reading(engine, limits), writing(engine, limits)):
            async with opened as session:
                shown.append(await session.scalar(text("SHOW statement_timeout")))
    assert shown == ["10s", "10s", "10min", "10min", "10s", "10s"]


async def test_a_connection_to_a_server_that_has_gone_ends(postgres: Postgres) -> None:
    """OPS-4: both ends probe a silent connection, and limit the wait for an acknowledgement."""
    postgres.create("kept_alive")
    async with _tcp_proxy(postgres) as port:
        engine = create_engine(f"postgresql+asyncpg://postgres@127.0.0.1:{port}/kept_alive")
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver
            opened = driver._transport.get_extra_info("socket")
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
            source = text("SELECT source FROM pg_settings WHERE name = 'tcp_keepalives_idle'")
            assert await connection.scalar(source) == "client"
        await engine.dispose()


def _with_limits(engine: AsyncEngine, busy_seconds: float = 5, **limits: timedelta) -> AsyncEngine:
    """Return another engine for the same database, with other limits."""
    url = engine.url.render_as_string(hide_password=False)
    return create_engine(url, busy_seconds, replace(SHORT, **limits))


@asynccontextmanager
async def _tcp_proxy(postgres: Postgres) -> AsyncIterator[int]:
    """Forward a TCP port to the server, which listens on a Unix socket."""
    [file] = Path(postgres.folder).glob(".s.PGSQL.*[0-9]")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(file)
        await asyncio.gather(forward(reader, forth), forward(back, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
