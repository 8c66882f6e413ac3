"""Keeping a workflow light: what the SDK does and keeps for each, and nobody here wants.

A cached one lets go of the messages that it has dealt with. Any part of the message that it was
started with keeps the whole, some 10 KiB for an invitation, and the SDK keeps four: memo, headers
(twice) and the result of the run before. It also keeps its last answer, another 3 KiB, and for each
workflow a source of random numbers, 2.5 KiB.

And for each payload that a workflow sends the SDK asks several times, with code that it compiles
anew inside of the sandbox, in which context the payload is written: a fifth of the time that a
replay takes. No converter of ours wants to know (`runtime/codec.py`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)
from temporalio.worker._command_aware_visitor import CommandInfo
from temporalio.worker._workflow_instance import _WorkflowInstanceImpl
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox._runner import _Instance


class InnerRunner(UnsandboxedWorkflowRunner):
    """Makes what runs inside of a sandbox."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """A workflow that keeps no answers, and no random numbers before it wants some."""
        # What a workflow may not ask of its event loop is left out, as in the SDK's own.
        return _Light(det)  # type: ignore[abstract]


class _Light(_WorkflowInstanceImpl):
    def __init__(self, det: WorkflowInstanceDetails) -> None:
        super().__init__(det)
        del self._random

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        answer = super().activate(act)
        # Made anew by the next activation. Whoever is dropped before that, when its worker has
        # stopped, still cancels its timers into the one that it has.
        self._current_completion = WorkflowActivationCompletion()
        return answer

    @cached_property
    def _random(self) -> Random:  # type: ignore[override]
        """The same numbers as ever."""
        return Random(self._current_seed)


class _WithoutContext(_Instance):
    """A workflow in its sandbox, whose payloads look the same in every context."""

    def get_serialization_context(self, command_info: CommandInfo | None) -> None:
        """In none."""

    def get_external_store_context(
        self, command_info: CommandInfo | None
    ) -> StorageDriverStoreContext:
        """Nothing is stored elsewhere."""
        return _NO_STORE


@dataclass(frozen=True)
class LightRunner(SandboxedWorkflowRunner):
    """A sandbox that starts a workflow with copies."""

    runner_class: type[WorkflowRunner] = InnerRunner

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Start with what belongs to no message."""
        result = _NO_RESULT
        if det.last_completion_result.payloads:
            result = Payloads()
            result.CopyFrom(det.last_completion_result)
        info = replace(
            det.info, raw_memo=_Packed(det.info.raw_memo), headers=_Packed(det.info.headers)
        )
        own = replace(det, info=info, last_completion_result=result)
        return _WithoutContext(own, self.runner_class, self.restrictions)


class OwnHeaders(Interceptor):
    """Gives each workflow a copy of the headers it was started with."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """What stands before every workflow."""
        return _OwnHeaders


class _OwnHeaders(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> object:
        input.headers = _Packed(input.headers)
        return await super().execute_workflow(input)


class _Packed(Mapping[str, Payload]):
    """Payloads as bytes: a message of its own for each would take ten times as much."""

    __slots__ = ("_packed",)

    def __init__(self, payloads: Mapping[str, Payload]) -> None:
        self._packed = {name: kept.SerializeToString() for name, kept in payloads.items()}

    def __getitem__(self, name: str) -> Payload:
        return Payload.FromString(self._packed[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


_NO_RESULT = Payloads()
_NO_STORE = StorageDriverStoreContext(target=None)
