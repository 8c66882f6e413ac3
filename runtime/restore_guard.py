"""The guard of workers: no work starts in a restored database until it is reconciled (OPS-6)."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from adapters.sql.database.transaction import DatabaseRestored, acts_for_worker
from adapters.sql.restore import SqlRestore

READ_AGAIN_AFTER: Final = timedelta(seconds=1)
"""Time for which a worker believes what it has read; `setup --restored` waits for longer."""

TRIED_AGAIN_AFTER: Final = timedelta(seconds=2)
"""Delay of an activity that is handed back."""

LOGGED_EVERY: Final = timedelta(minutes=1)

log = logging.getLogger(__name__)


@dataclass
class RestoreGuard(Interceptor):
    """Hands work back to Temporal while the database is marked as restored."""

    restore: SqlRestore
    _read_at: float = float("-inf")
    _logged_at: float = float("-inf")
    _marked: bool = False

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Return the interceptor of each attempt."""
        return _Guarded(next, self)

    async def waits(self) -> bool:
        """Return whether work must wait; log it."""
        now = time.monotonic()
        if now - self._read_at >= READ_AGAIN_AFTER.total_seconds():
            self._marked, self._read_at = await self.restore.is_marked(), now
        if self._marked and now - self._logged_at >= LOGGED_EVERY.total_seconds():
            log.warning("%s", DatabaseRestored().message)
            self._logged_at = now
        return self._marked


class _Guarded(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, guard: RestoreGuard) -> None:
        super().__init__(next)
        self._guard = guard

    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        if await self._guard.waits():
            raise handed_back()
        with as_worker():
            try:
                return await super().execute_activity(input)
            except DatabaseRestored:
                raise handed_back() from None


@contextmanager
def as_worker() -> Iterator[None]:
    """Refuse every transaction of the body that would change a restored database."""
    before = acts_for_worker.set(True)
    try:
        yield
    finally:
        acts_for_worker.reset(before)


def handed_back() -> ApplicationError:
    """Return the failure with which an activity waits."""
    return ApplicationError(
        DatabaseRestored().message,
        type="restored",
        next_retry_delay=TRIED_AGAIN_AFTER,
        # The guard has logged the reason; the SDK would log each attempt with a traceback.
        category=ApplicationErrorCategory.BENIGN,
    )
