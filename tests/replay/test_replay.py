"""Replay of recorded histories: workflows of an earlier release continue under this code."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from domain.assignment import AssignmentState
from domain.invitation import InvitationState
from domain.order import OrderState
from domain.refund import RefundState
from domain.reminder import ReminderRun, RemindStale
from runtime.codec import data_converter
from runtime.wiring import WORKFLOWS, workflow_runner
from tests.replay.record import BATCH, HISTORIES
from tests.replay.scenarios import ASSIGNMENTS, INVITATIONS, ORDERS, REMINDER_RUNS
from workflows.reminder import ReminderWorkflow

RECORDED = sorted(HISTORIES.glob("*/*.json"))
FIRST_OF_EACH_KIND = [
    sorted(folder.glob("*.json"))[0] for folder in sorted(HISTORIES.iterdir()) if folder.is_dir()
]


@workflow.defn(name="StaleInvitationReminders", sandboxed=False)
class ReminderWorkflowWithTimer(ReminderWorkflow):
    """The workflow with one more command."""

    @workflow.init
    def __init__(self, request: RemindStale) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: RemindStale) -> ReminderRun:
        await workflow.sleep(1)
        return await super().run(request)


def _name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


async def replay(history: WorkflowHistory) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter({}, "default"),
        workflow_runner=workflow_runner(),
    )
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("path", RECORDED, ids=_name)
async def test_a_recorded_history_replays(path: Path) -> None:
    await replay(WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", FIRST_OF_EACH_KIND, ids=_name)
async def test_a_history_with_another_activity_does_not_replay(path: Path) -> None:
    """The replay can fail: the first scheduled activity has another type."""
    history: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    scheduled = next(
        event["activityTaskScheduledEventAttributes"]
        for event in history["events"]
        if "activityTaskScheduledEventAttributes" in event
    )
    scheduled["activityType"]["name"] = "another_activity"
    with pytest.raises(NondeterminismError):
        await replay(WorkflowHistory.from_json(path.stem, history))


async def test_a_workflow_with_an_added_command_does_not_replay() -> None:
    """The replay can fail: the code sends a command that the history lacks."""
    path = HISTORIES / "reminder" / f"{next(iter(REMINDER_RUNS))}.json"
    replayer = Replayer(
        workflows=[ReminderWorkflowWithTimer], data_converter=data_converter({}, "default")
    )
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(
            WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8"))
        )


@pytest.mark.parametrize(
    ("kind", "scenarios"),
    [
        ("invitation", {*INVITATIONS}),
        ("order", {*ORDERS}),
        ("assignment", {*ASSIGNMENTS}),
        ("reminder", {*REMINDER_RUNS}),
        ("batch", {BATCH}),
    ],
)
def test_every_scenario_is_recorded_and_nothing_else(kind: str, scenarios: set[str]) -> None:
    assert {path.stem for path in RECORDED if path.parent.name == kind} == scenarios


def test_every_end_of_an_invitation_is_recorded() -> None:
    ends = {state for state in InvitationState if state.final}
    assert {state for state in ends if any(state in name for name in INVITATIONS)} == ends


def test_every_end_of_a_refund_is_recorded() -> None:
    ends = {"settled": "refunded", "converted": "refund_converted", "closed": "refund_closed"}
    assert set(ends) == {state.value for state in RefundState if state.finished}
    recorded = [path.stem for path in RECORDED if path.parent.name == "refund"]
    assert all(any(name.startswith(end) for name in recorded) for end in ends.values())


def test_every_end_of_an_order_is_recorded() -> None:
    ends = [state for state in OrderState if state.final]
    assert all(any(end in name for name in ORDERS) for end in ends)


def test_every_end_of_an_assignment_is_recorded() -> None:
    ends = {state for state in AssignmentState if not state.open}
    assert {state for state in ends if any(name.endswith(state) for name in ASSIGNMENTS)} == ends
