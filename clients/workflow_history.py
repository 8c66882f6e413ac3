"""The histories of workflows, read without a worker: their inputs, and their writes to the store.

Every change of the store that a workflow makes is an activity. Its history has the request and the
result, so it is a log from which the change can be made again (OPS-6).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, get_type_hints

from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.assignment import AssignmentActivities
from activities.invitation import InvitationActivities
from activities.order import OrderActivities
from activities.refund import RefundActivities
from domain.assignment import StartAssignment
from domain.batch import StartBatch
from domain.error import Refusal
from domain.invitation import StartInvitation
from domain.order import StartOrder
from domain.refund import StartRefund

STARTS: Final[Mapping[str, type]] = {
    "Invitation": StartInvitation,
    "Refund": StartRefund,
    "AddonPurchase": StartOrder,
    "AddonAssignment": StartAssignment,
    "BulkInvite": StartBatch,
}
"""The input of each workflow type with a record in the store."""

WRITES: Final = {
    write.__name__: get_type_hints(write)
    for write in (
        InvitationActivities.deliver_invitation,
        InvitationActivities.record_invitation,
        InvitationActivities.read_invitation,
        InvitationActivities.join_account,
        InvitationActivities.end_invitation,
        RefundActivities.book_refund,
        OrderActivities.charge_order,
        OrderActivities.record_order,
        OrderActivities.amend_order,
        OrderActivities.end_term,
        OrderActivities.void_order,
        AssignmentActivities.commit_assignment,
    )
}
"""The types of request and result of each activity that changes a record.

`read_invitation` shows a change that the store has made without the workflow.
"""


@dataclass(frozen=True)
class Write:
    """A change of the store that a workflow has made."""

    at: datetime
    request: object
    result: object


@dataclass(frozen=True)
class Run:
    """One run of a workflow with its input and its writes, the oldest first."""

    id: str
    run_id: str
    first_run_id: str
    """The first run of its chain."""
    started_at: datetime
    status: WorkflowExecutionStatus | None
    start: object
    writes: Sequence[Write]
    busy: bool
    """True while an activity is scheduled and not completed."""

    @property
    def running(self) -> bool:
        """Return whether the run is open."""
        return self.status is WorkflowExecutionStatus.RUNNING

    @property
    def without_claim(self) -> bool:
        """Return whether it ended at once, because its claim had been released before."""
        begins = isinstance(self.start, StartInvitation) and self.start.carried is None
        refused = all(isinstance(write.result, Refusal) for write in self.writes)
        return begins and not self.running and refused


async def read_run(client: Client, listed: WorkflowExecution) -> Run | None:
    """Return the run with its writes; None if Temporal has deleted it.

    Raises UnreadablePayload without the key of its payloads.
    """
    reader = _Reader(client, STARTS[listed.workflow_type])
    handle = client.get_workflow_handle(listed.id, run_id=listed.run_id)
    try:
        async for event in handle.fetch_history_events():
            await reader.read(event)
    except RPCError as failure:
        if failure.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None
    return Run(
        id=listed.id,
        run_id=listed.run_id,
        first_run_id=reader.first_run_id,
        started_at=reader.started_at,
        status=WorkflowExecutionStatus.RUNNING if not reader.closed else listed.status,
        start=reader.start,
        writes=reader.writes,
        busy=bool(reader.scheduled) and not reader.closed,
    )


async def runs_of(client: Client, workflow_id: str) -> AsyncIterator[WorkflowExecution]:
    """Yield all runs of a workflow id that Temporal still has, the oldest first."""
    listed = client.list_workflows(f"WorkflowId = '{workflow_id}'")
    found = [each async for each in listed]
    for each in sorted(found, key=lambda each: each.start_time):
        yield each


async def described(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """Return the last run; None if Temporal has none."""
    try:
        return await client.get_workflow_handle(workflow_id).describe()
    except RPCError as failure:
        if failure.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


class _Reader:
    """The events of one history, decoded as far as they concern the store."""

    def __init__(self, client: Client, start_type: type) -> None:
        self._converter = client.data_converter
        self._start_type = start_type
        self.start: object = None
        self.started_at = datetime.min.replace(tzinfo=UTC)
        self.first_run_id = ""
        self.writes = list[Write]()
        self.scheduled = dict[int, tuple[str, Payloads]]()
        self.closed = False

    async def read(self, event: HistoryEvent) -> None:
        match event.WhichOneof("attributes"):
            case "workflow_execution_started_event_attributes":
                started = event.workflow_execution_started_event_attributes
                self.started_at = event.event_time.ToDatetime(UTC)
                self.first_run_id = started.first_execution_run_id
                self.start = await self._decoded(started.input, self._start_type)
            case "activity_task_scheduled_event_attributes":
                task = event.activity_task_scheduled_event_attributes
                self.scheduled[event.event_id] = task.activity_type.name, task.input
            case "activity_task_completed_event_attributes":
                completed = event.activity_task_completed_event_attributes
                name, request = self.scheduled.pop(completed.scheduled_event_id)
                if name in WRITES:
                    at = event.event_time.ToDatetime(UTC)
                    await self._add(at, name, request, completed.result)
            case str(ended) if ended in _ENDS:
                self.scheduled.pop(getattr(event, ended).scheduled_event_id, None)
            case str(close) if close in _CLOSES:
                self.closed = True

    async def _add(self, at: datetime, name: str, request: Payloads, result: Payloads) -> None:
        hints = dict(WRITES[name])
        returned = hints.pop("return")
        [requested] = hints.values()
        self.writes.append(
            Write(
                at=at,
                request=await self._decoded(request, requested),
                result=await self._decoded(result, returned),
            )
        )

    async def _decoded(self, payloads: Payloads, kind: type) -> object:
        if not payloads.payloads:
            return None
        [value] = await self._converter.decode(payloads.payloads, [kind])
        return value


_ENDS: Final = frozenset(
    f"activity_task_{end}_event_attributes" for end in ("failed", "timed_out", "canceled")
)
_CLOSES: Final = frozenset(
    f"workflow_execution_{end}_event_attributes"
    for end in ("completed", "failed", "timed_out", "canceled", "terminated", "continued_as_new")
)
