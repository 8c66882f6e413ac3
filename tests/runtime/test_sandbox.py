"""The memory and the CPU time that the sandbox saves for each workflow.

Thousands of pending invitations are cached by a worker (docs/performance.md). Each saving has a
test that also runs without it, and fails when the SDK no longer needs it.
"""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, _runner

from runtime.codec import data_converter
from runtime.sandbox import HeaderInterceptor
from runtime.wiring import WORKFLOWS, workflow_runner
from tests.replay.record import HISTORIES
from tests.world import World

WARM_UP, MEASURED = 10, 25
KIB_EACH = 52
"""This includes the part of an invitation that the test keeps, above all its e-mail."""

CONTEXTS = ("get_serialization_context", "get_external_store_context")
PAYLOAD = Payload(metadata={"encoding": b"json/plain"}, data=b'"a value"')


async def invite(world: World, name: str, number: int) -> None:
    emails = [f"{name}{n}@new.example" for n in range(number)]
    await world.invite_all(*emails)
    for email in emails:
        await world.until(email, "pending")


async def replay(runner: WorkflowRunner, *interceptors: Interceptor) -> None:
    """Replay a recorded invitation that was started with a memo and a header."""
    file = sorted(HISTORIES.glob("invitation/*.json"))[0]
    history = WorkflowHistory.from_json("an-invitation", file.read_text(encoding="utf-8"))
    started = history.events[0].workflow_execution_started_event_attributes
    for fields in (started.memo.fields, started.header.fields):
        fields["example"].CopyFrom(PAYLOAD)
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter({}, "default"),
        interceptors=interceptors,
        workflow_runner=runner,
    )
    await replayer.replay_workflow(history)


def messages(payloads: Mapping[str, Payload]) -> list[object]:
    """List the protobuf messages, or parts of one, that a mapping keeps in memory."""
    found, seen, left = list[object](), set[int](), list[object]([payloads])
    while left:
        current = left.pop()
        if id(current) in seen or isinstance(current, type):
            continue
        seen.add(id(current))
        if isinstance(current, Message) or type(current).__module__.startswith("google."):
            found.append(current)
        left += gc.get_referents(current)
    return found


def plain_runner() -> SandboxedWorkflowRunner:
    return SandboxedWorkflowRunner(restrictions=workflow_runner().restrictions)


async def test_python_keeps_little_of_a_pending_invitation(world: World) -> None:
    """`docs/performance.md`: Python's part of the memory; the SDK core keeps the rest."""
    await invite(world, "warm", WARM_UP)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await invite(world, "more", MEASURED)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / MEASURED / 1024 < KIB_EACH


async def test_no_code_runs_in_the_sandbox_for_the_context_of_a_payload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each payload saves two calls; the SDK makes them without this runner."""
    calls = Counter[str]()

    def counted(name: str) -> Callable[..., object]:
        original = getattr(_runner._Instance, name)

        def call(*arguments: object) -> object:
            calls[name] += 1
            return original(*arguments)

        return call

    for name in CONTEXTS:
        monkeypatch.setattr(_runner._Instance, name, counted(name))
    await replay(plain_runner())
    assert set(calls) == set(CONTEXTS)
    calls.clear()
    await replay(workflow_runner())
    assert not calls


async def test_a_workflow_keeps_copies_of_its_memo_and_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any part of a message keeps the whole message in memory; the SDK keeps parts."""
    created = list[WorkflowInstanceDetails]()
    create_instance = SandboxedWorkflowRunner.create_instance

    def recorded(self: SandboxedWorkflowRunner, det: WorkflowInstanceDetails) -> WorkflowInstance:
        created.append(det)
        return create_instance(self, det)

    monkeypatch.setattr(SandboxedWorkflowRunner, "create_instance", recorded)
    await replay(plain_runner())
    info = created[-1].info
    assert messages(info.raw_memo)
    assert messages(info.headers)
    await replay(workflow_runner())
    info = created[-1].info
    assert (info.raw_memo["example"], info.headers["example"]) == (PAYLOAD, PAYLOAD)
    assert not messages(info.raw_memo)
    assert not messages(info.headers)


class HeaderRecorder(Interceptor):
    """An interceptor that records the headers with which a workflow is executed."""

    recorded: Mapping[str, Payload]

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        recorder = self

        class Recording(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> object:
                recorder.recorded = input.headers
                return await super().execute_workflow(input)

        return Recording


async def test_an_interceptor_keeps_a_copy_of_the_headers() -> None:
    """Other interceptors receive the copy, so that they keep no message in memory."""
    recorder = HeaderRecorder()
    await replay(workflow_runner(), recorder)
    assert messages(recorder.recorded)
    await replay(workflow_runner(), HeaderInterceptor(), recorder)
    assert recorder.recorded["example"] == PAYLOAD
    assert not messages(recorder.recorded)
