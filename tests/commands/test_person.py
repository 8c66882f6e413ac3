"""The commands for one person's data, without Temporal (OPS-9)."""

import pytest

from domain.account import Directory
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run
from tests.commands.test_remedy import STUDIO, TIA


@pytest.fixture
async def seatflow(database: Settings, run_in_process: Run) -> Run:
    """Run a command in this process, with this account in the database."""
    async with open_store(database) as store:
        await store.directory.import_(Directory.model_validate({"accounts": [STUDIO]}))
    return run_in_process


def test_a_user_is_removed_and_forgotten(seatflow: Run) -> None:
    """`forget`: `conflict` for a user; then counts by table; a repetition has none (status 0)."""
    refused = seatflow("--json", "forget", "TIA@Studio.example")
    assert (refused.status, refused.error["code"]) == (1, "conflict")
    assert seatflow("--json", "remove-user", "studio", TIA, "--delete").status == 0
    done = seatflow("--json", "forget", "TIA@Studio.example")
    assert done.document == {
        "forgotten": {"announcements": 1, "memberships": 1, "people": 1},
        "kept": {"memberships": 1, "people": 1},
    }
    again = seatflow("--json", "forget", TIA)
    assert (again.status, again.document) == (0, {"forgotten": {}, "kept": {}})
    assert seatflow("--json", "audit").status == 0
    assert seatflow("--json", "export", "--person", TIA).error["code"] == "not_found"


def test_people_read_what_was_forgotten(seatflow: Run) -> None:
    """`forget`: the output for people has the same counts."""
    seatflow("--json", "remove-user", "studio", TIA, "--delete")
    assert "memberships" in seatflow("forget", TIA).out
    assert "nothing about this person" in seatflow("forget", TIA).out


def test_an_access_request_is_answered_with_json(seatflow: Run) -> None:
    """`export --person`: all rows by table; not beside an account."""
    exported = seatflow("export", "--person", " TIA@studio.example ")
    assert isinstance(exported.document, dict)
    assert exported.document["email"] == TIA
    records = exported.document["records"]
    assert isinstance(records, dict)
    assert set(records) == {"people", "memberships"}
    refused = seatflow("--json", "export", "studio", "--person", TIA)
    assert (refused.status, refused.error["code"]) == (2, "invalid_input")


@pytest.mark.parametrize("command", [["forget"], ["export", "--person"]], ids=" ".join)
def test_an_address_that_is_none_is_refused(seatflow: Run, command: list[str]) -> None:
    """`forget`, `export --person`: a bad address is an error of the input."""
    refused = seatflow("--json", *command, "nobody")
    assert (refused.status, refused.error["code"]) == (2, "invalid_email")
