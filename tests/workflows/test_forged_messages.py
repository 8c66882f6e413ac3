"""Messages to encrypted workflows from somebody without the keys of the namespace."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment

from domain.invitation import AcceptInvitation
from runtime.codec import UnreadablePayload, data_converter
from tests.database import Databases
from tests.world import JANE, World, a_world

KEYS = {"one": bytes(32)}


def speaking(client: Client, converter: DataConverter) -> Client:
    """Return the client with another converter of payloads."""
    config = client.config()
    config["data_converter"] = converter
    return Client(**config)


@pytest.fixture
async def encrypted_world(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> AsyncIterator[World]:
    client = speaking(temporal.client, data_converter(KEYS, "default"))
    async with a_world(WorkflowEnvironment.from_client(client), set_up_databases) as world:
        yield world


@pytest.mark.parametrize(
    "forging",
    [data_converter({}, "default"), data_converter(KEYS, "other")],
    ids=["plain text", "a key in another namespace"],
)
async def test_a_forged_message_changes_nothing(
    encrypted_world: World, forging: DataConverter
) -> None:
    """SEATFLOW_ENCRYPTION_KEYS: it is refused or dropped, and the workflow goes on (OPS-4)."""
    world = encrypted_world
    invitation = await world.pending(JANE)
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    forger = speaking(world.temporal.client, forging).get_workflow_handle(invitation.workflow_id)
    await forger.signal("remind", "now")
    # The forger cannot read the refusal.
    with pytest.raises((WorkflowUpdateFailedError, UnreadablePayload)):
        await forger.execute_update("accept", AcceptInvitation())
    assert (await world.show(JANE)).state == "pending"
    history = await handle.fetch_history()
    assert not [e for e in history.events if e.HasField("workflow_task_failed_event_attributes")]
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")
