"""The commands for remedies, without Temporal."""

import os
import pty
import sys

import pytest
from pydantic import JsonValue

from domain.account import Directory
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import UNREACHABLE, Run

TIA = "tia@studio.example"
STUDIO: dict[str, JsonValue] = {
    "id": "studio",
    "name": "Studio",
    "plan": "pro",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "country": "DE",
    "collection": "autopay",
    "payment_methods": [{"id": "card-1", "kind": "card", "declines": 1}],
    "users": [
        {"email": "paula@studio.example", "role": "owner"},
        {"email": "sam@studio.example", "role": "member"},
        {"email": TIA, "role": "member"},
    ],
    "rooms": [{"id": "blue"}],
    "subscriptions": [
        {
            "id": "sub-1",
            "product": "Pro",
            "kind": "plan",
            "quantity": 1,
            "cycle": "monthly",
            "period_start": "2026-04-01",
            "period_end": "2026-05-01",
            "payments": [],
        }
    ],
    "invoices": [{"id": "inv-7", "amount_due": "9.90", "due_on": "2026-05-01"}],
}


@pytest.fixture
async def studio(database: Settings) -> None:
    """Import this account into the database."""
    async with open_store(database) as store:
        await store.directory.import_(Directory.model_validate({"accounts": [STUDIO]}))


@pytest.fixture
def seatflow(studio: None, run_in_process: Run) -> Run:
    """Run a command in this process."""
    return run_in_process


def test_each_remedy_prints_its_changes_and_repeats_without_a_change(seatflow: Run) -> None:
    """BLK-1, BLK-2, BLK-3: a repeated remedy succeeds and lists no change (status 0)."""
    assert seatflow("--json", "pay-invoice", "studio", "inv-7").error["code"] == "payment_declined"
    for command, change in (
        (["remove-user", "studio", "TIA@studio.example", "--delete"], ("user", TIA)),
        (["pay-invoice", "studio", "inv-7"], ("invoice", "inv-7")),
        (["cancel-plan", "studio"], ("subscription", "sub-1")),
        (["reactivate", "studio"], ("subscription", "sub-1")),
    ):
        kind, name = change
        first, repeated = seatflow("--json", *command), seatflow("--json", *command)
        assert first.document == {
            "account": "studio",
            "changed": [{"kind": kind, "id": name, "to": None}],
        }
        assert (repeated.status, repeated.document) == (0, {"account": "studio", "changed": []})
    removed = seatflow("--json", "remove-room", "studio", "blue")
    assert removed.at("changed", 0, "id") == "blue"
    assert (seatflow("--json", "audit")).at("violations") == []


AT_STRIPE = {
    "SEATFLOW_BILLING": "stripe",
    "STRIPE_API_KEY": "sk_test_seatflow",
    "SEATFLOW_STRIPE_API_BASE": f"http://{UNREACHABLE}",
}


async def test_an_unreachable_provider_is_no_payment(
    studio: None, database: Settings, run: Run
) -> None:
    """BLK-2: status 3, and nothing is written; without a customer there, status 1."""
    command = ("--json", "pay-invoice", "studio", "inv-7")
    declined = run(*command, **AT_STRIPE)
    assert (declined.status, declined.error["code"]) == (1, "payment_declined")
    async with open_store(database) as store:
        known = STUDIO | {"billing_customer": "cus_1"}
        await store.directory.import_(Directory.model_validate({"accounts": [known]}))
    before = run("export").document
    unreachable = run(*command, **AT_STRIPE)
    assert (unreachable.status, unreachable.out) == (3, "")
    assert unreachable.error["code"] == "backend_unavailable"
    assert run("export").document == before
    assert run(*command, "--paid-outside", "wire 77", **AT_STRIPE).status == 0


def test_an_operator_records_a_payment_made_elsewhere(seatflow: Run) -> None:
    """BLK-2: no method is charged."""
    command = ("--json", "pay-invoice", "studio", "inv-7", "--paid-outside")
    refused = seatflow(*command, " ")
    assert (refused.status, refused.error["code"]) == (2, "invalid_input")
    changed = [{"kind": "invoice", "id": "inv-7", "to": None}]
    assert seatflow(*command, "wire 77").at("changed") == changed
    assert seatflow(*command, "wire 77").at("changed") == []
    exported = seatflow("export", "studio")
    assert exported.at("accounts", 0, "invoices", 0, "status") == "paid"
    assert exported.at("accounts", 0, "payment_methods", 0, "declines") == 1
    assert seatflow("--json", "audit").at("violations") == []


def test_an_unlinked_user_is_found_on_the_account_that_is_named(seatflow: Run) -> None:
    """BLK-1: an unlinked user gets an account of their own, named in `changed`."""
    ran = seatflow("--json", "remove-user", "studio", "sam@studio.example")
    own = str(ran.at("changed", 0, "to"))
    exported = seatflow("export", own)
    assert exported.at("accounts", 0, "users", 0, "email") == "sam@studio.example"


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["remove-user", "studio", "paula@studio.example"], "conflict", 1),
        (["remove-user", "studio", "nobody@studio.example"], "not_found", 1),
        (["remove-user", "studio", "nobody"], "invalid_email", 2),
        (["remove-room", "studio", "red"], "not_found", 1),
        (["pay-invoice", "studio", "inv-8"], "not_found", 1),
        (["reactivate", "nowhere"], "not_found", 1),
        (["cancel-plan", "nowhere"], "not_found", 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_refused_remedy_is_one_error(
    seatflow: Run, arguments: list[str], code: str, status: int
) -> None:
    """BLK-1, BLK-2, BLK-3: a remedy that does not apply is refused with its code."""
    ran = seatflow("--json", *arguments)
    assert (ran.status, ran.out, ran.error["code"]) == (status, "", code)


def test_a_person_reads_the_changes_of_a_remedy(seatflow: Run) -> None:
    """BLK-1: the table names the unlinked user and their new account."""
    ran = seatflow("remove-user", "studio", "sam@studio.example", "--unlink")
    assert ran.err == ""
    assert "sam@studio.example" in ran.out
    assert "personal-" in ran.out
    assert "No change was needed." in seatflow("reactivate", "studio").out


@pytest.mark.parametrize(
    ("answer", "options", "deleted"),
    [
        ("n\n", ["--delete"], False),
        ("\n", ["--delete"], False),
        ("\x04", ["--delete"], False),
        ("y\n", ["--delete"], True),
        ("", ["--delete", "--yes"], True),
        ("", ["--unlink"], True),
    ],
)
def test_a_deletion_is_confirmed_on_a_terminal(
    studio: None, run_in_process: Run, answer: str, options: list[str], deleted: bool
) -> None:
    """BLK-1: only a yes deletes; anything else changes nothing (status 1)."""
    ours, terminal = pty.openpty()
    os.write(ours, answer.encode())
    with os.fdopen(terminal) as stdin, pytest.MonkeyPatch.context() as process:
        process.setattr(sys, "stdin", stdin)
        ran = run_in_process("remove-user", "studio", TIA, *options)
    os.close(ours)
    assert ran.status == (0 if deleted else 1)
    assert ("Delete tia@studio.example from studio" in ran.err) == (options == ["--delete"])
    if not deleted:
        assert "Not confirmed; nothing was changed." in ran.err
    left = run_in_process("--json", "users", "studio", "tia").at("total")
    assert left == (0 if deleted else 1)
