"""The report of activities that have been failing for an hour (OPS-5)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from adapters.sql.problem import SqlProblems
from domain.attention import Problem
from runtime.failing_activities import REPORTED_AFTER, FailingActivities

Attempt = Callable[[Callable[[], Awaitable[None]]], Awaitable[object]]


class BrokenProblems(SqlProblems):
    """A store that is away."""

    def __init__(self) -> None:
        self.reported: list[str] = []

    async def report(self, problem: Problem) -> None:
        """Fail."""
        self.reported.append(problem.message)
        raise ConnectionError("the database is away")


class Call(ActivityInboundInterceptor):
    """The innermost interceptor, which calls the activity."""

    def __init__(self) -> None:
        pass

    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        """Call the activity."""
        return await input.fn(*input.args)


async def fail() -> None:
    raise RuntimeError("the mail server is away")


def an_attempt(environment: ActivityEnvironment, problems: SqlProblems) -> Attempt:
    """Return the call of an activity of a workflow that has been failing for an hour."""
    environment.info = replace(
        environment.info,
        workflow_id="refund/rf-1",
        current_attempt_scheduled_time=environment.info.scheduled_time + REPORTED_AFTER,
    )
    attempt = FailingActivities(problems).intercept_activity(Call())

    async def call(activity: Callable[[], Awaitable[None]]) -> object:
        return await environment.run(
            attempt.execute_activity,
            ExecuteActivityInput(fn=activity, args=(), executor=None, headers={}),
        )

    return call


async def test_an_error_of_the_report_does_not_replace_the_failure() -> None:
    """OPS-5: the activity fails with its own error."""
    environment, problems = ActivityEnvironment(), BrokenProblems()
    with pytest.raises(RuntimeError, match="mail server"):
        await an_attempt(environment, problems)(fail)
    assert problems.reported == ["unknown: the mail server is away"]


async def test_a_first_hour_and_a_letter_without_a_workflow_are_not_reported() -> None:
    """OPS-5: a letter of the outbox has its row there."""
    environment, problems = ActivityEnvironment(), BrokenProblems()
    attempt, info = an_attempt(environment, problems), environment.info
    recent = info.current_attempt_scheduled_time - timedelta(seconds=1)
    for changed in (
        replace(info, current_attempt_scheduled_time=recent),
        replace(info, workflow_id=None),
    ):
        environment.info = changed
        with pytest.raises(RuntimeError, match="mail server"):
            await attempt(fail)
    assert problems.reported == []


@pytest.mark.parametrize(
    ("details", "reported"),
    [
        (ActivityCancellationDetails(timed_out=True), ["unknown: no result in time"]),
        (ActivityCancellationDetails(worker_shutdown=True), []),
    ],
    ids=["timed out", "worker stops"],
)
async def test_an_attempt_without_a_result_in_time_is_reported(
    details: ActivityCancellationDetails, reported: list[str]
) -> None:
    """OPS-5: one that ends because its worker stops is no failure."""
    environment, problems = ActivityEnvironment(), BrokenProblems()
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    attempt = asyncio.ensure_future(an_attempt(environment, problems)(hang))
    await began.wait()
    environment.cancel(details)
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert problems.reported == reported
