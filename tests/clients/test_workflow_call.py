"""How a running workflow is asked: who is believed, and how long is waited."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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

from clients.workflow_call import Asking
from devstack.ports import HOST
from domain.error import ErrorCode, Refused, Unavailable

Handle = WorkflowHandle[None, None]


async def not_asked() -> Client:
    return await Client.connect("nobody is asked", lazy=True)


@asynccontextmanager
async def relayed(client: Client) -> AsyncIterator[Client]:
    """Another client of the same server, which reaches it until the end of the context."""
    host, _, behind = client.service_client.config.target_host.partition(":")
    callers: list[asyncio.StreamWriter] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)
        from_server, to_server = await asyncio.open_connection(host, int(behind))
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(65536):
            writer.write(content)
        writer.close()

    async with await asyncio.start_server(relay, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield await Client.connect(f"{HOST}:{port}")
    for caller in callers:
        caller.close()


@dataclass
class Run:
    """A workflow that answers each question with the next of `answers`, and its record."""

    answers: list[str | Exception]
    ended_after: int = 1_000
    """How many times the store is read again until it knows the end."""
    asked: int = 0
    reread: list[int] = field(default_factory=list)
    connect: Callable[[], Awaitable[Client]] = not_asked

    async def answer(self, handle: Handle) -> str:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def handle(self, kept: int) -> Handle:
        return (await self.connect()).get_workflow_handle("a run")

    async def again(self, kept: int) -> int:
        self.reread.append(kept)
        return kept + 1

    async def asked_of(self, kept: int = 0, wait_seconds: float = 5) -> str:
        asking = Asking(
            connect=self.connect,
            handle=self.handle,
            reread=self.again,
            ended=lambda kept: kept >= self.ended_after,
            wait_seconds=wait_seconds,
        )
        return await asking.ask(kept, self.answer, lambda kept: f"it ended, as {kept} says")


def failure(status: RPCStatusCode) -> RPCError:
    return RPCError(status.name, status, b"")


async def test_a_run_that_is_beginning_or_busy_is_asked_again() -> None:
    run = Run(
        [
            failure(RPCStatusCode.NOT_FOUND),
            failure(RPCStatusCode.RESOURCE_EXHAUSTED),
            "yes",
        ],
    )
    assert await run.asked_of() == "yes"
    assert run.reread == [0, 1]


async def test_a_server_that_has_dropped_its_list_of_questions_is_asked_again(
    temporal: WorkflowEnvironment,
) -> None:
    """It says what somebody says who cannot be reached, and it can."""

    async def there() -> Client:
        return temporal.client

    dropped = RPCError("workflow update was aborted", RPCStatusCode.UNAVAILABLE, b"")
    run = Run([dropped, failure(RPCStatusCode.ABORTED), "yes"], connect=there)
    assert await run.asked_of() == "yes"


async def test_a_server_that_is_gone_is_not_asked_again(temporal: WorkflowEnvironment) -> None:
    """What it was asked before may have been carried out."""
    async with relayed(temporal.client) as client:
        assert await client.service_client.check_health()

    async def gone() -> Client:
        return client

    run = Run([failure(RPCStatusCode.UNAVAILABLE)], connect=gone)
    with pytest.raises(Unavailable, match="unavailable") as unavailable:
        await run.asked_of()
    assert run.asked == 1
    assert unavailable.value.outcome_unknown


async def test_the_store_answers_once_it_knows_the_end() -> None:
    """REF-4, INV-7: a run that closed under the question cannot answer it."""
    closed = WorkflowUpdateFailedError(ApplicationError("the run has closed"))
    run = Run([closed], ended_after=1)
    assert await run.asked_of() == "it ended, as 1 says"
    assert await run.asked_of(kept=1) == "it ended, as 1 says"
    assert run.asked == 1


async def test_a_refusal_of_the_workflow_is_the_answer() -> None:
    """Its details come whole: `quote` with `quote_expired`, for one."""
    said = Refused(ErrorCode.QUOTE_EXPIRED, "No.", quote={"amount": None})
    run = Run([WorkflowUpdateFailedError(said)])
    with pytest.raises(Refused) as refused:
        await run.asked_of()
    assert refused.value.as_json() == {
        "code": "quote_expired",
        "message": "No.",
        "quote": {"amount": None},
    }


async def test_patience_that_runs_out_leaves_the_outcome_unknown() -> None:
    run = Run([failure(RPCStatusCode.NOT_FOUND)])
    with pytest.raises(Unavailable) as unavailable:
        await run.asked_of(wait_seconds=0.2)
    assert unavailable.value.outcome_unknown


async def test_a_workflow_that_cannot_be_replayed_is_no_traceback() -> None:
    run = Run([WorkflowQueryFailedError("nondeterminism")])
    with pytest.raises(Unavailable, match="cannot go on"):
        await run.asked_of()


async def test_a_server_that_fails_otherwise_is_not_asked_again() -> None:
    run = Run([failure(RPCStatusCode.PERMISSION_DENIED)])
    with pytest.raises(Unavailable, match="permission_denied"):
        await run.asked_of()
    assert run.asked == 1
