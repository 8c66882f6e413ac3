"""The commands after a restore: `setup --restored` and `reconcile`."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from devstack.ports import Ports
from domain.reconciliation import Divergence, DivergenceKind, Reconciliation
from tests.commands.conftest import Run, stub_answer
from tests.commands.stack import settings, up

LOST = Divergence.of(
    DivergenceKind.WORKFLOW_MISSING, "refund/rf-1", store="processing", elsewhere=None
)


def test_differences_are_printed_and_refused(
    run_in_process: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract, `reconcile`: the document on stdout, `invariant_broken` on stderr, status 1."""
    found = Reconciliation(checked={"workflows": 3}, divergences=(LOST,))
    stub_answer(monkeypatch, "reconciliation", found)
    ran = run_in_process("--json", "reconcile")
    assert (ran.status, ran.error["code"]) == (1, "invariant_broken")
    assert '"kind": "workflow_missing"' in ran.out
    assert '"store": "processing"' in ran.out
    assert '"elsewhere": null' in ran.out
    assert "`seatflow reconcile --fix` removes" in str(ran.error["message"])
    shown = run_in_process("reconcile").out
    assert "restart the workflow from the record" in shown


def test_without_differences_it_succeeds(
    run_in_process: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract, `reconcile --fix`: what was removed is listed, and the status is 0."""
    found = Reconciliation(checked={"workflows": 3}, divergences=(), fixed=(LOST,))
    stub_answer(monkeypatch, "reconciliation", found)
    ran = run_in_process("--json", "reconcile", "--fix")
    assert ran.status == 0
    assert ran.at("divergences") == []
    assert ran.at("fixed", 0, "subject") == "refund/rf-1"
    assert run_in_process("reconcile", "--fix").out.startswith("Removed:")


def test_a_restored_database_is_reconciled_from_the_command_line(
    run: Run, command_line: list[str], tmp_path: Path
) -> None:
    """OPS-6: the worker of a running stack waits until `reconcile` has run."""
    ports = Ports.free()
    with up(command_line, tmp_path, ports):
        own = settings(ports)
        assert run("--json", "setup", **own).at("restored") is False
        marked = run("--json", "setup", "--restored", **own)
        assert marked.at("restored") is True
        assert marks(tmp_path) == 1
        clean = run("--json", "reconcile", **own)
        assert clean.at("divergences") == []
        assert clean.at("checked", "workflows") == 0
        assert marks(tmp_path) == 0
        missing = run("--json", "reconcile", "--settled", "7", **own)
        assert (missing.status, missing.error["code"]) == (1, "not_found")


def marks(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "state" / "seatflow.db")) as database:
        [[count]] = database.execute("SELECT count(*) FROM settings WHERE key = 'restored'")
    return int(count)


@pytest.mark.usefixtures("database")
def test_a_database_is_marked_although_temporal_does_not_run(run: Run, tmp_path: Path) -> None:
    """OPS-6: the workers of `seatflow up` start together with its Temporal server."""
    ran = run("--json", "setup", "--restored")
    assert (ran.status, ran.error["code"]) == (3, "backend_unavailable")
    assert "The database is marked as restored" in str(ran.error["message"])
    assert marks(tmp_path) == 1
