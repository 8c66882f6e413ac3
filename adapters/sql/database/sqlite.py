"""SQLite connections that use their thread only for steps that may block.

SQLite runs in this process, and most steps of a statement (cursor, execute, fetch, close) take
microseconds. aiosqlite sends every step to a thread and waits for the result, which costs more
than the step. Two steps may block: the start of a write waits for the current writer, and a commit
waits for the disk.

This module overrides `aiosqlite.Connection._execute`, a private method. `docs/performance.md`
states what that saves. To do without, remove `async_creator_fn` in `engine.py`.
"""

import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

import aiosqlite

READ: Final = "BEGIN"
"""The start of a transaction that only reads: it never waits for a writer."""
WRITE: Final = "BEGIN IMMEDIATE"
"""The start of a transaction that may write: it waits until no other one does."""

_FETCH_SIZE: Final = 64
"""The driver's default, for cursors on a server; they are not used here."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def open_sqlite(
    file: str, *, timeout: float, check_same_thread: bool, uri: bool = False
) -> aiosqlite.Connection:
    """Return a connection to `file` that opens when it is awaited; `timeout` is in seconds."""
    assert not check_same_thread, "the event loop and the thread both use the connection"
    connection = _Connection(
        partial(sqlite3.connect, file, timeout=timeout, check_same_thread=False, uri=uri)
    )
    # A process that ends without closing the connection does not wait for its thread.
    connection._thread.daemon = True
    return connection


class _Connection(aiosqlite.Connection):
    """A connection that runs steps on the event loop unless they may block."""

    _committed_changes = 0
    """The connection's number of changes at the last commit."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, _FETCH_SIZE)
        self._in_thread = deque[object]()

    async def commit(self) -> None:
        """Commit the current transaction."""
        await super().commit()
        self._committed_changes = self._conn.total_changes

    async def _execute(
        self,
        fn: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        if not (self._in_thread or self._may_block(fn, *args)):
            return fn(*args, **kwargs)

        def step() -> Result:
            try:
                return fn(*args, **kwargs)
            finally:
                self._in_thread.pop()

        run_in_thread: Callable[[Callable[[], Result]], Awaitable[Result]] = super()._execute
        # A step whose caller is cancelled goes on in the thread; later steps queue behind it.
        self._in_thread.append(step)
        return await run_in_thread(step)

    def _may_block(self, step: Callable[..., object], *args: object) -> bool:
        connection = self._conn
        match step.__name__:
            case "cursor" | "fetchall":
                return False
            case "execute" | "executemany":
                return not (connection.in_transaction or args[0] == READ)
            case "commit":
                return connection.total_changes != self._committed_changes
            case _:
                return step == connection.close
