"""Each test has a database of its own, once on SQLite and once on PostgreSQL."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.engine import create_engine
from adapters.sql.migrations import upgrade
from adapters.sql.store import SqlStore
from tests.adapters.sql.town import Town
from tests.postgres import Postgres, running

CopyOf = Callable[[str], str]
"""Makes a copy of the template of that name, `migrated` or `town`; its URL."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture(scope="session")
async def sqlite_copies(tmp_path_factory: pytest.TempPathFactory) -> CopyOf:
    folder = tmp_path_factory.mktemp("sqlite")
    await _fill(*(f"sqlite+aiosqlite:///{folder}/{name}.db" for name in ("migrated", "town")))
    numbers = count()

    def copy_of(template: str) -> str:
        database: Path = folder / f"{next(numbers)}.db"
        shutil.copy(folder / f"{template}.db", database)
        return f"sqlite+aiosqlite:///{database}"

    return copy_of


@pytest.fixture(scope="session")
async def postgres_copies(postgres: Postgres) -> CopyOf:
    await _fill(postgres.create("migrated"), postgres.create("town"))
    numbers = count()
    return lambda template: postgres.create(f"test_{next(numbers)}", template)


@pytest.fixture(params=["sqlite", "postgres"])
def copies(request: pytest.FixtureRequest) -> CopyOf:
    copy_of: CopyOf = request.getfixturevalue(f"{request.param}_copies")
    return copy_of


@pytest.fixture
async def engine(copies: CopyOf) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(copies("migrated"))
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> SqlStore:
    return SqlStore(engine)


@pytest.fixture
async def town(copies: CopyOf) -> AsyncIterator[Town]:
    engine = create_engine(copies("town"))
    yield Town(engine, SqlStore(engine))
    await engine.dispose()


async def _fill(migrated: str, town: str) -> None:
    for url in (migrated, town):
        engine = create_engine(url)
        await upgrade(engine)
        if url == town:
            await Town(engine, SqlStore(engine)).build()
        await engine.dispose()
