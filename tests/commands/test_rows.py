"""The rows, the errors and the status of commands over many people."""

import json

import pytest

import starter
from domain.audit import AuditReport, Violation
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, InviteResult, License
from tests.commands.conftest import stub_answer

INVITE = ["--json", "invite", "acme", "a@example.com", "b@example.com", "--by", "o@acme.example"]


def refused(email: str, code: ErrorCode) -> InviteResult:
    return InviteResult(email=email, result="refused", error=Refused(code, "No.").as_json())


def invited(email: str) -> InviteResult:
    invitation = Invitation(
        workflow_id="invitation/acme/key",
        run_id="run",
        account="acme",
        email=email,
        state=InvitationState.SENT,
        license=License.BASIC,
        invited_by="owner@acme.example",
    )
    return InviteResult(email=email, result="invited", invitation=invitation)


def test_one_row_done_is_status_0_and_a_refused_row_keeps_its_members_null(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-2: a bad row does not affect the others."""
    rows = [refused("a@example.com", ErrorCode.NO_SEATS), invited("b@example.com")]
    stub_answer(monkeypatch, "invitation", rows)
    assert starter.run(INVITE) == 0
    out, err = capfd.readouterr()
    assert err == ""
    bad, good = json.loads(out)["invitations"]
    assert good["error"] is None
    assert set(bad) == set(good)
    assert {name: value for name, value in bad.items() if value is not None} == {
        "email": "a@example.com",
        "result": "refused",
        "error": {"code": "no_seats", "message": "No."},
    }


def test_all_rows_refused_is_status_1_with_the_first_error_on_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-2: every row still has its own result on stdout."""
    rows = [
        refused("a@example.com", ErrorCode.INVALID_EMAIL),
        refused("b@example.com", ErrorCode.NO_SEATS),
    ]
    stub_answer(monkeypatch, "invitation", rows)
    assert starter.run(INVITE) == 1
    out, err = capfd.readouterr()
    assert [row["result"] for row in json.loads(out)["invitations"]] == ["refused", "refused"]
    assert json.loads(err)["error"]["code"] == "invalid_email"


@pytest.mark.parametrize("arguments", [INVITE, INVITE[1:]], ids=["json", "table"])
def test_rows_are_shown_in_both_forms(
    arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-2: every row is printed in the order given; an address is never markup."""
    rows = [refused("[red]a@example.com", ErrorCode.NO_SEATS), invited("b@example.com")]
    stub_answer(monkeypatch, "invitation", rows)
    assert starter.run(arguments) == 0
    out, _ = capfd.readouterr()
    assert out.index("[red]a@example.com") < out.index("b@example.com")


def test_a_broken_invariant_is_status_1_and_still_a_report(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUD: the report is on stdout, the error on stderr."""
    violation = Violation(rule="INV-11", subject="acme", message="No membership.")
    report = AuditReport(checked={"accounts": 1}, violations=(violation,))
    stub_answer(monkeypatch, "account", report)
    assert starter.run(["--json", "audit"]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out) == report.model_dump(mode="json")
    assert json.loads(err)["error"]["code"] == "invariant_broken"
