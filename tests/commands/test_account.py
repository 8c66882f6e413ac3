"""The import and export of accounts, without Temporal."""

import json
from pathlib import Path

import pytest
from pydantic import JsonValue

from commands.account import LARGEST_FILE
from commands.import_file import LARGEST_ACCOUNT
from tests.commands.conftest import Run

pytestmark = pytest.mark.usefixtures("database")


def account(**members: JsonValue) -> dict[str, JsonValue]:
    return {
        "id": "acme",
        "name": "Acme",
        "plan": "business",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "collection": "autopay",
        "users": [{"email": "owner@acme.example", "role": "owner"}],
        **members,
    }


def mistakes(error: dict[str, JsonValue]) -> dict[str, str]:
    listed = error["mistakes"]
    assert isinstance(listed, list)
    return {str(each["path"]): str(each["reason"]) for each in listed if isinstance(each, dict)}


def test_an_export_imports_to_the_same_export(run: Run, tmp_path: Path) -> None:
    """`import`, `export`: importing an export gives the same export."""
    imported = run("--json", "import", "-", stdin=json.dumps({"accounts": [account()]}))
    assert imported.document == {"accounts": ["acme"]}
    first = run("export")
    (tmp_path / "export.json").write_text(first.out, encoding="utf-8")
    assert run("--json", "import", "export.json").status == 0
    assert run("export", "acme").document == first.document


def test_every_mistake_of_a_file_has_its_path_and_reason(run: Run) -> None:
    """`import`: all or nothing; a bad file is refused with the path and reason of every error."""
    users: JsonValue = [
        {"email": "owner@acme.example", "role": "owner"},
        {"email": "nobody", "role": "king"},
    ]
    bad = account(id="ACME", users=users, colour="red", invoices=[{"id": "i", "amount_due": "x"}])
    del bad["country"]
    catalog = {"workplace": "free", "large-meeting": {"750": "60.00"}, "webinar": "9.00"}
    ran = run("--json", "import", "-", stdin=json.dumps({"catalog": catalog, "accounts": [bad]}))
    assert (ran.status, ran.out, ran.error["code"]) == (2, "", "invalid_input")
    assert set(mistakes(ran.error)) == {
        "catalog.workplace",
        "catalog.large-meeting.750",
        "catalog.webinar",
        "accounts[0].id",
        "accounts[0].country",
        "accounts[0].colour",
        "accounts[0].users[1].email",
        "accounts[0].users[1].role",
        "accounts[0].invoices[0].amount_due",
        "accounts[0].invoices[0].due_on",
    }
    assert run("export").document == {"catalog": None, "accounts": []}


def test_mistakes_of_all_kinds_are_reported_together(run: Run) -> None:
    """`import`: mistakes in fields, within an account, between accounts, and against the store."""
    run("--json", "import", "-", stdin=json.dumps({"accounts": [account()]}))
    users: list[JsonValue] = [
        {"email": "nobody", "role": "owner"},
        {"email": "owner@acme.example", "role": "owner", "licensed": True},
        {"email": "ann@globex.example", "role": "member", "licensed": True},
        {"email": "ann@globex.example", "role": "member"},
    ]
    period: dict[str, JsonValue] = {"period_start": "2026-12-01", "period_end": "2026-11-01"}
    line: JsonValue = {
        "id": "s",
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cycle": "monthly",
        "payments": [],
        **period,
    }
    bad = account(
        id="globex",
        users=users,
        licenses=1,
        subscriptions=[line],
        currency="XYZ",
        managed_domains=["no domain", "gmail.com"],
    )
    other = account(id="other", country="XX", users=users[2:3], suspended="perhaps")
    ran = run("--json", "import", "-", stdin=json.dumps({"accounts": [bad, "none", other]}))
    assert (ran.status, ran.out, ran.error["code"]) == (2, "", "invalid_input")
    listed = ran.error["mistakes"]
    assert isinstance(listed, list)
    assert [each["path"] for each in listed if isinstance(each, dict)] == [
        "accounts[0].currency",
        "accounts[0].managed_domains[0]",
        "accounts[0].users[0].email",
        "accounts[1]",
        "accounts[2].country",
        "accounts[2].suspended",
        "accounts[0]",
        "accounts[0]",
        "accounts[0]",
        "$",
        "accounts[0].users[1].email",
        "accounts[0].managed_domains[1]",
        "accounts[2].users",
    ]
    assert {str(each["reason"]) for each in listed[6:] if isinstance(each, dict)} == {
        "user ann@globex.example is listed twice",
        "the period of subscription s ends before it starts",
        "licenses is 1, but 2 users are licensed",
        "user on more than one account ann@globex.example is listed twice",
        "owner@acme.example is a user of another account",
        "gmail.com belongs to a public mail service",
        "an account with users has one owner; none would be left",
    }
    assert run("export").at("accounts", 0, "id") == "acme"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("period_start", "0001-01-01"),
        ("period_end", "9999-12-31T23:59:59-05:00"),
        ("cancellation_pending", "no"),
    ],
)
def test_an_invalid_value_of_a_subscription_is_a_mistake(run: Run, member: str, value: str) -> None:
    """Import file: a date outside the calendar, or a flag that is text, is named by its path."""
    line: dict[str, JsonValue] = {
        "id": "s",
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cycle": "monthly",
        "period_start": "2026-01-01",
        "period_end": "2026-02-01",
        "payments": [],
        member: value,
    }
    document: JsonValue = {"accounts": [account(subscriptions=[line], time_zone="Europe/Berlin")]}
    ran = run("--json", "import", "-", stdin=json.dumps(document))
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    assert f"accounts[0].subscriptions[0].{member}" in mistakes(ran.error)


