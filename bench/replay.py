"""Speed of replays, by which a worker restores a workflow that is not in its cache.

The history of the baseline has the same shape.
"""

import time
from collections.abc import AsyncIterator
from statistics import median

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from bench.baseline import PASSED_THROUGH, BaselineWorkflow
from bench.environment import BASELINE, SEATFLOW, Environment
from bench.figure import REPLAY, Figure
from bench.lifecycle import record_history
from runtime.codec import data_converter
from runtime.wiring import INTERCEPTORS, workflow_runner
from workflows.invitation import InvitationWorkflow


async def measure_replays(environment: Environment, rounds: int, count: int) -> list[Figure]:
    """Measure rounds of `count` replays of each variant's history, in turns."""
    seatflow = await record_history(environment, environment.variants[SEATFLOW])
    baseline = await record_history(environment, environment.variants[BASELINE])
    pairs = list[tuple[float, float]]()
    # The first round warms up.
    for _ in range(1 + rounds):
        reference = await _events_per_second(BaselineWorkflow, baseline, count)
        pairs.append((await _events_per_second(InvitationWorkflow, seatflow, count), reference))
    pairs = pairs[1:]
    rates = [median(pair[side] for pair in pairs) for side in (0, 1)]
    note = f"{rates[0]:.0f} to {rates[1]:.0f} events a second of CPU"
    return [Figure(REPLAY, [rate / reference for rate, reference in pairs], note)]


async def _events_per_second(workflow: type, history: WorkflowHistory, count: int) -> float:
    replayer = Replayer(
        workflows=[workflow],
        data_converter=data_converter({}, "default"),
        interceptors=INTERCEPTORS,
        workflow_runner=workflow_runner(PASSED_THROUGH),
    )
    # CPU time, the SDK's threads included: other programs on the machine do not count.
    start = time.process_time()
    await replayer.replay_workflows(_copies(history, count))
    return len(history.events) * count / (time.process_time() - start)


async def _copies(history: WorkflowHistory, count: int) -> AsyncIterator[WorkflowHistory]:
    for number in range(count):
        yield WorkflowHistory(f"{history.workflow_id}/{number}", history.events)
