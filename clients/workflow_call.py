"""How a running workflow is asked: patiently, and its end taken from the store."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from domain.error import Refused, Unavailable
from domain.model import Value

POLL = timedelta(milliseconds=100)
ANSWERS_WITHIN = timedelta(seconds=1)
"""A server that takes longer to say that it is well is not there."""

_AGAIN = frozenset(
    {
        # The run has closed or has not begun.
        RPCStatusCode.NOT_FOUND,
        # Ten others are asking.
        RPCStatusCode.RESOURCE_EXHAUSTED,
        # No worker took it up in the server's own time.
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.FAILED_PRECONDITION,
        # The server has dropped its list of those who are asking.
        RPCStatusCode.ABORTED,
    }
)

Kept = TypeVar("Kept")
Flow = TypeVar("Flow")
Result = TypeVar("Result")
Answer = TypeVar("Answer")


class Patience:
    """How long a command waits for an answer (SEATFLOW_WAIT_SECONDS)."""

    def __init__(self, seconds: float) -> None:
        """Begin to wait."""
        self._until = asyncio.get_running_loop().time() + seconds

    @property
    def left(self) -> float:
        """The seconds left; negative when it has run out."""
        return self._until - asyncio.get_running_loop().time()

    async def pause(self) -> None:
        """Wait a moment. Raises Unavailable, outcome unknown, when patience has run out."""
        if self.left <= 0:
            raise no_answer()
        await asyncio.sleep(POLL.total_seconds())


@dataclass(frozen=True)
class Asking(Generic[Kept, Flow, Result]):
    """Asks the workflow behind a record, and the store once it knows that there is no more.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    handle: Callable[[Kept], Awaitable[WorkflowHandle[Flow, Result]]]
    """The run behind a record."""
    reread: Callable[[Kept], Awaitable[Kept]]
    """The record as the store keeps it now."""
    ended: Callable[[Kept], bool]
    """Whether the store alone answers: no run will move the record any more."""
    wait_seconds: float

    async def ask(
        self,
        kept: Kept,
        question: Callable[[WorkflowHandle[Flow, Result]], Awaitable[Answer]],
        settled: Callable[[Kept], Answer],
    ) -> Answer:
        """What the workflow answers to `question`; after its end, what `settled` makes of it.

        Tries again while ten others are asking, or while a run is just beginning or ending.
        """
        patience = Patience(self.wait_seconds)
        while not self.ended(kept):
            handle = await self.handle(kept)
            try:
                async with asyncio.timeout(patience.left):
                    return await question(handle)
            except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
                raise no_answer() from None
            except WorkflowUpdateFailedError as failed:
                if isinstance(failed.cause, Refused):
                    raise failed.cause from None
                # The run closed under it: the store knows how.
            except WorkflowQueryFailedError as failed:
                raise broken() from failed
            except RPCError as failure:
                if not await passes(failure, await self.connect()):
                    raise unreachable(failure) from failure
            await patience.pause()
            kept = await self.reread(kept)
        return settled(kept)

    async def update(
        self,
        kept: Kept,
        update: UpdateMethodMultiParam[..., Answer],
        arguments: Sequence[Value],
        settled: Callable[[Kept], Answer],
    ) -> Answer:
        """As `ask`, by an update, which keeps its id: trying again never asks twice."""
        update_id = uuid.uuid4().hex

        async def updated(handle: WorkflowHandle[Flow, Result]) -> Answer:
            return await handle.execute_update(update, args=arguments, id=update_id)

        return await self.ask(kept, updated, settled)


class NoAnswer(Unavailable):
    """Patience has run out: all that is asked is there, and nobody answered in time."""


def no_answer() -> NoAnswer:
    """Nobody answered in time; the request may still be carried out."""
    return NoAnswer(
        "No worker answered in time. The request may still be carried out; repeating it is safe.",
        outcome_unknown=True,
    )


def broken() -> Unavailable:
    """A workflow did not get to an answer."""
    return Unavailable("The workflow behind it cannot go on: the Temporal UI shows why.")


def unreachable(failure: RPCError) -> Unavailable:
    """Temporal gave an answer that is none; what it was asked may still be carried out."""
    return Unavailable(
        f"Temporal does not answer: {failure.status.name.lower()}.", outcome_unknown=True
    )


@contextmanager
def asking_temporal() -> Iterator[None]:
    """What goes wrong between here and the server, as Unavailable."""
    try:
        yield
    except RPCError as failure:
        raise Unavailable(f"Temporal does not answer: {failure.message}") from failure
    except TimeoutError as failure:
        raise Unavailable("Temporal does not answer in time.") from failure


async def passes(failure: RPCError, client: Client) -> bool:
    """Whether it failed for something that passes, so that asking again may be answered."""
    if failure.status is RPCStatusCode.UNAVAILABLE:
        # Whoever cannot be reached says so, and so does a server that is there: today's ones when
        # they have dropped their list of those who are asking.
        return await _answers(client)
    return failure.status in _AGAIN


async def _answers(client: Client) -> bool:
    try:
        return await client.service_client.check_health(timeout=ANSWERS_WITHIN)
    except RPCError:
        return False
