"""Lifecycles of free users: invited, accepted, completed."""

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
from bench.billable_actions import billable_actions
from bench.cpu import cpu_seconds
from bench.environment import (
    ADMIN,
    BASELINE,
    SEATFLOW,
    TARGET,
    Environment,
    Variant,
    add_free_users,
)
from bench.figure import (
    ACTIONS,
    EVENTS,
    RATE,
    SERVER_CPU,
    WORKER_CPU,
    WORKER_TO_SERVER,
    Figure,
)
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, Person

CONCURRENCY = 60
"""Concurrent lifecycles: enough to keep the worker busy."""

ACCEPT_AFTER_SECONDS = 1.0
"""Delay before accepting: the workflow is `pending` a moment after the store."""

WARM_UP = 60

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Round:
    """The time and CPU time of a round of lifecycles."""

    count: int
    seconds: float
    worker_cpu: float
    server_cpu: float

    @property
    def worker_ms(self) -> float:
        """Return the worker's CPU time per lifecycle in milliseconds."""
        return 1000 * self.worker_cpu / self.count

    @property
    def server_ms(self) -> float:
        """Return the server's CPU time per lifecycle in milliseconds."""
        return 1000 * self.server_cpu / self.count

    @property
    def per_second(self) -> float:
        """Return the lifecycles per second."""
        return self.count / self.seconds


async def measure_lifecycles(environment: Environment, rounds: int, count: int) -> list[Figure]:
    """Measure rounds of `count` lifecycles of each variant, which alternate in being first."""
    seatflow, baseline = environment.variants[SEATFLOW], environment.variants[BASELINE]
    for variant in (seatflow, baseline):
        await run_lifecycles(environment, variant, "warm", min(count, WARM_UP))
    pairs = list[tuple[Round, Round]]()
    for number in range(rounds):
        order = (seatflow, baseline) if number % 2 else (baseline, seatflow)
        measured = {
            variant.name: await run_lifecycles(environment, variant, f"round{number}", count)
            for variant in order
        }
        pairs.append((measured[SEATFLOW], measured[BASELINE]))
    return [
        Figure(
            WORKER_CPU,
            [ours.worker_ms / base.worker_ms for ours, base in pairs],
            _medians("ms", pairs, lambda each: each.worker_ms),
        ),
        Figure(
            SERVER_CPU,
            [ours.server_ms / base.server_ms for ours, base in pairs],
            _medians("ms", pairs, lambda each: each.server_ms),
        ),
        Figure(
            RATE,
            [ours.per_second / base.per_second for ours, base in pairs],
            _medians("a second", pairs, lambda each: each.per_second),
        ),
        Figure(
            WORKER_TO_SERVER,
            [ours.worker_ms / ours.server_ms for ours, _ in pairs],
            f"baseline {median(base.worker_ms / base.server_ms for _, base in pairs):.2f}",
        ),
        *await _measure_histories(environment),
    ]


def _medians(unit: str, pairs: Sequence[tuple[Round, Round]], of: Callable[[Round], float]) -> str:
    ours, base = (median(of(pair[side]) for pair in pairs) for side in (0, 1))
    return f"{ours:.1f} to {base:.1f} {unit}"


async def _measure_histories(environment: Environment) -> list[Figure]:
    """Measure the history of a single lifecycle of each variant."""
    ours, base = [
        await record_history(environment, environment.variants[name])
        for name in (SEATFLOW, BASELINE)
    ]
    return [
        Figure(EVENTS, [len(ours.events)], f"baseline {len(base.events)}"),
        Figure(ACTIONS, [billable_actions(ours)], f"baseline {billable_actions(base)}"),
    ]


async def record_history(environment: Environment, variant: Variant) -> WorkflowHistory:
    """Return the history of a lifecycle that runs alone, so that nothing in it is retried."""
    [email] = await add_free_users(variant, uuid.uuid4().hex, 1)
    await _invite_and_accept(variant, [email])
    await wait_until_closed(environment, variant)
    stored = await variant.store.invitations.latest(TARGET, email)
    assert stored is not None
    handle = environment.temporal.get_workflow_handle(
        stored.invitation.workflow_id, run_id=stored.invitation.run_id
    )
    return await handle.fetch_history()


async def run_lifecycles(
    environment: Environment, variant: Variant, name: str, count: int
) -> Round:
    """Invite `count` free users who accept; return the cost until all workflows have closed."""
    emails = await add_free_users(variant, name, count)
    worker, server = variant.worker.pid, environment.server.pid
    start, worker_cpu, server_cpu = time.monotonic(), cpu_seconds(worker), cpu_seconds(server)
    await _invite_and_accept(variant, emails)
    await wait_until_closed(environment, variant)
    return Round(
        count=count,
        seconds=time.monotonic() - start,
        worker_cpu=cpu_seconds(worker) - worker_cpu,
        server_cpu=cpu_seconds(server) - server_cpu,
    )


async def _invite_and_accept(variant: Variant, emails: Sequence[str]) -> None:
    slots = asyncio.Semaphore(CONCURRENCY)
    states = StateWatcher(variant)

    async def run_lifecycle(email: str) -> None:
        async with slots:
            [invited] = await variant.clients.invitations.invite(
                TARGET, [Person(email=email)], ADMIN
            )
            assert invited.result == "invited", invited
            await states.wait_for(email, InvitationState.PENDING)
            await _accept(variant, email)
            await states.wait_for(email, InvitationState.COMPLETED)

    polling = asyncio.create_task(states.poll())
    try:
        await asyncio.gather(*(run_lifecycle(email) for email in emails))
    finally:
        polling.cancel()


async def _accept(variant: Variant, email: str) -> None:
    while True:
        await asyncio.sleep(ACCEPT_AFTER_SECONDS)
        try:
            await variant.clients.invitations.accept(TARGET, email)
        except Refused as refused:
            if refused.code is not ErrorCode.NOT_PENDING:
                raise
        else:
            return


class StateWatcher:
    """Polling of the store with one query for all awaited invitations."""

    def __init__(self, variant: Variant) -> None:
        self._engine = variant.store.engine
        self._awaited: dict[tuple[str, InvitationState], asyncio.Event] = {}

    async def wait_for(self, email: str, state: InvitationState) -> None:
        """Wait until the invitation of `email` is in `state`."""
        event = self._awaited.setdefault((email, state), asyncio.Event())
        await event.wait()
        del self._awaited[email, state]

    async def poll(self) -> None:
        """Read the states repeatedly, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            emails = {email for email, _ in self._awaited}
            query = select(InvitationRow.email, InvitationRow.state)
            async with reading(self._engine) as session:
                rows = await session.execute(query.where(InvitationRow.email.in_(emails)))
            current: Mapping[str, str] = {email: state for email, state in rows}
            for (email, state), event in self._awaited.items():
                if current.get(email) == state:
                    event.set()


async def wait_until_closed(environment: Environment, variant: Variant) -> None:
    """Wait until no workflow of the variant is running."""
    query = f"TaskQueue = '{variant.settings.task_queue}' AND ExecutionStatus = 'Running'"
    while (await environment.temporal.count_workflows(query)).count:
        await asyncio.sleep(_POLL_SECONDS)
