"""Queries and updates of running workflows, each within one wait budget."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ActivityError, CancelledError
from temporalio.exceptions import TimeoutError as StepTimeout
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from domain.error import Refused, Unavailable
from domain.journal import JournalEntry
from domain.model import Value
from states.lifecycle import is_outdated

POLL_INTERVAL = timedelta(milliseconds=100)
HEALTH_CHECK_TIMEOUT = timedelta(seconds=1)
START_TIMEOUT = timedelta(seconds=8)
"""Timeout of an RPC that starts or describes a workflow."""

_TRANSIENT = frozenset(
    {
        # The run has closed or has not begun.
        RPCStatusCode.NOT_FOUND,
        # Ten other updates are in flight.
        RPCStatusCode.RESOURCE_EXHAUSTED,
        # No worker accepted the update within the server's own time.
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.FAILED_PRECONDITION,
        # The server dropped its registry of updates in flight.
        RPCStatusCode.ABORTED,
    }
)

Record = TypeVar("Record")
AnyWorkflow = TypeVar("AnyWorkflow")
Result = TypeVar("Result")
Answer = TypeVar("Answer")


class NoWorkerAnswer(Unavailable):
    """The wait budget is used up: Temporal is reachable, and no worker answered in time."""


class WaitBudget:
    """The time that one command waits for a worker's answer (SEATFLOW_WAIT_SECONDS)."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the budget."""
        self._clock = clock
        self._ends_at = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds left; negative once the budget is used up."""
        return self._ends_at - self._clock()

    async def pause(self) -> None:
        """Sleep until the next attempt. Raises NoWorkerAnswer when the budget is used up."""
        if self.left <= 0:
            raise no_worker_answer()
        await asyncio.sleep(min(POLL_INTERVAL.total_seconds(), self.left))

    @asynccontextmanager
    async def attempt(self, client: Client) -> AsyncIterator[None]:
        """Limit the body to the time left; suppress a transient error, so that it is retried.

        Raises NoWorkerAnswer when the time is up, Unavailable for any other error of Temporal.
        """
        try:
            async with asyncio.timeout(self.left):
                yield
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            raise no_worker_answer() from None
        except RPCError as failure:
            if not await is_transient(failure, client):
                raise temporal_unavailable(failure) from failure


@dataclass(frozen=True)
class TemporalAccess:
    """The connection to Temporal, the task queue and the wait time that all clients share."""

    connect: Callable[[], Awaitable[Client]]
    """Connects on first use, because reads of the store need no server."""
    task_queue: str
    wait_seconds: float

    def wait_budget(self) -> WaitBudget:
        """Start the budget of one command."""
        return WaitBudget(self.wait_seconds)


@dataclass(frozen=True)
class WorkflowCaller(Generic[Record, AnyWorkflow, Result]):
    """Sends queries and updates to the workflow of a record until the record has ended.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    handle: Callable[[Client, Record], WorkflowHandle[AnyWorkflow, Result]]
    """The run of a record."""
    read_stored: Callable[[Record], Awaitable[Record]]
    """The record as the store has it now."""
    ended: Callable[[Record], bool]
    """True once no run can change the record, so that the store answers."""
    journal: Callable[[Record], Sequence[JournalEntry]]
    """The journal of a record. A refusal by a run that lags behind it is not the answer."""

    async def call(
        self,
        record: Record,
        request: Callable[[WorkflowHandle[AnyWorkflow, Result]], Awaitable[Answer]],
        from_store: Callable[[Record], Answer],
        budget: WaitBudget | None = None,
    ) -> Answer:
        """Return the workflow's answer to `request`, or that of `from_store` for an ended record.

        Retries within the wait budget while ten other updates are in flight, and while a run
        begins or closes.
        """
        if self.ended(record):
            return from_store(record)
        client = await self.temporal.connect()
        budget = budget or self.temporal.wait_budget()
        while not self.ended(record):
            async with budget.attempt(client):
                try:
                    return await request(self.handle(client, record))
                except WorkflowQueryFailedError as failed:
                    raise workflow_failed() from failed
                except WorkflowUpdateFailedError as failed:
                    # Any other cause means that the run has closed, and the store has its end.
                    match failed.cause:
                        case (Refused() as refused) | ActivityError(cause=Refused() as refused):
                            await self._require_outdated(record, refused)
                        case ActivityError(cause=cause) if not isinstance(cause, CancelledError):
                            raise step_failed(cause) from failed
            await budget.pause()
            record = await self.read_stored(record)
        return from_store(record)

    async def update(
        self,
        record: Record,
        update: UpdateMethodMultiParam[..., Answer],
        arguments: Sequence[Value],
        from_store: Callable[[Record], Answer],
        budget: WaitBudget | None = None,
    ) -> Answer:
        """Send an update as `call` does, with an id for which a retry returns the same answer."""
        update_id = uuid.uuid4().hex

        async def send(handle: WorkflowHandle[AnyWorkflow, Result]) -> Answer:
            nonlocal update_id
            try:
                return await handle.execute_update(update, args=arguments, id=update_id)
            except WorkflowUpdateFailedError as failed:
                if isinstance(failed.cause, Refused):
                    # The same id would return the same refusal.
                    update_id = uuid.uuid4().hex
                raise

        return await self.call(record, send, from_store, budget)

    async def _require_outdated(self, record: Record, refused: Refused) -> None:
        if not is_outdated(refused, self.journal(await self.read_stored(record))):
            raise refused from None


