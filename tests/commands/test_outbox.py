"""The commands for the work that follows a commit (OPS-1)."""

from datetime import timedelta

import pytest

from domain.outbox import FollowUp
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run


@pytest.fixture
async def row(database: Settings) -> FollowUp:
    """Insert a row that was given up."""
    async with open_store(database) as store:
        await store.outbox.add_sweeps(["closed"])
        await store.outbox.add_starts(["refund/rf-1"], after=timedelta())
        leased = await store.outbox.lease(9, timedelta())
        [row] = [row for row in leased if row.workflow_id == "refund/rf-1"]
        await store.outbox.give_up(row, "It failed at once for <jane@example.com>.")
    return row


def test_a_row_is_listed_retried_and_discarded(row: FollowUp, run_in_process: Run) -> None:
    """OPS-1: without its content; a repeated search is not listed."""
    number = str(row.number)
    [listed] = _rows(run_in_process("--json", "outbox", "list").document)
    assert listed == {
        "number": row.number,
        "kind": "start",
        "workflow_id": "refund/rf-1",
        "account": "",
        "since": listed["since"],
        "attempts": 1,
        "due_at": listed["due_at"],
        "given_up": True,
        "failure": "It failed at once for <j…@example.com>.",
    }
    assert "given up" in run_in_process("outbox", "list").out
    retried = run_in_process("--json", "outbox", "retry", number)
    assert retried.document == {"retried": row.number}
    [due] = _rows(run_in_process("--json", "outbox", "list").document)
    assert due["given_up"] is False
    assert "is discarded" in run_in_process("outbox", "discard", number).out
    assert run_in_process("--json", "outbox", "list").document == {"outbox": []}
    assert "Nothing is waiting." in run_in_process("outbox", "list").out


@pytest.mark.parametrize("command", ["retry", "discard"])
def test_a_row_that_does_not_wait_is_refused(
    row: FollowUp, run_in_process: Run, command: str
) -> None:
    """OPS-1: also a repeated search, which recovery needs."""
    for number in (row.number + 1, row.number - 1):
        ran = run_in_process("--json", "outbox", command, str(number))
        assert (ran.status, ran.error["code"]) == (1, "not_found")


def _rows(document: object) -> list[dict[str, object]]:
    assert isinstance(document, dict)
    rows: list[dict[str, object]] = document["outbox"]
    return rows
