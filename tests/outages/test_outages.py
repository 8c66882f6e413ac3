"""Many lifecycles at once, while mail server, payment provider and workers fail (OPS-1 to OPS-5).

`OUTAGE_SEED=N` repeats the random choices of a run; the seed is printed.
"""

import asyncio
import os
import random
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from adapters.sql.database.engine import create_engine
from adapters.sql.database.transaction import writing
from adapters.sql.store import SqlStore
from runtime.clients import Clients
from runtime.settings import Settings
from runtime.store import set_up_store
from runtime.visibility import on_queue
from tests.eventually import eventually
from tests.outages.check import (
    all_given_up,
    check_attention,
    check_letters,
    check_money_and_pools,
    check_records,
    check_rows,
    check_workflows,
)
from tests.outages.lifecycle import (
    BOUNCED,
    PATIENCE,
    Play,
    import_accounts,
    invite_all,
    order_licenses,
)
from tests.postgres import running
from tests.smtp_server import ScriptedSmtpServer
from tests.stripe_server import API_KEY, StripeServer, localstripe
from tests.test_worker import a_worker, killed
from tests.world import SECRET_KEY, World

SEED = "OUTAGE_SEED"
AUDIT_PAUSE = 2.0
"""The seconds between two audits."""
COUNT_ROWS = {
    "sqlite": (
        "CREATE TABLE counted (number INTEGER PRIMARY KEY, kind TEXT, key TEXT,"
        " attempts INTEGER DEFAULT 0, ended INTEGER DEFAULT 0)",
        "CREATE TRIGGER count_inserts AFTER INSERT ON announcements BEGIN"
        " INSERT INTO counted (number, kind, key) VALUES (NEW.number, NEW.kind, NEW.key); END",
        "CREATE TRIGGER count_attempts AFTER UPDATE ON announcements"
        " WHEN NEW.attempts > OLD.attempts BEGIN"
        " UPDATE counted SET attempts = attempts + 1 WHERE number = NEW.number; END",
        "CREATE TRIGGER count_ends AFTER DELETE ON announcements BEGIN"
        " UPDATE counted SET ended = ended + 1 WHERE number = OLD.number; END",
    ),
    "postgresql": (
        "CREATE TABLE counted (number BIGINT PRIMARY KEY, kind TEXT, key TEXT,"
        " attempts INTEGER DEFAULT 0, ended INTEGER DEFAULT 0)",
        "CREATE FUNCTION count_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF TG_OP = 'INSERT' THEN"
        " INSERT INTO counted (number, kind, key) VALUES (NEW.number, NEW.kind, NEW.key);"
        " ELSIF TG_OP = 'DELETE' THEN"
        " UPDATE counted SET ended = ended + 1 WHERE number = OLD.number;"
        " ELSIF NEW.attempts > OLD.attempts THEN"
        " UPDATE counted SET attempts = attempts + 1 WHERE number = NEW.number;"
        " END IF; RETURN NULL; END $$",
        "CREATE TRIGGER count_rows AFTER INSERT OR UPDATE OR DELETE ON announcements"
        " FOR EACH ROW EXECUTE FUNCTION count_row()",
    ),
}
"""A table of all rows that the outbox ever had, with their attempts and ends."""


@dataclass
class Workers:
    """Worker processes on one queue."""

    world: World
    stripe_url: str
    stack: AsyncExitStack
    running: list[Process] = field(default_factory=list)

    async def start(self, count: int) -> None:
        """Start more workers."""
        for _ in range(count):
            worker = a_worker(
                self.world,
                SEATFLOW_BILLING="stripe",
                STRIPE_API_KEY=API_KEY,
                SEATFLOW_STRIPE_API_BASE=self.stripe_url,
            )
            self.running.append(await self.stack.enter_async_context(worker))


