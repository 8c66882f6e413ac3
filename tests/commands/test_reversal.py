"""The command for disputed payments and returned refunds (OPS-5)."""

from datetime import UTC, datetime

import pytest

from domain.account import Directory
from domain.money import of_minor_units
from domain.reversal import Dispute, ReversalStatus
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run
from tests.commands.test_money import PAULA

NOON = datetime(2026, 4, 20, 12, tzinfo=UTC)


@pytest.fixture
async def disputed(database: Settings) -> None:
    """Report a dispute about a payment of Paula."""
    async with open_store(database) as store:
        await store.directory.import_(Directory.model_validate({"accounts": [PAULA]}))
        dispute = Dispute(
            dispute_id="du_1",
            payments=("pay-1",),
            amount=of_minor_units(4500, "EUR"),
            reason="fraudulent",
            status=ReversalStatus.OPEN,
            since=NOON,
            answer_by=NOON,
            reported_at=NOON,
        )
        assert await store.reversals.report_dispute(dispute)


def test_a_closed_reversal_is_not_listed(disputed: None, run_in_process: Run) -> None:
    """OPS-5, OPS-8: the remedy of the case closes it, with a reason."""
    case = run_in_process("--json", "attention").at("attention", 0)
    assert isinstance(case, dict)
    assert case["remedy"] == "seatflow reversal close du_1 --reason TEXT"
    close = ("reversal", "close", "du_1", "--reason", "paid by bank transfer")
    assert run_in_process("--json", *close).document == {
        "reversal_id": "du_1",
        "kind": "dispute",
        "account": "paula",
        "subject": "pay-1",
        "amount": {"amount": "45.00", "currency": "EUR"},
        "reason": "fraudulent",
        "status": "open",
        "since": "2026-04-20T12:00:00Z",
        "answer_by": "2026-04-20T12:00:00Z",
        "reported_at": "2026-04-20T12:00:00Z",
    }
    listed = run_in_process("--json", "attention").at("attention")
    assert isinstance(listed, list)
    assert "payment_disputed" not in [each["kind"] for each in listed if isinstance(each, dict)]
    assert run_in_process("--json", *close).error["code"] == "conflict"


def test_closing_prints_one_line(disputed: None, run_in_process: Run) -> None:
    """OPS-5: without `--json`."""
    ran = run_in_process("reversal", "close", "du_1", "--reason", "paid")
    assert (ran.status, ran.out) == (0, "du_1 is closed.\n")


def test_a_reason_is_required(disputed: None, run_in_process: Run) -> None:
    """OPS-8: the reason of a closed case is kept."""
    for reason in ("", " \n "):
        ran = run_in_process("--json", "reversal", "close", "du_1", "--reason", reason)
        assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    ran = run_in_process("--json", "reversal", "close", "du_2", "--reason", "paid")
    assert (ran.status, ran.error["code"]) == (1, "not_found")
