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
from tests.replay.scenarios import SCENARIOS, invited_in_bulk
from tests.world import JANE, a_world, temporal_server

HISTORIES = Path(__file__).parent / "histories"
BULK = invited_in_bulk.__name__

_JSON = TypeAdapter[JsonValue](JsonValue)


async def record(names: list[str]) -> None:
    """Play the scenarios and keep their histories."""
    for kind in ("invitation", "refund", "notice", "bulk_invite"):
        (HISTORIES / kind).mkdir(parents=True, exist_ok=True)
    async with temporal_server() as environment:
        for name in names or (*SCENARIOS, BULK):
            played = _played_in_bulk if name == BULK else _played
            for kind, history in (await played(environment, name)).items():
                text = json.dumps(_anonymous(_JSON.validate_json(history)), indent=1)
                (HISTORIES / kind / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            print(name)


async def _played_in_bulk(environment: WorkflowEnvironment, name: str) -> dict[str, str]:
    """The history of a batch."""
    with tempfile.TemporaryDirectory() as folder:
        async with a_world(environment, Path(folder)) as world:
            return {"bulk_invite": await _history(environment, await invited_in_bulk(world))}


async def _played(environment: WorkflowEnvironment, name: str) -> dict[str, str]:
    """The histories of the invitation and of its refund and last notice, if there are any."""
    with tempfile.TemporaryDirectory() as folder:
        async with a_world(environment, Path(folder)) as world:
            with suppress(Refused):
                await SCENARIOS[name](world)
            invitation = await world.show(JANE)
            histories = {"invitation": await _history(environment, invitation.workflow_id)}
            refund_id = invitation.settlement and invitation.settlement.refund_id
            if refund_id:
                histories["refund"] = await _history(environment, f"refund/{refund_id}")
            for notice in (await _notices(environment, invitation.workflow_id))[-1:]:
                histories["notice"] = await _history(environment, notice)
            return histories


async def _notices(environment: WorkflowEnvironment, workflow_id: str) -> list[str]:
    """The ids of the notices that the invitation has handed out, in order."""
    history = await environment.client.get_workflow_handle(workflow_id).fetch_history()
    children = [
        event.start_child_workflow_execution_initiated_event_attributes for event in history.events
    ]
    return [child.workflow_id for child in children if child.workflow_type.name == "Notice"]


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