def test_a_malformed_file_is_reported_without_the_store(run: Run) -> None:
    """`import`: the form of a file is checked before the database is opened."""
    nowhere = "postgresql+asyncpg://127.0.0.1:1/none"
    ran = run("--json", "import", "-", stdin="{}", SEATFLOW_DATABASE_URL=nowhere)
    assert (ran.status, set(mistakes(ran.error))) == (2, {"accounts"})


def test_an_invalid_date_is_one_mistake(run: Run) -> None:
    """Import file: an unreadable `period_start` is not reported as an inverted period, too."""
    line: JsonValue = {
        "id": "s",
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cycle": "monthly",
        "period_start": "soon",
        "period_end": "2026-12-01",
        "payments": [],
    }
    document = {"accounts": [account(subscriptions=[line])]}
    ran = run("--json", "import", "-", stdin=json.dumps(document))
    assert list(mistakes(ran.error)) == ["accounts[0].subscriptions[0].period_start"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[",
        '{"accounts": [NaN]}',
        "\x00",
        "[" * 100_000,
    ],
)
def test_invalid_json_is_reported_with_its_place(run: Run, text: str) -> None:
    """`import`: text that is no JSON is bad input (status 2)."""
    ran = run("--json", "import", "-", stdin=text)
    assert (ran.status, ran.out) == (2, "")
    assert mistakes(ran.error)["-"].startswith("not JSON: ")


def test_repeated_names_are_reported_with_all_other_errors(run: Run) -> None:
    """`import`: the lost value of a repeated name is one error of many, and each is listed once."""
    text = json.dumps({"accounts": [account(currency="XXQ"), {}]})
    text = text.replace("[", '[], "x": 1, "x": 2, "accounts": [', 1)
    text = text.replace("{}", '{"id": "b", "id": "b", "id": "c"}')
    ran = run("--json", "import", "-", stdin=text)
    listed = ran.error["mistakes"]
    assert isinstance(listed, list)
    found = [(each["path"], each["reason"]) for each in listed if isinstance(each, dict)]
    assert len(set(found)) == len(found)
    assert found[:3] == [
        ("$", "'accounts' is named twice in one object"),
        ("$", "'x' is named twice in one object"),
        ("accounts[1]", "'id' is named twice in one object"),
    ]
    assert {"accounts[0].currency", "accounts[1].plan", "x"} <= {path for path, _ in found}


def test_a_file_that_is_too_large_is_refused_with_the_limit(run: Run, tmp_path: Path) -> None:
    """`import`: the error names the largest size; nothing is read."""
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    ran = run("--json", "import", "big.json")
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    assert mistakes(ran.error) == {
        "big.json": "more than 1024 MiB, the largest file that can be read; split it"
    }


def test_an_account_that_is_too_large_is_refused_with_the_limit(run: Run) -> None:
    """`import`: the error names the account, and the size of the largest one."""
    large = account(locked_settings={"x": "y" * LARGEST_ACCOUNT})
    ran = run("--json", "import", "-", stdin=json.dumps({"accounts": [account(), large]}))
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    assert mistakes(ran.error) == {
        "accounts[1]": "more than 32 MiB, the largest account that can be read"
    }


