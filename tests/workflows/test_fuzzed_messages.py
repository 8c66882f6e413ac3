"""Generated queries, updates and signals that no handler can read (OPS-4)."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from pydantic import JsonValue
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError

from domain.batch import BatchRow
from domain.invitation import InvitationState, Person
from domain.refund import RefundState
from tests.eventually import eventually
from tests.fuzzing import check_all
from tests.workflows.test_malformed_messages import (
    FIELDS,
    MESSAGES,
    NULL,
    AnyHandle,
    assert_no_task_failed,
    payload,
    send,
    started,
)
from tests.world import ADMIN, JANE, World

QUERIES = {
    "invitation": {"view", "offer"},
    "refund": {"view"},
    "order": {"view"},
    "assignment": {"view"},
    "batch": {"progress"},
}
"""The queries of each workflow (contract, *In Temporal*)."""

WITHOUT_ARGUMENTS = {"report", "review", "retry_move"}
"""The updates that are answered in spite of an argument, which is not read."""

EXAMPLES = 40
TIMEOUT = timedelta(seconds=10)


def as_json(value: JsonValue) -> RawValue:
    return payload(b"json/plain", json.dumps(value).encode())


# Made when it is drawn: Hypothesis prints its strategies.
HUGE = st.just("x").map(lambda letter: letter * 20_000)
TEXTS = st.text(max_size=20) | st.sampled_from(["", "\0", "\ud800", "\u202e", JANE]) | HUGE
NOT_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner | TEXTS, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner | TEXTS, max_size=4)
    ),
    max_leaves=8,
)
DAMAGED = st.one_of(
    # An open bracket makes any bytes bad JSON.
    st.binary(max_size=50).map(lambda data: payload(b"json/plain", b"[" + data)),
    st.binary(max_size=50).map(lambda data: payload(b"binary/plain", data)),
    st.binary(max_size=50).map(lambda data: payload(b"binary/unknown", data)),
)
PAYLOADS = (NOT_TEXTS | TEXTS).map(as_json) | DAMAGED | st.just(NULL)
TOO_MANY = st.lists(PAYLOADS, min_size=2, max_size=4)
WRONG = NOT_TEXTS.filter(lambda value: value is not None and not isinstance(value, dict))
WRONG_MEMBER = st.fixed_dictionaries(
    {"by": NOT_TEXTS | st.sampled_from(["\0", "a\0b"]) | HUGE},
    optional={field: NOT_TEXTS | TEXTS for field in FIELDS if field != "by"},
)
UNREADABLE = TOO_MANY | st.lists(
    (WRONG | WRONG_MEMBER).map(as_json) | DAMAGED, min_size=1, max_size=1
)
"""Arguments that fit no update and no signal: every update that has one reads a text `by`."""


async def state_of(handle: AnyHandle, query: str) -> tuple[object, int]:
    """Return the answer to the query, and the number of events."""
    answer = await handle.query(query, rpc_timeout=TIMEOUT)
    return answer, (await handle.describe()).history_length


async def settled_state(handle: AnyHandle, query: str) -> tuple[object, int]:
    """Return the state once the workflow waits."""
    while True:
        before = await state_of(handle, query)
        await asyncio.sleep(0.3)
        if await state_of(handle, query) == before:
            return before


async def is_answered(handle: AnyHandle, query: str, arguments: Sequence[RawValue]) -> None:
    with suppress(WorkflowQueryFailedError):
        await handle.query(query, args=list(arguments), rpc_timeout=TIMEOUT)


async def held_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Start a batch whose rows are read when the event is set."""
    batches, released = world.store.batches, asyncio.Event()
    waiting = batches.waiting

    async def held(batch_id: str, limit: int) -> list[BatchRow]:
        await released.wait()
        return await waiting(batch_id, limit)

    monkeypatch.setattr(batches, "waiting", held)
    rows = [BatchRow(position=0, person=Person(email="ada@example.com"))]
    await world.bulk.submit(world.account, rows, ADMIN, batch_id=f"held-{world.account}")
    return released


async def messages_of(handle: AnyHandle) -> WorkflowMetadata:
    found = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert isinstance(found, WorkflowMetadata)
    return found


