"""Snapshots of the database of a world, and their restore."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.world import World


@dataclass(frozen=True)
class Snapshot:
    """A copy of a SQLite database, made while it is used."""

    file: Path

    @classmethod
    def of(cls, world: World, name: str = "snapshot") -> "Snapshot":
        """Copy the database as it is now."""
        live = database_of(world)
        file = live.with_name(f"{live.name}.{name}")
        file.unlink(missing_ok=True)
        with closing(sqlite3.connect(live, timeout=30)) as connection:
            connection.execute("VACUUM INTO ?", (str(file),))
        return cls(file)

    async def restore(self, world: World) -> None:
        """Replace the database by the copy; no worker runs."""
        await world.store.engine.dispose()
        live = database_of(world)
        for ending in ("-wal", "-shm"):
            live.with_name(live.name + ending).unlink(missing_ok=True)
        live.write_bytes(self.file.read_bytes())


def database_of(world: World) -> Path:
    """Return the file of the world's SQLite database."""
    return Path(world.store.engine.url.database or "")
