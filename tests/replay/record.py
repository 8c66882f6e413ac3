"""Records histories of running workflows: `python -m tests.replay.record [NAME]…`.

Record a new one for each new ending; an old one is recorded anew only when no workflow
of its release can still be running. Otherwise a change goes behind `workflow.patched`.
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
from tests.replay.scenarios import (
    ASSIGNMENTS,
    ORDERS,
    RUNS_OF_REMINDERS,
    SCENARIOS,
    invited_in_bulk,
)
from tests.world import JANE, World, a_world, databases_in, temporal_server

HISTORIES = Path(__file__).parent / "histories"
KINDS = (
    "invitation",
    "refund",
    "notice",
    "order",
    "assignment",
    "license_notice",
    "reminders",
    "bulk_invite",
)

REMINDERS = "StaleInvitationReminders"
BULK = invited_in_bulk.__name__

_JSON = TypeAdapter[JsonValue](JsonValue)


async def record(names: list[str]) -> None:
    """Play the scenarios and keep their histories."""
    for kind in KINDS:
        (HISTORIES / kind).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with temporal_server() as environment, databases_in(Path(folder)) as databases:
            await _record(environment, databases, names)


async def _record(environment: WorkflowEnvironment, databases: Databases, names: list[str]) -> None:
    for name in names or (*SCENARIOS, *ORDERS, *ASSIGNMENTS, *RUNS_OF_REMINDERS, BULK):
        played = _played_in_bulk if name == BULK else _played
        for kind, history in (await played(environment, databases, name)).items():
            text = json.dumps(_anonymous(_JSON.validate_json(history)), indent=1)
            (HISTORIES / kind / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(name)


async def _played_in_bulk(
    environment: WorkflowEnvironment, databases: Databases, name: str
) -> dict[str, str]:
    """The history of a batch."""
    async with a_world(environment, databases) as world:
        return {"bulk_invite": await _history(environment, await invited_in_bulk(world))}


async def _played(
    environment: WorkflowEnvironment, databases: Databases, name: str
) -> dict[str, str]:
    """The history of the lifecycle and of what it has begun, by kind."""
    async with a_world(environment, databases) as world:
        if name in ORDERS:
            order = await ORDERS[name](world)
            return {"order": await _history(environment, order.workflow_id)}
        if name in ASSIGNMENTS:
            await ASSIGNMENTS[name](world)
            return await _of_the_assignment(world)
        if name in RUNS_OF_REMINDERS:
            await RUNS_OF_REMINDERS[name](world)
            return {"reminders": await _history(environment, await _run_of_reminders(world))}
        with suppress(Refused):
            await SCENARIOS[name](world)
        return await _of_the_invitation(world)


async def _of_the_invitation(world: World) -> dict[str, str]:
    """With its refund and last notice, if there are any."""
    environment, invitation = world.temporal, await world.show(JANE)
    histories = {"invitation": await _history(environment, invitation.workflow_id)}
    refund_id = invitation.settlement and invitation.settlement.refund_id
    if refund_id:
        histories["refund"] = await _history(environment, f"refund/{refund_id}")
    for notice in (await _notices(environment, invitation.workflow_id, "Notice"))[-1:]:
        histories["notice"] = await _history(environment, notice)
    return histories


async def _of_the_assignment(world: World) -> dict[str, str]:
    """Of the request that was made first, with its last notice, if there is any."""
    await world.last_request()
    [request, *_] = await world.requests()
    histories = {"assignment": await _history(world.temporal, request)}
    for notice in (await _notices(world.temporal, request, "LicenseNotice"))[-1:]:
        histories["license_notice"] = await _history(world.temporal, notice)
    return histories


async def _notices(
    environment: WorkflowEnvironment, workflow_id: str, workflow_type: str
) -> list[str]:
    """The ids of the notices that a lifecycle has handed out, in order."""
    history = await environment.client.get_workflow_handle(workflow_id).fetch_history()
    children = [
        event.start_child_workflow_execution_initiated_event_attributes for event in history.events
    ]
    return [child.workflow_id for child in children if child.workflow_type.name == workflow_type]


async def _run_of_reminders(world: World) -> str:
    """The id of the only one of this world; visibility lags a moment."""
    query = f"TaskQueue = '{world.settings.task_queue}' AND WorkflowType = '{REMINDERS}'"
    while not (found := [run async for run in world.temporal.client.list_workflows(query)]):
        await asyncio.sleep(0.1)
    return found[0].id


async def _history(environment: WorkflowEnvironment, workflow_id: str) -> str:
    handle = environment.client.get_workflow_handle(workflow_id)
    await handle.result()
    return (await handle.fetch_history()).to_json()


def _anonymous(value: JsonValue) -> JsonValue:
    """Without the name of the machine on which it was recorded."""
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
