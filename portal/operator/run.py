"""Long work of operators: a page that grows while the work runs.

The page is sent in parts: its beginning, a line for each step of the progress, and the result. It
works without scripts, and any number of portals run side by side, because nothing is kept.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from starlette.responses import Response, StreamingResponse

from domain.error import ErrorCode, Refused, Unavailable

PROGRESS_EVERY: Final = 1.0
"""Seconds between two lines of progress."""

FIRST_WAIT: Final = 1.0
"""Seconds in which a failure is answered with a status of its own."""

MARK: Final = "<!-- run -->"
"""The place in a page where the lines of progress and the result follow."""

HEADERS: Final = {"X-Accel-Buffering": "no"}
"""Proxies pass each part on at once."""

Result = TypeVar("Result")
Work = Callable[[Callable[[int, int], None]], Awaitable[Result]]

log = logging.getLogger(__name__)

_carried_on: set[asyncio.Task[object]] = set()
"""Work that goes on when its reader has left; the event loop keeps weak references alone."""


@dataclass
class Run(Generic[Result]):
    """Work in progress."""

    work: Work[Result]
    carry_on: bool = False
    """True for work that must not stop halfway when its reader leaves."""
    done: int = 0
    total: int = 0
    _task: asyncio.Task[Result] | None = field(default=None, init=False)

    async def begin(self) -> None:
        """Begin the work. Raises `Refused(backend_unavailable)` if it fails at once."""
        self._task = task = asyncio.create_task(self._carried_out())
        if self.carry_on:
            _carried_on.add(task)
            task.add_done_callback(_carried_on.discard)
        try:
            await asyncio.wait({task}, timeout=FIRST_WAIT)
        except asyncio.CancelledError:
            self._leave(task)
            raise
        if task.done() and isinstance(failure := task.exception(), Unavailable):
            raise Refused(ErrorCode.BACKEND_UNAVAILABLE, failure.message) from failure

    async def _carried_out(self) -> Result:
        return await self.work(self._watch)

    def _watch(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def response(
        self,
        page: str,
        line: Callable[[int, int], str],
        result: Callable[[Result | None], str],
    ) -> Response:
        """Return the growing page; `result` renders None for work that failed."""
        assert self._task, "begun"
        head, _, tail = page.partition(MARK)
        parts = self._parts(self._task, head, tail, line, result)
        return StreamingResponse(parts, media_type="text/html", headers=HEADERS)

    async def _parts(
        self,
        task: "asyncio.Task[Result]",
        head: str,
        tail: str,
        line: Callable[[int, int], str],
        result: Callable[[Result | None], str],
    ) -> AsyncIterator[str]:
        try:
            yield head
            while not task.done():
                yield line(self.done, self.total)
                await asyncio.wait({task}, timeout=PROGRESS_EVERY)
            yield result(_result_of(task))
            yield tail
        finally:
            self._leave(task)

    def _leave(self, task: "asyncio.Task[Result]") -> None:
        """Stop work that nobody waits for, unless it must not stop halfway."""
        if not self.carry_on:
            task.cancel()


def _result_of(task: "asyncio.Task[Result]") -> Result | None:
    with suppress(asyncio.CancelledError):
        failure = task.exception()
        if failure is None:
            return task.result()
        log.error("an operator's run failed", exc_info=failure)
    return None
