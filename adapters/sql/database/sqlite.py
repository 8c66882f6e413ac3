"""SQLite without a detour: a thread only for what may wait.

SQLite answers in the process that asks, mostly within microseconds. Its asynchronous driver
hands every step of a statement (cursor, execute, fetch, close) to a thread and waits for it,
which costs more than the step. Two things do wait: who begins to write waits for whoever
writes, and who commits waits for the disk.
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

import aiosqlite

READ: Final = "BEGIN"
"""Begins a transaction that only reads: beside a writer it need not wait."""
WRITE: Final = "BEGIN IMMEDIATE"
"""Begins a transaction that may write, once nobody else does."""

_ROWS_AT_A_TIME: Final = 64
"""The driver's own default; it is for cursors on the server, which nothing here uses."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def open_sqlite(
    file: str, *, timeout: float, check_same_thread: bool, uri: bool = False
) -> aiosqlite.Connection:
    """A connection to `file`, once it is awaited; `timeout` is in seconds."""
    assert not check_same_thread, "two threads take turns with it"
    connection = _Connection(
        partial(sqlite3.connect, file, timeout=timeout, check_same_thread=False, uri=uri)
    )
    # Whoever ends without closing it does not wait for it.
    connection._thread.daemon = True
    return connection


class _Connection(aiosqlite.Connection):
    """Does at once what need not wait."""

    _committed = 0
    """How many changes have been committed."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, _ROWS_AT_A_TIME)
        self._in_thread = deque[object]()

    async def commit(self) -> None:
        """Commit the current transaction."""
        await super().commit()
        self._committed = self._conn.total_changes

    async def _execute(
        self,
        fn: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        if not (self._in_thread or self._may_wait(fn, *args)):
            return fn(*args, **kwargs)

        def step() -> Result:
            try:
                return fn(*args, **kwargs)
            finally:
                self._in_thread.pop()

        # Whoever is cancelled meanwhile leaves it there: what follows waits for its turn.
        self._in_thread.append(step)
        done: Result = await super()._execute(step)  # type: ignore[no-untyped-call]
        return done

    def _may_wait(self, step: Callable[..., object], *args: object) -> bool:
        connection = self._conn
        match step.__name__:
            case "cursor" | "fetchall":
                return False
            case "execute" | "executemany":
                return not (connection.in_transaction or args[0] == READ)
            case "commit":
                return connection.total_changes != self._committed
            case _:
                return step == connection.close
