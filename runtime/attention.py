"""The operators' list: the cases in the store, and those that only Temporal knows (OPS-5)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from domain.address import mask_all
from domain.attention import AttentionCase, AttentionKind, Problem, command
from domain.error import Unavailable
from runtime.clients import Clients
from runtime.codec import UnreadablePayload
from runtime.visibility import STUCK, on_queue
from workflows.search_attribute import ACCOUNT_ID

TEMPORAL_TIMEOUT: Final = timedelta(seconds=8)
"""Less than the ten seconds in which a command must answer without Temporal."""

RECOVERED_WITHIN: Final = timedelta(minutes=5)
"""Time in which workers restart a workflow that was ended from outside."""

MAX_LISTED: Final = 100
"""Cases of one kind that are described one by one; the others are counted."""

MAX_ENDED: Final = 5_000
"""Ended workflows that are compared with the records, the newest first."""

CONCURRENT_REQUESTS: Final = 20
EVENTS_READ: Final = 50
BATCH: Final = "bulk-invite/"
MAX_REASON_LENGTH: Final = 300

ENDED: Final = "ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')"

_FAILURES: Final = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)
_PROBLEMS: Final = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")

Found = TypeVar("Found")


@dataclass(frozen=True)
class Attention:
    """The operators' list."""

    clients: Clients
    recovered_within: timedelta = RECOVERED_WITHIN

    async def cases(self) -> list[AttentionCase]:
        """Return every open case, the oldest first.

        Without an answer of Temporal, one of them says so.
        """
        stored = await self.clients.store.attention.cases()
        try:
            async with asyncio.timeout(TEMPORAL_TIMEOUT.total_seconds()):
                found = await self._cases_in_temporal(stored)
        except (Unavailable, RPCError, TimeoutError) as failure:
            found = [_unreachable(failure)]
        return sorted([*stored, *found], key=lambda case: (case.since, case.id))

    async def _cases_in_temporal(self, stored: Sequence[AttentionCase]) -> list[AttentionCase]:
        client = await self.clients.connect()
        found = await asyncio.gather(
            self._failing_tasks(client),
            self._ended_workflows(client, {case.id for case in stored}),
            self._problems(client),
        )
        return [case for cases in found for case in cases]

    # Workflows whose task fails.

    async def _failing_tasks(self, client: Client) -> list[AttentionCase]:
        query = on_queue(
            self.clients.settings.task_queue, f"{STUCK} AND ExecutionStatus = 'Running'"
        )
        listed = client.list_workflows(query, limit=MAX_LISTED)
        ids = [execution.id async for execution in listed]
        count = (await client.count_workflows(query)).count

        async def case_of(workflow_id: str) -> AttentionCase | None:
            described = await _described(client, workflow_id)
            return await _case_of_task(client, described) if described else None

        return await _first(ids, case_of, _more(AttentionKind.WORKFLOW_TASK_FAILING, count, query))

    # Workflows that were ended from outside or failed.

    async def _ended_workflows(self, client: Client, reported: set[str]) -> list[AttentionCase]:
        before = datetime.now(UTC) - self.recovered_within
        query = on_queue(
            self.clients.settings.task_queue,
            f"{ENDED} AND CloseTime < '{before:%Y-%m-%dT%H:%M:%SZ}'",
        )
        listed = client.list_workflows(query, limit=MAX_ENDED)
        ended = {execution.id async for execution in listed}
        ids = await self._unfinished(ended) if ended else []
        # The rows that restart them; those that were given up are cases of their own.
        starts = await self.clients.store.outbox.starts_of(ids) if ids else {}
        rows = {workflow_id: str(number) for workflow_id, number in starts.items()}
        ids = [each for each in ids if rows.get(each) not in reported]

        async def case_of(workflow_id: str) -> AttentionCase | None:
            described = await _described(client, workflow_id)
            return _case_of_end(described, rows.get(workflow_id)) if described else None

        return await _first(ids, case_of, _more(AttentionKind.WORKFLOW_ENDED, len(ids), query))

    async def _unfinished(self, ended: set[str]) -> list[str]:
        """Return those whose record has not ended, or whose batch has rows without a result."""
        return [
            workflow_id
            async for page in self.clients.store.unfinished_workflows()
            for workflow_id in page
            if workflow_id in ended
        ]

    # Activities that have been failing for an hour, and broken invariants.

    async def _problems(self, client: Client) -> list[AttentionCase]:
        problems = await self.clients.store.problems.open()

        async def case_of(problem: Problem) -> AttentionCase | None:
            workflow_id, run_id, activity_id = problem.activity
            described = await _described(client, workflow_id, run_id)
            if problem.kind is AttentionKind.INVARIANT_BROKEN:
                if described and not await _is_repaired(client, described, problem):
                    return _case_of_invariant(described, problem)
            elif described and _is_pending(described, activity_id):
                return _case_of_activity(described, problem)
            await self.clients.store.problems.settle([problem.key])
            return None

        query = on_queue(self.clients.settings.task_queue, "ExecutionStatus = 'Running'")
        more = _more(AttentionKind.ACTIVITY_FAILING, len(problems), query)
        return await _first(problems, case_of, more)


