"""Recorder of histories for the replay tests: `python -m tests.replay.record [NAME]…`.

Record a history for each new end. Record an existing one again only when no workflow of its
release can still be running; until then a change goes behind `workflow.patched`.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from pydantic import JsonValue, TypeAdapter
from temporalio.testing import WorkflowEnvironment

from domain.error import Refused
from runtime.process import exit_process
from tests.database import Databases
from tests.eventually import eventually
from tests.replay.scenarios import (
    ASSIGNMENTS,
    INVITATIONS,
    ORDERS,
    REMINDER_RUNS,
    invited_in_batch,
)
from tests.world import JANE, World, a_world, databases_in, temporal_server

HISTORIES = Path(__file__).parent / "histories"
BATCH = invited_in_batch.__name__
REMINDERS = "StaleInvitationReminders"

_JSON = TypeAdapter[JsonValue](JsonValue)


async def record(names: list[str]) -> None:
    """Play the scenarios and write their histories."""
    with tempfile.TemporaryDirectory() as folder:
        async with temporal_server() as environment, databases_in(Path(folder)) as databases:
            for name in names or (*INVITATIONS, *ORDERS, *ASSIGNMENTS, *REMINDER_RUNS, BATCH):
                await _record(environment, databases, name)
                print(name)


async def _record(environment: WorkflowEnvironment, databases: Databases, name: str) -> None:
    async with a_world(environment, databases) as world:
        for file, workflow_id in (await _play(world, name)).items():
            path = HISTORIES / f"{file}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            history = _anonymous(_JSON.validate_json(await _history(environment, workflow_id)))
            path.write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")


async def _play(world: World, name: str) -> dict[str, str]:
    """Play a scenario; return the ids of its workflows by the file of their history."""
    if name == BATCH:
        return {f"batch/{name}": await invited_in_batch(world)}
    if name in ORDERS:
        order = await ORDERS[name](world)
        return {f"order/{name}": order.workflow_id}
    if name in ASSIGNMENTS:
        await ASSIGNMENTS[name](world)
        await world.last_request()
        [request, *_] = await world.requests()
        return {f"assignment/{name}": request}
    if name in REMINDER_RUNS:
        await REMINDER_RUNS[name](world)
        return {f"reminder/{name}": await _reminder_run(world)}
    with suppress(Refused):
        await INVITATIONS[name](world)
    invitation = await world.show(JANE)
    workflows = {f"invitation/{name}": invitation.workflow_id}
    if refund_id := invitation.settlement and invitation.settlement.refund_id:
        workflows[f"refund/{name}"] = f"refund/{refund_id}"
    return workflows


async def _reminder_run(world: World) -> str:
    """Return the id of the world's only run of reminders; visibility may lag."""
    query = f"TaskQueue = '{world.settings.task_queue}' AND WorkflowType = '{REMINDERS}'"

    async def found() -> list[str]:
        return [run.id async for run in world.temporal.client.list_workflows(query)]

    return (await eventually(found))[0]


async def _history(environment: WorkflowEnvironment, workflow_id: str) -> str:
    handle = environment.client.get_workflow_handle(workflow_id)
    await handle.result()
    return (await handle.fetch_history()).to_json()


def _anonymous(value: JsonValue) -> JsonValue:
    """Return `value` without the name of the machine on which it was recorded."""
    if isinstance(value, list):
        return [_anonymous(each) for each in value]
    if isinstance(value, dict):
        return {
            key: "recorder" if key == "identity" else _anonymous(each)
            for key, each in value.items()
        }
    return value


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
    exit_process(0)
