"""Whole lifecycles of free users: invited, accepted at once, completed."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from adapters.sql.schema import InvitationRow
from adapters.sql.transaction import reading
from bench.cost import cpu_seconds
from bench.stand import ADMIN, TARGET, Side, Stand, free_users
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, Person

AT_ONCE = 60
"""Lifecycles under way: enough to keep the worker busy while some of them only wait."""

ANSWERED_AFTER = 1.0
"""Seconds: the store knows of the e-mail a moment before the workflow does."""

_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Lived:
    """What a round of whole lifecycles has cost."""

    count: int
    seconds: float
    worker_cpu: float
    server_cpu: float

    @property
    def per_second(self) -> float:
        """Whole lifecycles in a second."""
        return self.count / self.seconds


async def live(stand: Stand, side: Side, name: str, count: int) -> Lived:
    """Let `count` free users be invited and accept; what it has cost until all are over."""
    emails = await free_users(side, name, count)
    worker, server = side.worker.pid, stand.server.pid
    began, worker_cpu, server_cpu = time.monotonic(), cpu_seconds(worker), cpu_seconds(server)
    await _live(side, emails)
    await all_closed(stand, side)
    return Lived(
        count=count,
        seconds=time.monotonic() - began,
        worker_cpu=cpu_seconds(worker) - worker_cpu,
        server_cpu=cpu_seconds(server) - server_cpu,
    )


async def _live(side: Side, emails: Sequence[str]) -> None:
    at_once = asyncio.Semaphore(AT_ONCE)
    reached = Reached(side)

    async def whole_life(email: str) -> None:
        async with at_once:
            [invited] = await side.client.invite(TARGET, [Person(email=email)], ADMIN)
            assert invited.result == "invited", invited
            await reached.by(email, InvitationState.PENDING)
            await _accept(side, email)
            await reached.by(email, InvitationState.COMPLETED)

    watching = asyncio.create_task(reached.watch())
    try:
        await asyncio.gather(*(whole_life(email) for email in emails))
    finally:
        watching.cancel()


async def _accept(side: Side, email: str) -> None:
    while True:
        await asyncio.sleep(ANSWERED_AFTER)
        try:
            await side.client.accept(TARGET, email)
        except Refused as refused:
            if refused.code is not ErrorCode.NOT_PENDING:
                raise
        else:
            return


class Reached:
    """Watches the store for all at once: one question, however many are under way."""

    def __init__(self, side: Side) -> None:
        self._engine = side.store.engine
        self._awaited: dict[tuple[str, InvitationState], asyncio.Event] = {}

    async def by(self, email: str, state: InvitationState) -> None:
        """Wait until the invitation of `email` stands at `state`."""
        event = self._awaited.setdefault((email, state), asyncio.Event())
        await event.wait()
        del self._awaited[email, state]

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            emails = {email for email, _ in self._awaited}
            query = select(InvitationRow.email, InvitationRow.state)
            async with reading(self._engine) as session:
                rows = await session.execute(query.where(InvitationRow.email.in_(emails)))
            standing: Mapping[str, str] = {email: state for email, state in rows}
            for (email, state), event in self._awaited.items():
                if standing.get(email) == state:
                    event.set()


async def all_closed(stand: Stand, side: Side) -> None:
    """Wait until no workflow of that side runs any more."""
    query = f"TaskQueue = '{side.settings.task_queue}' AND ExecutionStatus = 'Running'"
    while (await stand.temporal.count_workflows(query)).count:
        await asyncio.sleep(_LOOK_EVERY)