@dataclass
class Outages:
    """The faults of a run, each at a random moment of its progress."""

    play: Play
    workers: Workers
    cuts: list[datetime] = field(default_factory=list)
    """The times at which connections to the mail server were cut."""

    async def at_progress(self, first: float, last: float) -> None:
        """Wait until a random share of the cases between the two has ended."""
        share = self.play.random.uniform(first, last)
        await self.play.until(lambda: self.play.progress >= share)

    def fill_mailboxes(self) -> None:
        """Refuse letters to a random tenth of the recipients with 452 from now on."""
        smtp, people = self.play.world.smtp, sorted(self.play.recipients)
        smtp.full.update(self.play.random.sample(people, len(people) // 10))
        smtp.unknown.update(case.email for case in self.play.cases if case.kind.name == BOUNCED)

    async def empty_mailboxes(self) -> None:
        """Accept letters to all recipients later."""
        await self.at_progress(0.5, 0.7)
        self.play.world.smtp.full.clear()
        self.play.note("the mailboxes are empty again")

    async def stop_mail_server(self) -> None:
        """Make the mail server unreachable for a while."""
        await self.at_progress(0.05, 0.4)
        smtp = self.play.world.smtp
        port = smtp.port
        self.cuts.append(datetime.now(UTC))
        await smtp.__aexit__(None, None, None)
        self.play.note("the mail server is down")
        await asyncio.sleep(3 if self.play.count < 100 else 15)
        smtp.wanted_port = port
        await smtp.__aenter__()
        self.play.note("the mail server is up")

    async def kill_workers(self) -> None:
        """Kill two workers, one after the other, and start others."""
        for first in (0.05, 0.4):
            await self.at_progress(first, first + 0.3)
            worker = self.workers.running.pop(0)
            await killed(worker)
            self.play.note("a worker was killed")
            self.cuts.append(datetime.now(UTC))
            await self.workers.start(1)


@asynccontextmanager
async def database(kind: str, folder: Path) -> AsyncIterator[str]:
    """Yield the URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite+aiosqlite:///{folder}/seatflow.db"
    else:
        with running() as server:
            yield server.create("outages")


@asynccontextmanager
async def empty_world(
    temporal: WorkflowEnvironment, url: str, **settings_of_its_own: object
) -> AsyncIterator[World]:
    """Build a world without accounts and without a worker."""
    async with ScriptedSmtpServer() as smtp:
        settings = Settings(
            database_url=SecretStr(url),
            smtp_url=SecretStr(smtp.url),
            secret_key=SECRET_KEY,
            task_queue=f"outages-{time.monotonic_ns()}",
            wait_seconds=90,
        ).model_copy(update=settings_of_its_own)
        await set_up_store(settings)
        engine = create_engine(url)
        await _count_rows(engine)
        store = SqlStore(engine)
        clients = Clients.connected(settings, store, temporal.client)
        yield World(temporal, store, smtp, clients, settings)
        await engine.dispose()


async def _count_rows(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        for statement in COUNT_ROWS[engine.dialect.name]:
            await session.execute(text(statement))


@pytest.mark.parametrize(
    ("count", "kind"),
    [
        (30, "sqlite"),
        pytest.param(1000, "sqlite", marks=pytest.mark.full),
        pytest.param(1000, "postgresql", marks=pytest.mark.full),
    ],
)
async def test_every_lifecycle_ends_as_it_must_in_spite_of_outages(
    count: int, kind: str, temporal: WorkflowEnvironment, tmp_path: Path
) -> None:
    """OPS-1 to OPS-5: mail server, payment provider and workers fail for a while."""
    seed = int(os.environ.get(SEED) or random.randrange(1_000_000))
    print(f"{SEED}={seed}")
    async with (
        database(kind, tmp_path) as url,
        empty_world(temporal, url) as world,
        localstripe() as behind,
        StripeServer(behind, initial_status="pending") as provider,
        AsyncExitStack() as stack,
    ):
        play = Play(world, provider, random.Random(seed), count)
        await import_accounts(play)
        outages = Outages(play, Workers(world, provider.url, stack))
        await outages.workers.start(2)
        await play_all(play, outages)
        await check_records(play)
        await check_money_and_pools(play)
        await check_workflows(play)
        await check_letters(play, outages.cuts)
        await check_rows(play)
        await check_attention(play)
        play.note("checked")


async def audit_again_and_again(play: Play) -> None:
    """Check the store until cancelled: work that is under way is no violation (AUD)."""
    while True:
        assert (await play.world.store.audit()).violations == ()
        await asyncio.sleep(AUDIT_PAUSE)


async def play_all(play: Play, outages: Outages) -> None:
    """Play all cases during the outages, and wait until everything that follows is done."""
    watching = asyncio.create_task(play.watch())
    auditing = asyncio.create_task(audit_again_and_again(play))
    outages.fill_mailboxes()
    async with asyncio.TaskGroup() as acting:
        acting.create_task(invite_all(play))
        acting.create_task(outages.empty_mailboxes())
        acting.create_task(outages.stop_mail_server())
        acting.create_task(outages.kill_workers())
        acting.create_task(play.leave_the_provider_for_a_day())
        for shop in play.shops:
            acting.create_task(order_licenses(play, shop))
        for case in play.cases:
            acting.create_task(play.play(case))
    watching.cancel()
    play.note("all lifecycles have ended")
    auditing.cancel()
    with suppress(asyncio.CancelledError):
        await auditing
    await eventually(play.world.store.outbox.listed, all_given_up, within=PATIENCE)
    play.note("all rows are carried out")
    # Workflows send the letters about refunds and orders; orders go on.
    client, queue = play.world.temporal.client, play.world.settings.task_queue
    await eventually(
        lambda: client.count_workflows(on_queue(queue, "ExecutionStatus = 'Running'")),
        until=lambda found: found.count == len(play.shops),
        within=PATIENCE,
    )
    play.note("all workflows have ended")
