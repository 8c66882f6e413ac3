"""Failing activities and broken invariants, reported to the operators' list (OPS-4, OPS-5)."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from adapters.sql.problem import SqlProblems
from domain.address import mask_all
from domain.attention import AttentionKind, Problem
from domain.error import ErrorCode, Refused

REPORTED_AFTER = timedelta(hours=1)
"""Time from the first attempt until a failing activity needs an operator."""

MAX_FAILURE_LENGTH = 300

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailingActivities(Interceptor):
    """An interceptor that reports problems of the activities of workflows, until they succeed.

    A letter of the outbox is an activity without a workflow, and has its row there.
    """

    problems: SqlProblems

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Return the interceptor of each attempt."""
        return _Reported(next, self.problems)


class _Reported(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, problems: SqlProblems) -> None:
        super().__init__(next)
        self._problems = problems

    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        info = activity.info()
        if info.in_workflow and not info.is_local:
            return await self._execute(input, info)
        return await super().execute_activity(input)

    async def _execute(self, input: ExecuteActivityInput, info: activity.Info) -> object:
        try:
            return await self._execute_reported(input, info)
        except Refused as refused:
            if refused.code is ErrorCode.INVARIANT_BROKEN:
                await _recorded(self._problems.report(_broken_invariant(info, refused)))
            raise

    async def _execute_reported(self, input: ExecuteActivityInput, info: activity.Info) -> object:
        # Both are the server's times, in the clock of the workflow.
        failing_for = info.current_attempt_scheduled_time - info.scheduled_time
        if failing_for < REPORTED_AFTER:
            return await super().execute_activity(input)
        key = f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_id}"
        try:
            result: object = await super().execute_activity(input)
        except (Exception, asyncio.CancelledError) as failure:
            if reason := _reason(failure):
                message = f"{info.activity_type}: {reason}"
                problem = Problem(key=key, since=info.scheduled_time, message=message)
                await _recorded(self._problems.report(problem))
            raise
        await _recorded(self._problems.settle([key]))
        return result


def _broken_invariant(info: activity.Info, refused: Refused) -> Problem:
    return Problem(
        kind=AttentionKind.INVARIANT_BROKEN,
        key=f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_type}",
        since=datetime.now(UTC),
        message=mask_all(refused.message)[:MAX_FAILURE_LENGTH],
    )


def _reason(failure: BaseException) -> str | None:
    """Return why the attempt has failed; None if it was cancelled or its worker stops."""
    if isinstance(failure, asyncio.CancelledError):
        cancelled = activity.cancellation_details()
        return "no result in time" if cancelled and cancelled.timed_out else None
    return mask_all(str(failure))[:MAX_FAILURE_LENGTH] or type(failure).__name__


async def _recorded(change: Awaitable[None]) -> None:
    """Make the change; an error must not replace the result of the activity."""
    try:
        await change
    except Exception:
        log.exception("the problems of activities cannot be written")
