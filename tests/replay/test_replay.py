"""Running workflows outlive releases: what they recorded must replay as it was."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from domain.invitation import InvitationState
from domain.refund import RefundState
from runtime.codec import data_converter
from runtime.wiring import WORKFLOWS, workflow_runner
from tests.replay.record import BULK, HISTORIES
from tests.replay.scenarios import SCENARIOS

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
    recorded = {path.stem for path in RECORDED if path.parent.name == "invitation"}
    assert recorded == set(SCENARIOS)


def test_a_batch_is_recorded() -> None:
    recorded = [path.stem for path in RECORDED if path.parent.name == "bulk_invite"]
    assert recorded == [BULK]


def test_every_ending_that_can_be_reached_is_recorded() -> None:
    endings = {state for state in InvitationState if state.final}
    reached = {state for state in endings if any(state in name for name in SCENARIOS)}
    assert reached == endings


def test_every_rest_of_a_refund_is_recorded() -> None:
    ends = {"settled": "refunded", "converted": "refund_converted", "closed": "refund_closed"}
    assert set(ends) == {state.value for state in RefundState if state.resting}
    recorded = [path.stem for path in RECORDED if path.parent.name == "refund"]
    assert all(any(name.startswith(end) for name in recorded) for end in ends.values())
