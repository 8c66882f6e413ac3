"""The commands for assignments and licenses (ASG)."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

import starter
from domain.account import Directory, Meeting
from domain.assignment import AssignmentResult, AssignmentState
from domain.error import ErrorCode, Refused
from domain.license import LicensePool, Sku
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run, stub_answer

ANN, BOB = "ann@acme.example", "bob@acme.example"
ASSIGN = ["assign", "acme", "large-meeting", ANN, BOB, "--by", "o@acme.example"]
UNASSIGN = ["unassign", "acme", "workplace", ANN, BOB, "--by", "o@acme.example", "--cascade"]
A_MEETING = Meeting(id="m-1", topic="All hands", starts_at=datetime(2026, 12, 1, 9, tzinfo=UTC))
ACME: dict[str, JsonValue] = {
    "id": "acme",
    "name": "Acme",
    "plan": "business",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "country": "DE",
    "collection": "autopay",
    "pools": [{"sku": "large-meeting", "capacity": 500, "bought": 2}],
    "users": [
        {"email": "owner@acme.example", "role": "owner"},
        {"email": ANN, "role": "member", "licensed": True, "addons": [{"capacity": 500}]},
    ],
}


def row(email: str, state: AssignmentState, code: ErrorCode | None = None) -> AssignmentResult:
    error = Refused(code, "No.").as_json() if code else None
    return AssignmentResult(email=email, state=state, error=error)


ASSIGNED = row(ANN, AssignmentState.ASSIGNED)
A_WEBINAR = A_MEETING.model_copy(update={"id": "w-1", "topic": "Launch"})
RELEASED = AssignmentResult(
    email=ANN, state=AssignmentState.RELEASED, meetings=(A_MEETING,), webinars=(A_WEBINAR,)
)
WAITING = row(BOB, AssignmentState.WAITING, ErrorCode.INSUFFICIENT_LICENSES)
REFUSED = row(BOB, AssignmentState.REFUSED, ErrorCode.NOT_FOUND)
REFUSED_TOO = row(ANN, AssignmentState.REFUSED, ErrorCode.BASE_LICENSE_REQUIRED)


@pytest.mark.parametrize(
    ("arguments", "results", "status"),
    [
        (ASSIGN, [ASSIGNED, REFUSED], 0),
        (ASSIGN, [REFUSED_TOO, WAITING], 0),
        (ASSIGN, [REFUSED_TOO, REFUSED], 1),
        (UNASSIGN, [RELEASED, REFUSED], 0),
        (UNASSIGN, [REFUSED_TOO, REFUSED], 1),
    ],
)
def test_the_status_is_1_only_when_all_were_refused_and_every_row_is_printed(
    arguments: list[str],
    results: list[AssignmentResult],
    status: int,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ASG-5: waiting is no refusal; the first row's error is on stderr as well."""
    stub_answer(monkeypatch, "assignment", results)
    assert starter.run(["--json", *arguments]) == status
    out, err = capfd.readouterr()
    printed = json.loads(out)["results"]
    assert [each["state"] for each in printed] == [result.state for result in results]
    assert json.loads(err)["error"] == results[0].error if status else err == ""


def test_a_row_has_the_members_of_the_contract(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASG-5: the result of each user has `email`, `state`, `capacity` and `error`."""
    stub_answer(monkeypatch, "assignment", [ASSIGNED, WAITING])
    starter.run(["--json", *ASSIGN])
    out, _ = capfd.readouterr()
    assert json.loads(out)["results"] == [
        {"email": ANN, "state": "assigned", "capacity": None, "error": None},
        {
            "email": BOB,
            "state": "waiting",
            "capacity": None,
            "error": {"code": "insufficient_licenses", "message": "No."},
        },
    ]


def test_affected_meetings_and_webinars_are_listed_in_both_forms(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASG-7, ASG-8: a cascade lists what it affects by kind, in the table and in JSON."""
    stub_answer(monkeypatch, "assignment", [RELEASED])
    starter.run(UNASSIGN)
    out = " ".join(capfd.readouterr().out.split())
    assert "meeting All hands" in out
    assert "webinar Launch" in out
    starter.run(["--json", *UNASSIGN])
    [printed] = json.loads(capfd.readouterr().out)["results"]
    assert (printed["meetings"][0]["id"], printed["webinars"][0]["id"]) == ("m-1", "w-1")


def test_a_person_reads_the_number_of_assigned_and_of_waiting_users(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASG-5: the table ends with the number of users in each state."""
    stub_answer(monkeypatch, "assignment", [ASSIGNED, WAITING])
    starter.run(ASSIGN)
    out, _ = capfd.readouterr()
    assert out.index(ANN) < out.index(BOB) < out.index("2 users: 1 assigned, 1 waiting.")
    assert "affected" not in out


def test_pools_are_shown_with_their_holders_and_waiting_users(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASG-5: `licenses` shows the holders of a pool, then the users that wait for a license."""
    pool = LicensePool(
        sku=Sku.LARGE_MEETING,
        capacity=500,
        bought=3,
        assigned=1,
        reserved=0,
        free=2,
        holders=(ANN,),
        waiting=(BOB,),
    )
    stub_answer(monkeypatch, "license", [pool])
    starter.run(["licenses", "acme"])
    out, _ = capfd.readouterr()
    assert "large-meeting 500" in out
    assert out.index(ANN) < out.index(BOB)


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ([*ASSIGN, "--capacity", "1.5"], "invalid_capacity", 1),
        (["assign", "acme", "phone", ANN, "--by", "o@acme.example"], "invalid_input", 2),
        (["assign", "acme", "workplace", "--by", "o@acme.example"], "invalid_input", 2),
        (["assign", "acme", "workplace", ANN], "invalid_input", 2),
    ],
)
def test_bad_arguments_are_errors(
    arguments: list[str], code: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """ADD-1, ASG-5: an invalid capacity is refused; a missing argument is bad usage."""
    assert starter.run(["--json", *arguments]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == code


@pytest.fixture
async def stocked(database: Settings) -> None:
    async with open_store(database) as store:
        await store.directory.import_(Directory.model_validate({"accounts": [ACME]}))


@pytest.mark.usefixtures("stocked")
def test_reads_and_refusals_need_no_temporal(run: Run) -> None:
    """ASG-5: a caller who is not authorized at all gets an error and no rows."""
    ran = run("--json", "licenses", "acme")
    assert ran.at("pools", 1) == {
        "sku": "large-meeting",
        "capacity": 500,
        "bought": 2,
        "assigned": 1,
        "reserved": 0,
        "free": 1,
        "holders": [ANN],
        "waiting": [],
    }
    for command in ("assign", "unassign"):
        refused = run("--json", command, "acme", "large-meeting", ANN, "--by", ANN)
        assert (refused.status, refused.out) == (1, "")
        assert refused.error["code"] == "not_authorized"


@pytest.mark.usefixtures("stocked")
def test_no_license_is_unassigned_while_temporal_is_unreachable(run: Run) -> None:
    """`unassign`: status 3, and the license stays assigned."""
    ran = run("--json", "unassign", "acme", "large-meeting", ANN, "--by", "owner@acme.example")
    assert (ran.status, ran.error["code"]) == (3, "backend_unavailable")
    assert run("--json", "licenses", "acme").at("pools", 1, "holders") == [ANN]
