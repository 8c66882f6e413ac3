"""The sandbox in which workflows run, with less memory and CPU time per workflow.

It uses the interfaces that the SDK exports for custom workflow runners. Without it, the SDK

- keeps parts of the message that started a workflow: its memo, its headers (twice) and the result
  of the previous run. Any part keeps the whole message in memory.
- runs code in the sandbox twice for each payload that a workflow sends, to get the payload's
  serialization context. The converters and the codec of Seatflow do not use it
  (`runtime/codec.py`).

`docs/performance.md` states the savings. To remove it, use `SandboxedWorkflowRunner` in
`runtime/wiring.py`.
"""

from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowInterceptorClassInput,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info


@dataclass(frozen=True)
class LightRunner(SandboxedWorkflowRunner):
    """A sandbox whose workflows keep copies instead of parts of a message."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create a workflow with copies of its memo, its headers and the previous result."""
        previous_result = _NO_RESULT
        if det.last_completion_result.payloads:
            previous_result = Payloads()
            previous_result.CopyFrom(det.last_completion_result)
        info = replace(
            det.info,
            raw_memo=_packed(det.info.raw_memo),
            headers=_packed(det.info.headers),
        )
        details = replace(det, info=info, last_completion_result=previous_result)
        return _ContextFreeInstance(super().create_instance(details))


class HeaderInterceptor(Interceptor):
    """An interceptor that gives each workflow a copy of the headers that it was started with."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """Return the interceptor of each workflow."""
        return _OwnHeaders


class _OwnHeaders(WorkflowInboundInterceptor):
    # Not `async`: a coroutine of its own would be kept as long as the workflow runs.
    def execute_workflow(self, input: ExecuteWorkflowInput) -> Coroutine[None, None, object]:
        input.headers = _packed(input.headers)
        return super().execute_workflow(input)


class _ContextFreeInstance(WorkflowInstance):
    """A sandboxed workflow whose payloads have no serialization context."""

    __slots__ = ("_instance",)

    def __init__(self, instance: WorkflowInstance) -> None:
        self._instance = instance

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Handle an activation in the sandbox."""
        return self._instance.activate(act)

    def get_serialization_context(self, command_info: object) -> None:
        """Return None: no converter uses the context."""

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        """Return an empty context: no payload is stored outside Temporal."""
        return _NO_STORE

    def get_info(self) -> Info:
        """Return the workflow's info."""
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        """Return the thread in which the workflow is running, if any."""
        return self._instance.get_thread_id()


def _packed(payloads: Mapping[str, Payload]) -> Mapping[str, Payload]:
    return _PackedPayloads(payloads) if payloads else _NO_PAYLOADS


class _PackedPayloads(Mapping[str, Payload]):
    """Payloads as bytes: copied messages would take ten times as much memory."""

    __slots__ = ("_packed",)

    def __init__(self, payloads: Mapping[str, Payload]) -> None:
        self._packed = {name: payload.SerializeToString() for name, payload in payloads.items()}

    def __getitem__(self, name: str) -> Payload:
        return Payload.FromString(self._packed[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


_NO_PAYLOADS = _PackedPayloads({})
_NO_RESULT = Payloads()
_NO_STORE = StorageDriverStoreContext(target=None)
