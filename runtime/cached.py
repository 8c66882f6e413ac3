"""Keeping a cached workflow light: it lets go of the message that it was started with.

Any part of such a message keeps the whole, some 10 KiB for an invitation, and the SDK keeps
four: memo, headers (twice) and the result of the run before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowInterceptorClassInput,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


@dataclass(frozen=True)
class LightRunner(SandboxedWorkflowRunner):
    """A sandbox that starts a workflow with copies."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Start with what belongs to no message."""
        result = Payloads()
        result.CopyFrom(det.last_completion_result)
        info = replace(
            det.info, raw_memo=_copies(det.info.raw_memo), headers=_copies(det.info.headers)
        )
        return super().create_instance(replace(det, info=info, last_completion_result=result))


class OwnHeaders(Interceptor):
    """Gives each workflow a copy of the headers it was started with."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """What stands before every workflow."""
        return _OwnHeaders


class _OwnHeaders(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> object:
        input.headers = _copies(input.headers)
        return await super().execute_workflow(input)


def _copies(payloads: Mapping[str, Payload]) -> dict[str, Payload]:
    return {name: Payload.FromString(kept.SerializeToString()) for name, kept in payloads.items()}
