"""Whole lifecycles of free users: invited, accepted at once, completed."""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sqlalchemy import select
from temporalio.client import WorkflowHistory

from adapters.sql.database.schema import InvitationRow
from adapters.sql.database.transaction import reading
from bench.cost import cpu_seconds
from bench.figure import (
    ACTIONS,
    EVENTS,
    RATE,
    SERVER_CPU,
    WORKER_CPU,
    WORKER_TO_SERVER,
    Figure,
)
from bench.history import billable_actions
from bench.stand import ADMIN, FLOOR, SEATFLOW, TARGET, Side, Stand, free_users
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, Person

AT_ONCE = 60
"""Lifecycles under way: enough to keep the worker busy while some of them only wait."""

ANSWERED_AFTER = 1.0
"""Seconds: the store knows of the e-mail a moment before the workflow does."""

WARM_UP = 60

_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Lived:
    """What a round of whole lifecycles has cost."""

    count: int
    seconds: float
    worker_cpu: float
    server_cpu: float

    @property
    def worker_ms(self) -> float:
        """Milliseconds of the worker's CPU for each."""
        return 1000 * self.worker_cpu / self.count

    @property
    def server_ms(self) -> float:
        """Milliseconds of the server's CPU for each."""
        return 1000 * self.server_cpu / self.count

    @property
    def per_second(self) -> float:
        """Whole lifecycles in a second."""
        return self.count / self.seconds


async def lifecycles(stand: Stand, rounds: int, count: int) -> list[Figure]:
    """Rounds of `count` lifecycles on each side, in turns; each side begins every other round."""
    seatflow, floor = stand.sides[SEATFLOW], stand.sides[FLOOR]
    for side in (seatflow, floor):
        await live(stand, side, "warm", min(count, WARM_UP))
    pairs = list[tuple[Lived, Lived]]()
    for number in range(rounds):
        order = (seatflow, floor) if number % 2 else (floor, seatflow)
        lived = {side.name: await live(stand, side, f"round{number}", count) for side in order}
        pairs.append((lived[SEATFLOW], lived[FLOOR]))
    return [
        Figure(
            WORKER_CPU,
            [ours.worker_ms / floor.worker_ms for ours, floor in pairs],
            _beside("ms", pairs, lambda lived: lived.worker_ms),
        ),
        Figure(
            SERVER_CPU,
            [ours.server_ms / floor.server_ms for ours, floor in pairs],
            _beside("ms", pairs, lambda lived: lived.server_ms),
        ),
        Figure(
            RATE,
            [ours.per_second / floor.per_second for ours, floor in pairs],
            _beside("a second", pairs, lambda lived: lived.per_second),
        ),
        Figure(
            WORKER_TO_SERVER,
            [ours.worker_ms / ours.server_ms for ours, _ in pairs],
            f"floor {median(floor.worker_ms / floor.server_ms for _, floor in pairs):.2f}",
        ),
        *await _histories(stand),
    ]


def _beside(
    unit: str, pairs: Sequence[tuple["Lived", "Lived"]], of: Callable[["Lived"], float]
) -> str:
    ours, floor = (median(of(pair[side]) for pair in pairs) for side in (0, 1))
    return f"{ours:.1f} to {floor:.1f} {unit}"


async def _histories(stand: Stand) -> list[Figure]:
    """What the server keeps of one that was played alone."""
    ours, floor = [await a_history(stand, stand.sides[name]) for name in (SEATFLOW, FLOOR)]
    return [
        Figure(EVENTS, [len(ours.events)], f"floor {len(floor.events)}"),
        Figure(ACTIONS, [billable_actions(ours)], f"floor {billable_actions(floor)}"),
    ]


async def a_history(stand: Stand, side: Side) -> WorkflowHistory:
    """Of a lifecycle that is played alone, so that nothing in it has to be tried again."""
    [email] = await free_users(side, uuid.uuid4().hex, 1)
    await _live(side, [email])
    await all_closed(stand, side)
    stored = await side.store.invitations.latest(TARGET, email)
    assert stored is not None
    handle = stand.temporal.get_workflow_handle(
        stored.invitation.workflow_id, run_id=stored.invitation.run_id
    )
    return await handle.fetch_history()


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
