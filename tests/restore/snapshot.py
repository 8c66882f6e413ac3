"""Snapshots of a world's database, made while it is used, and their restore."""

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from tests.restore.procedure import printed, run_block
from tests.world import World

BACK_UP = {"sqlite": "connect('seatflow.copy')", "postgresql": "pg_dump"}
RESTORE = {"sqlite": "cp seatflow.copy", "postgresql": "pg_restore"}


@dataclass(frozen=True)
class Snapshot:
    """A copy of a database, made as the page prints it."""

    folder: Path
    """It has the copy."""

    @classmethod
    async def of(cls, world: World, folder: Path) -> "Snapshot":
        """Copy the database as it is now."""
        snapshot = cls(folder)
        await snapshot._run(world, BACK_UP)
        return snapshot

    async def restore(self, world: World) -> None:
        """Replace the database by the copy, and mark it as `setup --restored` does."""
        await world.store.engine.dispose()
        await self._run(world, RESTORE)
        await world.store.restore.mark()

    async def _run(self, world: World, blocks: dict[str, str]) -> None:
        url = world.store.engine.url
        block = _with_names(printed(blocks[url.get_backend_name()]), url)
        ended = await asyncio.to_thread(run_block, block, self.folder, _environment(url))
        assert ended.status == 0, ended.err


def _with_names(block: str, url: URL) -> str:
    """Put the names of the test's database into the commands."""
    name = url.database or ""
    if url.get_backend_name() == "sqlite":
        return block.replace(".seatflow/seatflow.db", name)
    return re.sub(r"(?<=[ =])seatflow(?=\s)", name, block)


def _environment(url: URL) -> dict[str, str]:
    if url.get_backend_name() == "sqlite":
        return {**os.environ}
    return {**os.environ, "PGHOST": str(url.query["host"]), "PGUSER": url.username or ""}
