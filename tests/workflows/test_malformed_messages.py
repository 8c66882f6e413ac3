"""Messages that no handler can read."""

import json
import os
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from domain.error import ErrorCode, Refused
from domain.invitation import Choice
from domain.license import Sku
from domain.refund import RefundState
from tests.world import ADMIN, JANE, LICENSED, World, a_paying_owner, licensed_users

AnyHandle = WorkflowHandle[Any, Any]

MESSAGES: dict[str, dict[str, Sequence[str]]] = {
    "invitation": {
        "updates": (
            *("accept", "decline", "revoke", "resend", "recheck", "quote", "retry_move", "review"),
        ),
        "signals": ("directory_changed", "remind"),
    },
    "refund": {"updates": ("convert", "retry", "close"), "signals": ("provider_notified",)},
    "order": {
        "updates": ("confirm", "cancel", "change_quantity", "report"),
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
    "deep nesting": (payload(b"json/plain", b"[" * 5_000 + b"]" * 5_000),),
    "a large number": (payload(b"json/plain", b"9" * 4_000),),
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
    with suppress(WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
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
    await assert_no_task_failed(handle)


@pytest.mark.parametrize("noun", MESSAGES)
async def test_no_random_message_fails_a_workflow_task(world: World, noun: str) -> None:
    """OPS-4: messages with the names of the fields and any values, until the workflow ends."""
    seed = int(os.environ.get("MESSAGE_SEED") or random.SystemRandom().randrange(10**6))
    print(f"MESSAGE_SEED={seed}")
    chance = random.Random(seed)
    handle = await started(world, noun)
    messages = [(kind, name) for kind, names in MESSAGES[noun].items() for name in names]
    for _ in range(ROUNDS):
        kind, name = chance.choice(messages)
        document = {
            field: a_value(chance) for field in chance.sample(FIELDS, k=chance.randrange(5))
        }
        data = json.dumps(chance.choice([document, document, a_value(chance)])).encode()
        arguments = [payload(b"json/plain", data)] * chance.choice([1, 1, 1, 2])
        try:
            await send(handle, kind, name, arguments)
        except RPCError as ended:
            assert ended.status is RPCStatusCode.NOT_FOUND, ended
            break
        assert await is_healthy(handle), f"{name}: {data[:200]!r}"
    await assert_no_task_failed(handle)


ROUNDS = 60
FIELDS = (
    *("choice", "link_number", "shown", "reason", "by", "method", "quantity", "release"),
    *("release_all", "run", "at", "unknown"),
)


def a_value(chance: random.Random) -> JsonValue:
    """Return a value that a field may or may not accept."""
    values: list[JsonValue] = [
        "",
        "text",
        "refund",
        "transfer",
        ADMIN,
        JANE,
        "2026-01-01T00:00:00Z",
    ]
    values += ["\0", "a\0b", "\ud800", "\u202e", "x" * 100_000, "9999-12-31T23:59:59Z"]
    values += [0, -1, 1, 2**63, 10**400, 1.5, 1e308, True, None]
    values += [[], {}, [[[]]], [JANE, None], ["\0"]]
    values += [{"amount": "NaN", "currency": "EUR"}, {"amount": "1e999999", "currency": "???"}]
    values += [{"amount": "10.00", "currency": "\0"}]
    return chance.choice(values)


async def test_a_text_that_no_database_stores_is_refused(world: World) -> None:
    """OPS-4: PostgreSQL would refuse the record with NUL at every attempt."""
    handle = await started(world, "invitation")
    data = json.dumps({"by": "a\0b"}).encode()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update("revoke", args=[payload(b"json/plain", data)])
    assert isinstance(refused.value.cause, Refused)
    assert refused.value.cause.code is ErrorCode.INVALID_INPUT
    await handle.signal("remind", args=[payload(b"json/plain", b'{"run": "\\u0000"}')])
    assert (await world.show(JANE)).reminded_by is None
    await assert_no_task_failed(handle)


async def assert_no_task_failed(handle: AnyHandle) -> None:
    """Raise AssertionError if the history has a workflow task that failed."""
    history = await handle.fetch_history()
    assert not [
        event.workflow_task_failed_event_attributes.failure.message
        for event in history.events
        if event.HasField("workflow_task_failed_event_attributes")
    ]
