"""Messages that no handler can read."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHandle, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import RawValue

from domain.invitation import Choice
from domain.license import Sku
from domain.refund import RefundState
from tests.world import ADMIN, JANE, LICENSED, World, a_paying_owner, licensed_users

AnyHandle = WorkflowHandle[Any, Any]

MESSAGES: dict[str, dict[str, Sequence[str]]] = {
    "invitation": {
        "updates": ("accept", "decline", "revoke", "resend", "recheck", "quote", "retry_move"),
        "signals": ("directory_changed", "remind"),
    },
    "refund": {"updates": ("convert", "retry", "close"), "signals": ("provider_notified",)},
    "order": {
        "updates": ("confirm", "cancel", "change_quantity"),
        "signals": ("account_closed",),
    },
    "assignment": {"updates": ("report",), "signals": ("licenses_freed",)},
}
"""The messages of each workflow (contract, *In Temporal*)."""


def payload(encoding: bytes, data: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))


NULL = payload(b"binary/null", b"")
MALFORMED: dict[str, Sequence[RawValue]] = {
    "nothing": (),
    "null": (NULL,),
    "two nulls": (NULL, NULL),
    "a number": (payload(b"json/plain", b"7"),),
    "a text": (payload(b"json/plain", b'"text"'),),
    "a list": (payload(b"json/plain", b"[1]"),),
    "three arguments": tuple(payload(b"json/plain", b"{}") for _ in range(3)),
    "broken JSON": (payload(b"json/plain", b"{"),),
    "bytes": (payload(b"binary/plain", b"\xff\x00"),),
    "an unknown encoding": (payload(b"binary/unknown", b"x"),),
    # Some handlers can read this one, and may end the workflow.
    "an unknown member": (payload(b"json/plain", b'{"unknown": {}}'),),
}


async def started(world: World, noun: str) -> AnyHandle:
    """Start a workflow of the noun that waits for messages."""
    match noun:
        case "invitation":
            workflow_id = (await world.pending(JANE)).workflow_id
        case "refund":
            await a_paying_owner(world)
            accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
            assert accepted.settlement and accepted.settlement.refund_id
            refund = accepted.settlement.refund_id
            workflow_id = (await world.refund_until(refund, RefundState.PROCESSING)).workflow_id
        case "order":
            order = await world.orders.buy(
                world.account,
                Sku.LARGE_MEETING,
                capacity=500,
                quantity=1,
                cycle="monthly",
                by=ADMIN,
                portal="account",
            )
            workflow_id = order.workflow_id
        case _:
            await licensed_users(world)
            await world.licenses.assign(world.account, Sku.LARGE_MEETING, LICENSED, ADMIN)
            workflow_id = (await world.last_request()).id
    return world.temporal.client.get_workflow_handle(workflow_id)


async def is_healthy(handle: AnyHandle) -> bool:
    """Return whether the workflow answers a query: it does not while its task fails."""
    query = handle.query("view", rpc_timeout=timedelta(seconds=10))
    try:
        return await query is not None
    except WorkflowQueryFailedError:
        return False


async def send(handle: AnyHandle, kind: str, name: str, arguments: Sequence[RawValue]) -> None:
    """Send a message; its refusal is as good as its acceptance."""
    if kind == "signals":
        await handle.signal(name, args=list(arguments))
        return
    with suppress(WorkflowUpdateFailedError):
        await handle.execute_update(name, args=list(arguments), rpc_timeout=timedelta(seconds=10))


@pytest.mark.parametrize(
    ("noun", "kind", "name"),
    [
        (noun, kind, name)
        for noun, kinds in MESSAGES.items()
        for kind, names in kinds.items()
        for name in names
    ],
)
async def test_no_malformed_message_fails_a_workflow_task(
    world: World, noun: str, kind: str, name: str
) -> None:
    """OPS-4: it is refused, or logged and dropped, and the workflow answers afterwards."""
    handle = await started(world, noun)
    for description, arguments in MALFORMED.items():
        await send(handle, kind, name, arguments)
        assert await is_healthy(handle), f"{name}: {description}"
    history = await handle.fetch_history()
    assert not [
        event.workflow_task_failed_event_attributes.failure.message
        for event in history.events
        if event.HasField("workflow_task_failed_event_attributes")
    ]
