"""Recovery of a PostgreSQL server to a moment, with the commands that the page prints (OPS-6)."""

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.clients.test_reconciliation import check, fix, kinds
from tests.eventually import eventually
from tests.outages.test_outages import empty_world
from tests.postgres import Postgres, running
from tests.restore.procedure import printed, run_block
from tests.world import ADMIN, JANE, OWNER

ARCHIVE = printed("archive_mode = on")
BASE_BACKUP = printed("pg_basebackup")
RECOVER = printed("recovery.signal")
MOMENT = "2026-11-28 09:00:00+00"
BOB = "bob@example.com"
EVE = "eve@example.com"


@dataclass(frozen=True)
class Server:
    """A server that archives its write-ahead log, and the shell of its user."""

    postgres: Postgres
    backup: Path

    @property
    def sockets(self) -> str:
        return str(self.postgres.server.get_postmaster_info().socket_dir)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "PGDATA": str(self.postgres.server.pgdata),
            "PGHOST": self.sockets,
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
        }

    async def run(self, block: str) -> str:
        """Run the commands with the folder of this test in the place of the page's."""
        block = block.replace("/backup", str(self.backup))
        user = self.postgres.server.system_user
        ended = await asyncio.to_thread(run_block, block, self.backup, self.environment, user)
        assert ended.status == 0, ended.err + ended.out
        return ended.out.strip()

    async def is_recovered(self) -> bool:
        ended = await asyncio.to_thread(
            run_block, "psql -Atc 'SELECT pg_is_in_recovery()'", self.backup, self.environment
        )
        return ended.out.strip() == "f"


@asynccontextmanager
async def archiving() -> AsyncIterator[Server]:
    """Run a server that is configured as the page says."""
    # A folder that the server's own user can enter.
    with running() as postgres, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.joinpath("wal").mkdir()
        if user := postgres.server.system_user:
            for each in (folder, folder / "wal"):
                os.chown(each, pwd.getpwnam(user).pw_uid, -1)
        server = Server(postgres, folder)
        address = f"unix_socket_directories = '{server.sockets}'\nlisten_addresses = ''\n"
        await server.run(f'cat >> "$PGDATA/postgresql.auto.conf" <<"END"\n{address}{ARCHIVE}END')
        await server.run('pg_ctl restart --mode=fast --log="$PGDATA/log"')
        try:
            yield server
        finally:
            await server.run("pg_ctl stop --mode=immediate || true")
            shutil.rmtree(f"{postgres.server.pgdata}.lost", ignore_errors=True)


@pytest.mark.full
async def test_a_store_is_recovered_to_a_moment(temporal: WorkflowEnvironment) -> None:
    """OPS-6: the changes made after the moment are read from Temporal."""
    async with (
        archiving() as server,
        empty_world(temporal, server.postgres.create("seatflow")) as world,
    ):
        await world.imported(world.account, users=[(OWNER, "owner"), (ADMIN, "admin")], licenses=2)
        async with world.working():
            await world.pending(JANE)
            await server.run(BASE_BACKUP)
            # Its sockets are in PGDATA, and their lock would be in the copy.
            await server.run("rm --force /backup/base/.s.PGSQL.*")
            await world.pending(BOB)
            moment = datetime.now(UTC)
            await world.client.accept(world.account, JANE)
            await world.until(JANE, "completed")
            await world.pending(EVE)
        await world.store.engine.dispose()
        await server.run(RECOVER.replace(MOMENT, moment.isoformat(" ")))
        await eventually(server.is_recovered)
        await world.store.restore.mark()
        assert (await world.stored(JANE)).state == "pending"
        assert (await world.stored(BOB)).state == "pending"
        assert kinds(await check(world)) == ["acceptance_missing", "record_missing"]
        assert (await fix(world)).divergences == ()
        assert await world.audit() == ()
        async with world.working():
            await world.client.accept(world.account, EVE)
            await world.until(EVE, "completed")
        assert (await world.stored(JANE)).state == "completed"
        assert (await check(world)).divergences == ()
