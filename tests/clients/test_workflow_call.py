"""Calls of a running workflow: retries, refusals, and the wait budget."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from clients.workflow_call import TemporalAccess, WaitBudget, WorkflowCaller
from devstack.ports import HOST
from domain.error import ErrorCode, Refused, Unavailable
from domain.journal import JournalEntry

Handle = WorkflowHandle[None, None]

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
JOURNAL = [
    JournalEntry(at=NOON, event=state, from_state=None, to_state=state, by="seatflow")
    for state in ("sent", "pending")
]
OUTDATED = WorkflowUpdateFailedError(Refused(ErrorCode.NOT_PENDING, "No.", state="sent"))
"""The refusal of a run whose record has moved on in the store."""


async def unconnected() -> Client:
    return await Client.connect("unused", lazy=True)


@asynccontextmanager
async def relayed(client: Client) -> AsyncIterator[Client]:
    """Yield a second client of the server; its connection is cut after the body."""
    host, _, port = client.service_client.config.target_host.partition(":")
    callers: list[asyncio.StreamWriter] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)
        from_server, to_server = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(65536):
            writer.write(content)
        writer.close()

    async with await asyncio.start_server(relay, HOST, 0) as server:
        relay_port = server.sockets[0].getsockname()[1]
        yield await Client.connect(f"{HOST}:{relay_port}")
    for caller in callers:
        caller.close()


@dataclass
class Run:
    """A workflow that responds to each call with the next of `answers`, and its record."""

    answers: list[str | Exception | asyncio.Event]
    ended_after: int = 1_000
    """Number of reads until the store has the end."""
    calls: int = 0
    read_stored: list[int] = field(default_factory=list)
    connect: Callable[[], Awaitable[Client]] = unconnected

    async def answer(self, handle: Handle) -> str:
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            raise AssertionError("the event is never set")
        return answer

    async def read_record(self, record: int) -> int:
        self.read_stored.append(record)
        return record + 1

    async def called(self, record: int = 0, wait_seconds: float = 5) -> str:
        caller = WorkflowCaller[int, None, None](
            temporal=TemporalAccess(self.connect, "a queue", wait_seconds),
            handle=lambda client, record: client.get_workflow_handle("a run"),
            read_stored=self.read_record,
            ended=lambda record: record >= self.ended_after,
            journal=lambda record: JOURNAL,
        )
        return await caller.call(record, self.answer, lambda record: f"ended, from record {record}")


def failure(status: RPCStatusCode) -> RPCError:
    return RPCError(status.name, status, b"")


async def test_a_call_of_a_run_that_is_beginning_or_busy_is_retried() -> None:
    """A run that is just beginning, or has ten updates in flight, responds a moment later."""
    run = Run(
        [
            failure(RPCStatusCode.NOT_FOUND),
            failure(RPCStatusCode.RESOURCE_EXHAUSTED),
            "yes",
        ],
    )
    assert await run.called() == "yes"
    assert run.read_stored == [0, 1]


async def test_a_call_is_retried_after_the_server_dropped_its_registry_of_updates(
    temporal: WorkflowEnvironment,
) -> None:
    """The status is that of an unreachable server; a health check distinguishes the two."""

    async def connect() -> Client:
        return temporal.client

    dropped = RPCError("workflow update was aborted", RPCStatusCode.UNAVAILABLE, b"")
    run = Run([dropped, failure(RPCStatusCode.ABORTED), "yes"], connect=connect)
    assert await run.called() == "yes"


async def test_a_call_of_a_server_that_is_gone_is_not_retried(
    temporal: WorkflowEnvironment,
) -> None:
    """Its outcome is unknown, and the error comes within ten seconds."""
    async with relayed(temporal.client) as client:
        assert await client.service_client.check_health()

    async def connect() -> Client:
        return client

    run, started_at = Run([failure(RPCStatusCode.UNAVAILABLE)], connect=connect), time.monotonic()
    with pytest.raises(Unavailable, match="unavailable") as unavailable:
        await run.called(wait_seconds=60)
    assert time.monotonic() - started_at < 10
    assert run.calls == 1
    assert unavailable.value.outcome_unknown


async def test_the_store_answers_once_it_has_the_end() -> None:
    """REF-4, INV-7: a run that closed during the call cannot answer it."""
    closed = WorkflowUpdateFailedError(ApplicationError("the run has closed"))
    run = Run([closed], ended_after=1)
    assert await run.called() == "ended, from record 1"
    assert await run.called(record=1) == "ended, from record 1"
    assert run.calls == 1


async def test_a_refusal_by_the_workflow_reaches_the_caller() -> None:
    """QUO-5: with all details, for example `quote` with `quote_expired`."""
    refusal = Refused(ErrorCode.QUOTE_EXPIRED, "No.", quote={"amount": None})
    run = Run([WorkflowUpdateFailedError(refusal)])
    with pytest.raises(Refused) as refused:
        await run.called()
    assert refused.value.as_json() == {
        "code": "quote_expired",
        "message": "No.",
        "quote": {"amount": None},
    }


async def test_a_refusal_by_a_run_that_lags_behind_the_store_is_retried() -> None:
    """INV-11: the store decides; the run has yet to apply its decision."""
    run = Run([OUTDATED, "yes"])
    assert await run.called() == "yes"


@pytest.mark.parametrize("state", ["pending", "declined"])
async def test_a_refusal_in_the_stored_state_or_a_later_one_is_the_answer(state: str) -> None:
    """INV-10: the run may also be ahead of the store."""
    refused = Refused(ErrorCode.CONFLICT, "No.", state=state)
    run = Run([WorkflowUpdateFailedError(refused)])
    with pytest.raises(Refused):
        await run.called()
    assert run.calls == 1


@pytest.mark.parametrize(
    "answers",
    [
        [failure(RPCStatusCode.NOT_FOUND)],
        [failure(RPCStatusCode.RESOURCE_EXHAUSTED)],
        [OUTDATED],
        [
            failure(RPCStatusCode.NOT_FOUND),
            OUTDATED,
            WorkflowUpdateFailedError(ApplicationError("the run has closed")),
            asyncio.Event(),
        ],
    ],
    ids=["beginning", "busy", "outdated", "all of them, then silence"],
)
async def test_all_attempts_together_stay_within_one_wait_budget(
    answers: list[str | Exception | asyncio.Event],
) -> None:
    """The outcome is unknown after SEATFLOW_WAIT_SECONDS, whatever the reasons of the retries."""
    run, started_at = Run(answers), time.monotonic()
    with pytest.raises(Unavailable) as unavailable:
        await run.called(wait_seconds=0.5)
    assert unavailable.value.outcome_unknown
    assert 0.4 < time.monotonic() - started_at < 0.8
    assert run.calls > 3


async def test_a_budget_never_sleeps_beyond_its_end() -> None:
    """SEATFLOW_WAIT_SECONDS: the last pause is cut to the time left."""
    now = 0.0
    budget = WaitBudget(0.01, clock=lambda: now)
    started_at = time.monotonic()
    await budget.pause()
    assert time.monotonic() - started_at < 0.09
    now = 0.01
    with pytest.raises(Unavailable):
        await budget.pause()


async def test_a_workflow_that_cannot_be_replayed_is_no_traceback() -> None:
    """OPS-5: the caller gets an error without a traceback; the workflow waits for an operator."""
    run = Run([WorkflowQueryFailedError("nondeterminism")])
    with pytest.raises(Unavailable, match="cannot continue"):
        await run.called()


async def test_a_call_that_fails_otherwise_is_not_retried() -> None:
    """An error that is not transient is reported at once, with the status of the server."""
    run = Run([failure(RPCStatusCode.PERMISSION_DENIED)])
    with pytest.raises(Unavailable, match="permission_denied"):
        await run.called()
    assert run.calls == 1
