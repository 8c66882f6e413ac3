"""Databases that are filled once and reset for each test.

The engine stays: compiling its statements again would take longer than running them.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import create_engine
from tests.postgres import Postgres

Fill = Callable[[AsyncEngine], Awaitable[None]]


class Database(Protocol):
    """A database that can be reset to its first contents."""

    @property
    def engine(self) -> AsyncEngine: ...

    async def renewed(self) -> AsyncEngine:
        """Reset the contents; return the engine."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class SqliteDatabase:
    """A file, reset by a copy."""

    engine: AsyncEngine
    file: Path

    @classmethod
    async def filled(cls, file: Path, fill: Fill) -> "SqliteDatabase":
        database = cls(create_engine(f"sqlite+aiosqlite:///{file}"), file)
        await fill(database.engine)
        await database.close()
        file.rename(database._filled)
        return database

    async def renewed(self) -> AsyncEngine:
        await self.close()
        for ending in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)
        shutil.copy(self._filled, self.file)
        return self.engine

    async def close(self) -> None:
        await self.engine.dispose()

    @property
    def url(self) -> str:
        """Return the `SEATFLOW_DATABASE_URL` of the database."""
        return f"sqlite+aiosqlite:///{self.file}"

    @property
    def _filled(self) -> Path:
        return self.file.with_suffix(".filled")


@dataclass
class Databases:
    """SQLite files, each used by one test at a time."""

    folder: Path
    fill: Fill
    _made: list[SqliteDatabase] = field(default_factory=list)
    _idle: list[SqliteDatabase] = field(default_factory=list)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[SqliteDatabase]:
        """Reserve an unused file, reset."""
        if not self._idle:
            file = self.folder / f"seatflow-{len(self._made)}.db"
            self._made.append(await SqliteDatabase.filled(file, self.fill))
            self._idle.append(self._made[-1])
        database = self._idle.pop()
        await database.renewed()
        yield database
        self._idle.append(database)

    async def close(self) -> None:
        for database in self._made:
            await database.close()


@dataclass(frozen=True)
class PostgresDatabase:
    """A database, reset by one statement over an open connection."""

    engine: AsyncEngine
    server: Postgres
    name: str

    @classmethod
    async def filled(cls, server: Postgres, name: str, fill: Fill) -> "PostgresDatabase":
        template = create_engine(server.create(f"filled_{name}"))
        await fill(template)
        async with template.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver
            await driver.execute(_COPY_ROWS)
        await template.dispose()
        database = cls(create_engine(server.url(name)), server, name)
        database._make()
        return database

    async def renewed(self) -> AsyncEngine:
        async with self.engine.begin() as connection:
            renewed = await connection.scalar(text("SELECT filled.renew()"))
        if not renewed:
            await self.close()
            self.server.drop(self.name)
            self._make()
        return self.engine

    async def close(self) -> None:
        await self.engine.dispose()

    def _make(self) -> None:
        self.server.create(self.name, f"filled_{self.name}")


_COPY_ROWS = """
CREATE SCHEMA filled;
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('CREATE TABLE filled.%1$I AS TABLE public.%1$I', name);
    END LOOP;
END $$;
CREATE TABLE filled.sequences AS
    SELECT format('public.%I', sequencename) AS name, last_value
    FROM pg_sequences WHERE schemaname = 'public';
CREATE TABLE filled.schema_changes (command text);

CREATE FUNCTION filled.renew() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    IF EXISTS (SELECT FROM filled.schema_changes) THEN
        RETURN false;
    END IF;
    SET LOCAL lock_timeout = '10s';
    -- A trigger of the ledger refuses deletes.
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('DELETE FROM public.%I', name);
        EXECUTE format('INSERT INTO public.%1$I SELECT * FROM filled.%1$I', name);
    END LOOP;
    PERFORM setval(sequences.name, coalesce(last_value, 1), last_value IS NOT NULL)
        FROM filled.sequences;
    RETURN true;
END $$;

CREATE FUNCTION filled.note_change() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO filled.schema_changes VALUES (tg_tag);
END $$;
CREATE EVENT TRIGGER note_change ON ddl_command_end EXECUTE FUNCTION filled.note_change();
"""
"""Copies all rows. `renew` restores them, unless tables themselves were changed."""