async def start_and_report(
    client: Client,
    budget: WaitBudget,
    report: UpdateMethodMultiParam[[AnyWorkflow], Answer],
    start: Callable[[], WithStartWorkflowOperation[AnyWorkflow, Result]],
) -> Answer:
    """Start a workflow unless it runs; return its answer to the update `report`.

    Retries within the wait budget. Raises Unavailable.
    """
    while True:
        operation = start()
        async with budget.attempt(client):
            try:
                return await client.execute_update_with_start_workflow(
                    report, start_workflow_operation=operation
                )
            except WorkflowUpdateFailedError as failed:
                raise workflow_failed() from failed
            except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError):
                # Otherwise asyncio logs on stderr that this failure was never read.
                with suppress(Exception, asyncio.CancelledError):
                    await operation.workflow_handle()
                raise
        await budget.pause()


def no_worker_answer() -> NoWorkerAnswer:
    """Return the error for a wait budget that is used up."""
    return NoWorkerAnswer(
        "No worker answered in time. The request may still be carried out; repeating it is safe.",
        outcome_unknown=True,
    )


def workflow_failed() -> Unavailable:
    """Return the error for a workflow that cannot answer."""
    return Unavailable("The workflow cannot continue; the Temporal UI shows why.")


def step_failed(cause: BaseException | None) -> Unavailable:
    """Return the error for a request whose step has failed; it is not carried out later."""
    match cause:
        case Unavailable(message=message):
            return Unavailable(message)
        case StepTimeout():
            return Unavailable("A step of the request had no answer in time; repeat the request.")
        case _:
            return Unavailable("A step of the request failed; the Temporal UI shows why.")


def temporal_unavailable(failure: RPCError) -> Unavailable:
    """Return the error for a failed RPC; its request may still be carried out."""
    return Unavailable(
        f"Temporal does not answer: {failure.status.name.lower()}.", outcome_unknown=True
    )


@contextmanager
def temporal_errors_as_unavailable() -> Iterator[None]:
    """Raise errors of the connection to Temporal as Unavailable."""
    try:
        yield
    except RPCError as failure:
        raise Unavailable(f"Temporal does not answer: {failure.message}") from failure
    except TimeoutError as failure:
        raise Unavailable("Temporal does not answer in time.") from failure


async def is_transient(failure: RPCError, client: Client) -> bool:
    """Return whether a later attempt may succeed."""
    if failure.status is RPCStatusCode.UNAVAILABLE:
        # A healthy server reports it too, after it has dropped its registry of updates.
        return await _is_healthy(client)
    return failure.status in _TRANSIENT


async def _is_healthy(client: Client) -> bool:
    try:
        return await client.service_client.check_health(timeout=HEALTH_CHECK_TIMEOUT)
    except RPCError:
        return False
