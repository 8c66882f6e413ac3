"""Running workflows outlive releases: what they recorded must replay as it was."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from domain.assignment import AssignmentState
from domain.invitation import InvitationState
from domain.order import OrderState
from domain.refund import RefundState
from runtime.codec import data_converter
from runtime.wiring import WORKFLOWS, workflow_runner
from tests.replay.record import BULK, HISTORIES
from tests.replay.scenarios import ASSIGNMENTS, ORDERS, RUNS_OF_REMINDERS, SCENARIOS

RECORDED = sorted(HISTORIES.glob("*/*.json"))


@pytest.mark.parametrize("history", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_a_recorded_history_replays(history: Path) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter({}),
        workflow_runner=workflow_runner(),
    )
    recorded = WorkflowHistory.from_json(history.stem, history.read_text(encoding="utf-8"))
    await replayer.replay_workflow(recorded)


def test_every_scenario_is_recorded() -> None:
    for kind, scenarios in (("invitation", SCENARIOS), ("assignment", ASSIGNMENTS)):
        assert {path.stem for path in RECORDED if path.parent.name == kind} == set(scenarios)


def test_every_run_of_reminders_is_recorded() -> None:
    recorded = {path.stem for path in RECORDED if path.parent.name == "reminders"}
    assert recorded == set(RUNS_OF_REMINDERS)


def test_a_batch_is_recorded() -> None:
    recorded = [path.stem for path in RECORDED if path.parent.name == "bulk_invite"]
    assert recorded == [BULK]


def test_every_ending_that_can_be_reached_is_recorded() -> None:
    endings = {state for state in InvitationState if state.final}
    reached = {state for state in endings if any(state in name for name in SCENARIOS)}
    assert reached == endings


def test_every_rest_of_a_refund_is_recorded() -> None:
    ends = {"settled": "refunded", "converted": "refund_converted", "closed": "refund_closed"}
    assert set(ends) == {state.value for state in RefundState if state.finished}
    recorded = [path.stem for path in RECORDED if path.parent.name == "refund"]
    assert all(any(name.startswith(end) for name in recorded) for end in ends.values())


def test_every_life_of_an_order_is_recorded_and_every_end_reached() -> None:
    assert {path.stem for path in RECORDED if path.parent.name == "order"} == set(ORDERS)
    ends = [state for state in OrderState if state.final]
    assert all(any(end in name for name in ORDERS) for end in ends)


def test_every_state_in_which_nobody_waits_is_recorded() -> None:
    ends = {state for state in AssignmentState if not state.open}
    assert {state for state in ends if any(name.endswith(state) for name in ASSIGNMENTS)} == ends
