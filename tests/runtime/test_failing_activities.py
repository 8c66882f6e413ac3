"""The report of activities that have been failing for an hour (OPS-5)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from adapters.sql.problem import SqlProblems
from domain.attention import Problem
from runtime.failing_activities import REPORTED_AFTER, FailingActivities


class BrokenProblems(SqlProblems):
    """A store that is away."""

    def __init__(self) -> None:
        self.tried = 0

    async def report(self, problem: Problem) -> None:
        """Fail."""
        self.tried += 1
        raise ConnectionError("the database is away")


class Failing(ActivityInboundInterceptor):
    """An activity that fails."""

    def __init__(self) -> None:
        pass

    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        """Fail."""
        raise RuntimeError("the mail server is away")


@pytest.mark.parametrize(
    ("failing_for", "in_workflow", "tried"),
    [
        (REPORTED_AFTER, True, 1),
        (REPORTED_AFTER - timedelta(seconds=1), True, 0),
        # A letter of the outbox has its row there.
        (REPORTED_AFTER, False, 0),
    ],
)
async def test_the_failure_of_an_activity_stays_its_own(
    failing_for: timedelta, *, in_workflow: bool, tried: int
) -> None:
    """OPS-5: an error of the report does not replace it."""
    environment, problems = ActivityEnvironment(), BrokenProblems()
    environment.info = replace(
        environment.info,
        workflow_id="refund/rf-1" if in_workflow else None,
        current_attempt_scheduled_time=environment.info.scheduled_time + failing_for,
    )
    attempt = FailingActivities(problems).intercept_activity(Failing())
    call = ExecuteActivityInput(fn=print, args=(), executor=None, headers={})
    with pytest.raises(RuntimeError, match="mail server"):
        await environment.run(attempt.execute_activity, call)
    assert problems.tried == tried