async def _first(
    found: Sequence[Found],
    case_of: Callable[[Found], Awaitable[AttentionCase | None]],
    more: Sequence[AttentionCase],
) -> list[AttentionCase]:
    """Return the cases of the first of `found`, and `more`."""
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def limited(each: Found) -> AttentionCase | None:
        async with slots:
            return await case_of(each)

    listed = await asyncio.gather(*(limited(each) for each in found[:MAX_LISTED]))
    return [*(case for case in listed if case), *more]


def _more(kind: AttentionKind, count: int, query: str) -> Sequence[AttentionCase]:
    """Return a case that tells how many are not listed, if any; `query` finds them."""
    if count <= MAX_LISTED:
        return ()
    return (
        AttentionCase(
            kind=kind,
            since=datetime.now(UTC),
            account="",
            id="",
            message=f"Not listed: {count - MAX_LISTED} more of this kind.",
            remedy=command("temporal", "workflow", "list", "--query", query),
        ),
    )


async def _described(
    client: Client, workflow_id: str, run_id: str | None = None
) -> WorkflowExecutionDescription | None:
    """Return the run, by default the last one; None if Temporal has none."""
    try:
        return await client.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as failure:
        if failure.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


async def _case_of_task(
    client: Client, described: WorkflowExecutionDescription
) -> AttentionCase | None:
    """Return the case of a workflow whose task fails; None if it has succeeded meanwhile."""
    if not described.typed_search_attributes.get(_PROBLEMS):
        return None
    since, reason = described.start_time, ""
    for event in await _last_events(client, described):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            break
        if event.event_type in _FAILURES:
            since = event.event_time.ToDatetime(UTC)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            failure = event.workflow_task_failed_event_attributes.failure
            reason = reason or await _text_of(client, failure)
    return AttentionCase(
        kind=AttentionKind.WORKFLOW_TASK_FAILING,
        since=since,
        account=_account_of(described),
        id=described.id,
        message=f"{_sentence('Its workflow task fails', reason)} Deploy a corrected worker;"
        " then it continues by itself. The remedy shows the error.",
        remedy=command("temporal", "workflow", "show", "--detailed", "--workflow-id", described.id),
    )


async def _text_of(client: Client, failure: Failure) -> str:
    """Return the text of a failure, or why it cannot be read."""
    try:
        return str(await client.data_converter.decode_failure(failure))
    except UnreadablePayload as unreadable:
        return str(unreadable)


async def _last_events(
    client: Client, described: WorkflowExecutionDescription
) -> Sequence[HistoryEvent]:
    """Return the last events, the newest first: a task that is tried again adds none."""
    page = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(workflow_id=described.id, run_id=described.run_id),
            maximum_page_size=EVENTS_READ,
        )
    )
    return page.history.events