def test_errors_in_different_groups_are_reported_together(run: Run) -> None:
    """`import`: a file that is not read at once has all its errors in one answer, and no effect."""
    known = account(users=[{"email": "ann@acme.example", "role": "owner"}], vanity_url="acme")
    assert run("--json", "import", "-", stdin=json.dumps({"accounts": [known]})).status == 0
    before = run("export").out
    filler: list[JsonValue] = [
        account(id=f"f{n}", users=[], locked_settings={"x": "y" * 300_000}) for n in range(3)
    ]
    users: JsonValue = [{"email": "ann@acme.example", "role": "owner"}]
    accounts = [
        account(id="first", users=users, vanity_url="new"),
        filler[0],
        account(id="second", users=[], vanity_url="acme"),
        filler[1],
        account(id="third", users=users, managed_domains=["gmail.com"], vanity_url="new"),
        filler[2],
        account(id="first", users=[], name="\0"),
    ]
    ran = run("--json", "import", "-", stdin=json.dumps({"accounts": accounts}))
    assert ran.status == 2
    listed = ran.error["mistakes"]
    assert isinstance(listed, list)
    assert [(each["path"], each["reason"]) for each in listed if isinstance(each, dict)] == [
        ("$", "account first is listed twice"),
        ("$", "user on more than one account ann@acme.example is listed twice"),
        ("accounts[0].users[0].email", "ann@acme.example is a user of another account"),
        ("accounts[4].users[0].email", "ann@acme.example is a user of another account"),
        ("accounts[4].managed_domains[0]", "gmail.com belongs to a public mail service"),
        ("accounts[2].vanity_url", "acme is the vanity URL of acme"),
        ("accounts[4].vanity_url", "new is the vanity URL of first"),
    ]
    assert run("export").out == before


def test_an_error_in_the_last_group_changes_nothing(run: Run) -> None:
    """`import`: all accounts or none, although they are written one after the other."""
    accounts = [
        account(id=f"f{n}", users=[], locked_settings={"x": "y" * 300_000}) for n in range(3)
    ]
    accounts.append(account(users=[{"email": "ann@acme.example", "role": "member"}]))
    ran = run("--json", "import", "-", stdin=json.dumps({"accounts": accounts}))
    assert mistakes(ran.error) == {
        "accounts[3].users": "an account with users has one owner; none would be left"
    }
    assert run("export").document == {"catalog": None, "accounts": []}


def test_an_export_is_one_indented_document(run: Run) -> None:
    """`export`: it is written account by account, as `json.dumps` would write the whole."""
    run("--json", "import", "-", stdin=json.dumps({"accounts": []}))
    assert run("export").out == '{\n  "catalog": null,\n  "accounts": []\n}\n'
    accounts = [account(id=f"a{n}", users=[], name="é\u2028") for n in range(120)]
    document = {"catalog": {"workplace": "12.00"}, "accounts": accounts}
    run("--json", "import", "-", stdin=json.dumps(document))
    exported = run("export")
    assert exported.out == json.dumps(exported.document, indent=2) + "\n"
    assert len(json.loads(exported.out)["accounts"]) == 120


def test_an_endless_file_is_refused(run: Run) -> None:
    """`import`: no more than the limit is read, whatever size the system reports."""
    assert "1024 MiB" in mistakes(run("--json", "import", "/dev/zero").error)["/dev/zero"]


def test_no_escape_sequence_of_a_file_reaches_the_terminal(run: Run) -> None:
    """TXT-3: a path of an import error may have any character; it stays one line."""
    text = json.dumps({"accounts": [], "\x1b]0;owned\x07\x1b[2J\u009b31m\nok\u202e": 1})
    ran = run("import", "-", stdin=text)
    assert ran.status == 2
    assert not set(ran.err) & {"\x1b", "\x07", "\u009b", "\u202e", "\r"}
    assert len(ran.err.splitlines()) == 2


def test_a_missing_file_is_named(run: Run) -> None:
    """`import`: a file that cannot be read is bad input, with the reason of the system."""
    ran = run("--json", "import", "nowhere.json")
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    assert mistakes(ran.error) == {"nowhere.json": "No such file or directory"}


def test_mistakes_are_lines_for_a_person(run: Run) -> None:
    """`import`: without `--json`, each mistake is a line on stderr."""
    ran = run("import", "-", stdin="{}")
    assert ran.status == 2
    first, second = ran.err.splitlines()
    assert first.startswith("invalid_input: ")
    assert second == "  accounts: Field required"


def test_reads_of_the_store_work_without_temporal(run: Run) -> None:
    """INV-5, AUD: `list`, `mail list` and `audit` are answered without Temporal."""
    run("import", "-", stdin=json.dumps({"accounts": [account()]}))
    assert run("--json", "list", "acme").document == {"invitations": []}
    assert run("--json", "mail", "list").document == {"letters": []}
    assert run("--json", "audit").at("violations") == []


def test_an_unknown_account_is_not_found(run: Run) -> None:
    """`export`: an account that does not exist is refused with `not_found` (status 1)."""
    ran = run("--json", "export", "globex")
    assert (ran.status, ran.out, ran.error["code"]) == (1, "", "not_found")