@pytest.mark.parametrize("noun", QUERIES)
async def test_no_query_changes_or_fails_a_workflow(
    world: World, noun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-4: with any arguments it is answered or fails alone; so is one that does not exist."""
    released = await held_batch(world, monkeypatch) if noun == "batch" else None
    handle: AnyHandle = (
        world.temporal.client.get_workflow_handle(f"bulk-invite/held-{world.account}")
        if released
        else await started(world, noun)
    )
    own = {each.name for each in (await messages_of(handle)).definition.query_definitions}
    assert {name for name in own if not name.startswith("__")} == QUERIES[noun]
    names = sorted({*QUERIES[noun], "__temporal_workflow_metadata", "unknown"})
    shown = min(QUERIES[noun], key=["view", "progress", "offer"].index)
    before = await settled_state(handle, shown)

    async def check(query: tuple[str, Sequence[RawValue]]) -> None:
        await is_answered(handle, *query)
        assert await state_of(handle, shown) == before

    queries = st.tuples(st.sampled_from(names), st.lists(PAYLOADS, max_size=4))
    await check_all(check, queries, at_most=EXAMPLES)
    await assert_no_task_failed(handle)
    if released:
        released.set()
        await asyncio.wait_for(handle.result(), timeout=TIMEOUT.total_seconds())


@pytest.mark.parametrize("noun", MESSAGES)
async def test_an_unreadable_message_changes_nothing(world: World, noun: str) -> None:
    """OPS-4: an update that reads arguments is refused; a signal is dropped."""
    handle = await started(world, noun)
    known = (await messages_of(handle)).definition
    updates = tuple(each.name for each in known.update_definitions)
    signals = tuple(each.name for each in known.signal_definitions)
    assert {*updates} == {*MESSAGES[noun]["updates"]}
    assert {*signals} == {*MESSAGES[noun]["signals"]}
    record, _ = await settled_state(handle, "view")

    async def check(message: tuple[str, Sequence[RawValue]]) -> None:
        name, arguments = message
        if name in signals or name == "unknown signal":
            await handle.signal(name, args=[*arguments])
            assert (await state_of(handle, "view"))[0] == record
            return
        if name in WITHOUT_ARGUMENTS:
            await send(handle, "updates", name, arguments)
            assert (await state_of(handle, "view"))[0] == record
            return
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(name, args=[*arguments], rpc_timeout=TIMEOUT)
        assert (await state_of(handle, "view"))[0] == record

    names = (*updates, *signals, "unknown", "unknown signal")
    await check_all(check, st.tuples(st.sampled_from(names), UNREADABLE), at_most=EXAMPLES)
    await assert_no_task_failed(handle)
    await assert_not_stuck(world, noun, handle)


async def assert_not_stuck(world: World, noun: str, handle: AnyHandle) -> None:
    """Check that the workflow still carries out what it is for."""
    match noun:
        case "invitation":
            declined = await world.client.decline(world.account, JANE)
            assert declined.state is InvitationState.DECLINED
            await handle.result()
        case "order":
            order_id = handle.id.rpartition("/")[2]
            assert (await world.orders.cancel(order_id)).state == "cancelled"
        case "refund":
            await world.clock.pass_time(handle.id, timedelta(days=8))
            await world.refund_until(handle.id.removeprefix("refund/"), RefundState.SETTLED)
        case _:
            await handle.execute_update("report", rpc_timeout=TIMEOUT)


@pytest.mark.parametrize("size", [150_000, 2_500_000, 3_900_000])
@pytest.mark.parametrize(("kind", "name"), [("updates", "decline"), ("signals", "remind")])
async def test_a_huge_text_is_refused(world: World, kind: str, name: str, size: int) -> None:
    """OPS-4: one of more than 2 MB is refused by the server, which would not take the record."""
    handle = await started(world, "invitation")
    record, _ = await settled_state(handle, "view")
    huge = "x" * size
    argument: JsonValue = {"reason": huge} if kind == "updates" else huge
    with suppress(RPCError):
        await send(handle, kind, name, [as_json(argument)])
    assert (await state_of(handle, "view"))[0] == record
    await assert_no_task_failed(handle)
    await assert_not_stuck(world, "invitation", handle)


@pytest.mark.parametrize("text", ["\0", "x" * 20_000])
async def test_a_text_as_an_argument_is_checked_as_well(world: World, text: str) -> None:
    """OPS-4: the run of a reminder is a plain text, and is recorded."""
    handle = await started(world, "invitation")
    await world.pass_time(JANE, timedelta(days=10))
    await handle.signal("remind", args=[as_json(text)])
    assert (await world.show(JANE)).reminders_sent == 0
    await handle.signal("remind", args=[as_json("run-1")])
    await eventually(lambda: world.show(JANE), lambda shown: shown.reminders_sent == 1)
    assert (await world.show(JANE)).reminded_by == "run-1"