def _case_of_end(described: WorkflowExecutionDescription, row: str | None) -> AttentionCase | None:
    """Return the case of a closed workflow whose record has not ended; None if it runs again."""
    status, closed_at = described.status, described.close_time
    if status is None or status is WorkflowExecutionStatus.RUNNING or closed_at is None:
        return None
    account = _account_of(described)
    if described.id.startswith(BATCH):
        to_do, words = "Repeat the command that began it.", ["seatflow", "invite", account]
        words += ["--file", "FILE", "--batch", described.id.removeprefix(BATCH), "--by", "ADMIN"]
    else:
        to_do = "A worker restarts it within minutes: check that one runs."
        words = ["seatflow", "outbox", "retry", row] if row else ["python", "worker.py"]
    return AttentionCase(
        kind=AttentionKind.WORKFLOW_ENDED,
        since=closed_at,
        account=account,
        id=described.id,
        message=f"Its last run is {status.name.lower()}, and it is not done. {to_do}",
        remedy=command(*words),
    )


def _is_pending(described: WorkflowExecutionDescription, activity_id: str) -> bool:
    # A run that was ended from outside keeps its pending activities.
    running = described.status is WorkflowExecutionStatus.RUNNING
    pending = described.raw_description.pending_activities
    return running and any(each.activity_id == activity_id for each in pending)


def _case_of_activity(described: WorkflowExecutionDescription, problem: Problem) -> AttentionCase:
    workflow_id, _, activity_id = problem.activity
    return AttentionCase(
        kind=AttentionKind.ACTIVITY_FAILING,
        since=problem.since,
        account=_account_of(described),
        id=workflow_id,
        message=f"{_sentence('An activity has been failing for an hour', problem.message)}"
        " It is retried until it succeeds: fix the cause. The remedy retries it at once.",
        remedy=command(
            *("temporal", "activity", "reset"),
            *("--workflow-id", workflow_id, "--activity-id", activity_id),
        ),
    )


async def _is_repaired(
    client: Client, described: WorkflowExecutionDescription, problem: Problem
) -> bool:
    """Return whether the workflow has ended, or has since made a change of the same kind."""
    if described.status is not WorkflowExecutionStatus.RUNNING:
        return True
    _, _, activity_type = problem.activity
    handle = client.get_workflow_handle(described.id, run_id=described.run_id)
    scheduled = set[int]()
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            if name == activity_type:
                scheduled.add(event.event_id)
        elif event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes.scheduled_event_id
            if completed in scheduled and event.event_time.ToDatetime(UTC) > problem.since:
                return True
    return False


def _case_of_invariant(described: WorkflowExecutionDescription, problem: Problem) -> AttentionCase:
    return AttentionCase(
        kind=AttentionKind.INVARIANT_BROKEN,
        since=problem.since,
        account=_account_of(described),
        id=described.id,
        message=f"{_sentence('A change was refused', problem.message)}"
        " Nothing was changed. Find the rows that are wrong, and correct them.",
        remedy=command("seatflow", "audit"),
    )


def _account_of(described: WorkflowExecutionDescription) -> str:
    return described.typed_search_attributes.get(ACCOUNT_ID) or ""


def _sentence(problem: str, reason: str) -> str:
    masked = mask_all(reason)[:MAX_REASON_LENGTH].rstrip(".")
    return f"{problem}: {masked}." if masked else f"{problem}."


def _unreachable(failure: Exception) -> AttentionCase:
    reason = str(failure) or "no answer in time"
    return AttentionCase(
        kind=AttentionKind.TEMPORAL_UNREACHABLE,
        since=datetime.now(UTC),
        account="",
        id="temporal",
        message=f"{_sentence('Temporal cannot be searched', reason)}"
        " The cases that it knows are missing.",
        remedy=command("temporal", "operator", "cluster", "health"),
    )
