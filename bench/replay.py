"""How fast a history is replayed: what a worker does with a workflow that it has not cached.

The floor is the twin without a machine: its history has the same shape.
"""

import time
from collections.abc import AsyncIterator
from statistics import median

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from bench.baseline import SHARED, Floor
from bench.environment import FLOOR, SEATFLOW, Stand
from bench.figure import REPLAY, Figure
from bench.lifecycle import a_history
from runtime.codec import data_converter
from runtime.sandbox import OwnHeaders
from runtime.wiring import workflow_runner
from workflows.invitation import InvitationWorkflow


async def replays(stand: Stand, rounds: int, count: int) -> list[Figure]:
    """Rounds of `count` replays of each side's history, in turns."""
    ours = await a_history(stand, stand.sides[SEATFLOW])
    twin = await a_history(stand, stand.sides[FLOOR])
    pairs = list[tuple[float, float]]()
    # The first round is to warm up.
    for _ in range(1 + rounds):
        its = await _events_per_second(Floor, twin, count)
        pairs.append((await _events_per_second(InvitationWorkflow, ours, count), its))
    pairs = pairs[1:]
    rates = [median(pair[side] for pair in pairs) for side in (0, 1)]
    note = f"{rates[0]:.0f} to {rates[1]:.0f} events a second of CPU"
    return [Figure(REPLAY, [mine / its for mine, its in pairs], note)]


async def _events_per_second(workflow: type, history: WorkflowHistory, count: int) -> float:
    replayer = Replayer(
        workflows=[workflow],
        data_converter=data_converter({}),
        interceptors=[OwnHeaders()],
        workflow_runner=workflow_runner(SHARED),
    )
    # Of CPU, that of the SDK's threads too: what else runs on the machine does not count.
    began = time.process_time()
    await replayer.replay_workflows(_copies(history, count))
    return len(history.events) * count / (time.process_time() - began)


async def _copies(history: WorkflowHistory, count: int) -> AsyncIterator[WorkflowHistory]:
    for number in range(count):
        yield WorkflowHistory(f"{history.workflow_id}/{number}", history.events)
