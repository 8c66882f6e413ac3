"""Databases of the store tests: each test has its own, on SQLite and again on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.migrations import upgrade
from adapters.sql.store import SqlStore
from tests.builders.invitation import StoreScenario
from tests.database import Database, Fill, PostgresDatabase, SqliteDatabase
from tests.postgres import Postgres, running
from tests.stripe_server import localstripe

Databases = Mapping[str, Database]
"""One for each name of `FILLS`."""


async def _import_accounts(engine: AsyncEngine) -> None:
    await upgrade(engine)
    await StoreScenario(engine, SqlStore(engine)).import_accounts()


FILLS: Mapping[str, Fill] = {"migrated": upgrade, "accounts": _import_accounts}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture(scope="session")
async def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Databases]:
    folder = tmp_path_factory.mktemp("sqlite")
    databases = {
        name: await SqliteDatabase.filled(folder / f"{name}.db", fill)
        for name, fill in FILLS.items()
    }
    yield databases
    for database in databases.values():
        await database.close()


@pytest.fixture(scope="session")
async def postgres_databases(postgres: Postgres) -> AsyncIterator[Databases]:
    databases = {
        name: await PostgresDatabase.filled(postgres, name, fill) for name, fill in FILLS.items()
    }
    yield databases
    for database in databases.values():
        await database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Databases:
    found: Databases = request.getfixturevalue(f"{request.param}_databases")
    return found


@pytest.fixture(scope="session")
async def local_stripe() -> AsyncIterator[str]:
    async with localstripe() as url:
        yield url


@pytest.fixture
async def engine(databases: Databases) -> AsyncEngine:
    return await databases["migrated"].renewed()


@pytest.fixture
def store(engine: AsyncEngine) -> SqlStore:
    return SqlStore(engine)


@pytest.fixture
async def scenario(databases: Databases) -> StoreScenario:
    engine = await databases["accounts"].renewed()
    return StoreScenario(engine, SqlStore(engine))
