"""The commands that search the store, without Temporal."""

import pytest
from pydantic import JsonValue

from domain.account import Directory
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run

OWNER = "olga@acme.example"


def account(name: str, **more: JsonValue) -> dict[str, JsonValue]:
    return {
        "id": name,
        "name": name.title(),
        "plan": "business",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "collection": "net_terms",
        **more,
    }


ACME = account(
    "acme",
    credit="5.00",
    licenses=2,
    pools=[{"capacity": 500, "bought": 1}],
    users=[
        {
            "email": OWNER,
            "name": "Olga [red]O",
            "role": "owner",
            "licensed": True,
            "addons": [{"capacity": 500}],
        },
        {"email": "mia@acme.example", "role": "member"},
    ],
    invoices=[
        {"id": "inv-1", "amount_due": "9.90", "due_on": "2026-05-01"},
        {"id": "inv-2", "amount_due": "0.10", "due_on": "2026-05-01"},
        {"id": "inv-3", "amount_due": "7.00", "due_on": "2026-05-01", "status": "paid"},
    ],
)
ZETA = account("zeta", users=[{"email": "zoe@zeta.example", "role": "owner"}])


@pytest.fixture
async def accounts(database: Settings) -> None:
    """Import two accounts into the database."""
    async with open_store(database) as store:
        await store.directory.import_(Directory.model_validate({"accounts": [ACME, ZETA]}))


@pytest.fixture
def seatflow(accounts: None, run_in_process: Run) -> Run:
    """Run a command in this process."""
    return run_in_process


def test_accounts_are_listed_page_by_page(seatflow: Run) -> None:
    """QUO-7: each account has its balance owed and its credit, which are not mixed."""
    first = seatflow("--json", "accounts", "--limit", "1")
    assert first.at("accounts", 0) == {
        "id": "acme",
        "name": "Acme",
        "plan": "business",
        "state": "open",
        "suspended": False,
        "owner": OWNER,
        "users": 2,
        "open_invitations": 0,
        "base_licenses": {"bought": 2, "free": 1},
        "balance_owed": {"amount": "10.00", "currency": "EUR"},
        "credit": {"amount": "5.00", "currency": "EUR"},
    }
    assert (first.at("total"), first.at("next_cursor")) == (2, "acme")
    second = seatflow("--json", "accounts", "--limit", "1", "--cursor", "acme")
    assert (second.at("accounts", 0, "id"), second.at("next_cursor")) == ("zeta", None)


def test_a_person_reads_the_same_accounts_and_the_next_page(seatflow: Run) -> None:
    """The table has what the JSON has."""
    shown = seatflow("accounts", "--limit", "1").out
    for part in ("acme", "Acme", "business", "open", OWNER, "2, 1 free", "10.00 EUR", "5.00 EUR"):
        assert part in shown
    assert "1 of 2 accounts. The next page: --cursor acme" in shown
    assert "No accounts found." in seatflow("accounts", "nothing").out


def test_users_are_shown_with_what_they_hold(seatflow: Run) -> None:
    """ASG-8: and a name is never markup (TXT-3)."""
    listed = seatflow("--json", "users", "acme", "OLGA")
    assert listed.at("users", 0) == {
        "email": OWNER,
        "name": "Olga [red]O",
        "role": "owner",
        "licensed": True,
        "addons": [{"sku": "large-meeting", "capacity": 500}],
        "waiting": [],
        "since": None,
    }
    shown = seatflow("users", "acme").out
    assert "Olga [red]O" in shown
    assert "Workplace, Large Meeting 500" in shown
    assert "2 of 2 users of acme." in shown


def test_a_person_is_found(seatflow: Run) -> None:
    """`find`: accounts and licenses; the address may be written in any case."""
    found = seatflow("--json", "find", "OLGA@acme.example")
    assert found.at("accounts", 0, "account") == "acme"
    assert found.at("accounts", 0, "until") is None
    assert found.at("licenses", 0, "sku") == "workplace"
    assert found.at("licenses", 1, "capacity") == 500
    assert (found.at("invitations"), found.at("refunds")) == ([], [])
    shown = seatflow("find", OWNER).out
    for part in ("acme", "Acme", "owner", "Workplace", "Large Meeting 500", "Refunds"):
        assert part in shown
    assert seatflow("find", "nobody").status == 2
    missing = seatflow("--json", "find", "olga@acme.exampel")
    assert (missing.status, missing.error["code"]) == (1, "not_found")
    assert missing.error["near_matches"] == [OWNER]


@pytest.mark.parametrize(
    "command",
    [
        ["users", "amce"],
        ["show", "amce", "jane@example.com"],
        ["list", "amce"],
        ["preview", "amce", "jane@example.com"],
        ["accept", "amce", "jane@example.com"],
        ["decline", "amce", "jane@example.com"],
        ["revoke", "amce", "jane@example.com", "--by", OWNER],
        ["resend", "amce", "jane@example.com", "--by", OWNER],
        ["recheck", "amce", "jane@example.com"],
        ["retry-move", "amce", "jane@example.com"],
        ["invite", "amce", "jane@example.com", "--by", OWNER],
        ["invite-members", "amce", "jane@example.com", "--by", OWNER],
        ["quote", "amce"],
        ["quote", "zeta", "--target", "amce"],
        ["remove-user", "amce", "jane@example.com"],
        ["remove-room", "amce", "blue"],
        ["pay-invoice", "amce", "inv-1"],
        ["reactivate", "amce"],
        ["cancel-plan", "amce"],
        ["credit", "show", "amce"],
        ["credit", "apply", "amce"],
        ["order", "list", "amce"],
        ["licenses", "amce"],
        ["assign", "amce", "workplace", OWNER, "--by", OWNER],
        ["unassign", "amce", "workplace", OWNER, "--by", OWNER],
        ["buy", "amce", "workplace", "--quantity", "1", "--cycle", "monthly", "--by", OWNER],
        ["domain", "list", "amce"],
        ["export", "amce"],
    ],
    ids=" ".join,
)
def test_a_mistyped_account_is_not_found_with_near_matches(
    seatflow: Run, command: list[str]
) -> None:
    """Every command that names an account, before it needs Temporal."""
    refused = seatflow("--json", *command)
    assert (refused.status, refused.out) == (1, "")
    assert refused.error["code"] == "not_found"
    assert refused.error["message"] == "There is no account amce. Did you mean acme?"
    assert refused.error["near_matches"] == ["acme"]


def test_the_balance_owed_is_shown_beside_the_credit(seatflow: Run) -> None:
    """QUO-7: credit is not taken off what is owed before an entry does it."""
    shown = seatflow("--json", "credit", "show", "acme")
    assert shown.at("balance") == {"amount": "5.00", "currency": "EUR"}
    assert shown.at("balance_owed") == {"amount": "10.00", "currency": "EUR"}
    printed = seatflow("credit", "show", "acme").out
    assert "credit          5.00 EUR" in printed
    assert "balance owed    10.00 EUR of open invoices" in printed
    applied = seatflow("--json", "credit", "apply", "acme")
    assert applied.at("balance_owed") == {"amount": "5.00", "currency": "EUR"}
    assert applied.at("balance") == {"amount": "0.00", "currency": "EUR"}
