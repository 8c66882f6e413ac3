"""The commands for managed domains, with a real DNS server."""

import json
from collections.abc import Iterator
from functools import partial

import pytest
from pydantic import JsonValue

from tests import dns_server
from tests.commands.conftest import Run
from tests.commands.test_account import account
from tests.dns_server import ScriptedDnsServer

DOMAIN = "acme.example"
CHALLENGE = "_seatflow-challenge.acme.example"


@pytest.fixture
def dns() -> Iterator[ScriptedDnsServer]:
    with dns_server.running() as server:
        yield server


@pytest.fixture
def domain(run: Run, dns: ScriptedDnsServer, database: object) -> Run:
    """Run a `domain` command with two accounts, `acme` and `globex`."""
    globex = account(id="globex", users=[])
    run("import", "-", stdin=json.dumps({"accounts": [account(), globex]}))
    return partial(run, "--json", "domain", SEATFLOW_DNS_SERVERS=dns.setting)


def record_value(document: JsonValue) -> str:
    """Return the value of the TXT record that a command has printed."""
    assert isinstance(document, dict)
    record = document["record"]
    assert isinstance(record, dict)
    assert record == {"type": "TXT", "name": CHALLENGE, "value": record["value"]}
    return str(record["value"])


def test_a_domain_is_verified_by_its_record(domain: Run, dns: ScriptedDnsServer, run: Run) -> None:
    """INV-18: `domain add` prints the record, `domain verify` finds it in DNS."""
    added = domain("add", "acme", DOMAIN)
    value = record_value(added.document)
    assert value.startswith("seatflow-verification=")
    assert (added.at("state"), added.at("verified_at")) == ("pending", None)
    assert run("export", "acme").at("accounts", 0, "managed_domains") == []

    dns.answers[CHALLENGE] = ["v=spf1 -all", f" {value} "]
    verified = domain("verify", "acme", DOMAIN)
    assert verified.at("state") == "verified"
    assert str(verified.at("verified_at")).endswith("Z")
    assert run("export", "acme").at("accounts", 0, "managed_domains") == [DOMAIN]
    assert domain("list", "acme").document == {"domains": [verified.document]}
    assert domain("list", "globex").document == {"domains": []}


def test_the_commands_can_be_repeated(domain: Run, dns: ScriptedDnsServer) -> None:
    """`domain add` keeps the token; a verified domain is not looked up any more."""
    added = domain("add", "acme", DOMAIN)
    assert domain("add", "acme", " ACME.example").document == added.document
    dns.answers[CHALLENGE] = [record_value(added.document)]
    verified = domain("verify", "acme", "ACME.Example")
    dns.answers[CHALLENGE] = "SERVFAIL"
    assert domain("verify", "acme", DOMAIN).document == verified.document
    assert domain("add", "acme", DOMAIN).document == verified.document


def test_each_account_has_a_token_of_its_own(domain: Run, dns: ScriptedDnsServer) -> None:
    """INV-18: the record of one account proves nothing for another."""
    ours = record_value(domain("add", "acme", DOMAIN).document)
    dns.answers[CHALLENGE] = [ours]
    theirs = record_value(domain("add", "globex", DOMAIN).document)
    assert theirs != ours
    ran = domain("verify", "globex", DOMAIN)
    assert (ran.status, ran.error["code"]) == (1, "not_found")


def test_a_missing_record_is_refused(domain: Run) -> None:
    """`domain verify` names the record to publish (status 1)."""
    added = domain("add", "acme", DOMAIN)
    ran = domain("verify", "acme", DOMAIN)
    assert (ran.status, ran.out, ran.error["code"]) == (1, "", "not_found")
    assert ran.error["record"] == added.at("record")
    assert domain("list", "acme").at("domains", 0, "state") == "pending"


def test_a_failure_of_dns_is_an_unreachable_backend(domain: Run, dns: ScriptedDnsServer) -> None:
    """`domain verify`: nothing is known of the record (status 3)."""
    domain("add", "acme", DOMAIN)
    dns.answers[CHALLENGE] = "SERVFAIL"
    ran = domain("verify", "acme", DOMAIN)
    assert (ran.status, ran.out, ran.error["code"]) == (3, "", "backend_unavailable")


def test_a_verified_domain_cannot_be_verified_by_another_account(
    domain: Run, dns: ScriptedDnsServer
) -> None:
    """INV-18: the other account is named, though both have published their records."""
    values = [record_value(domain("add", name, DOMAIN).document) for name in ("acme", "globex")]
    dns.answers[CHALLENGE] = values
    assert domain("verify", "acme", DOMAIN).status == 0
    ran = domain("verify", "globex", DOMAIN)
    assert (ran.status, ran.out, ran.error["code"]) == (1, "", "conflict")
    assert "acme" in str(ran.error["message"])


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["add", "acme", "mail.gmail.com"], 2, "invalid_input"),
        (["add", "acme", "acme"], 2, "invalid_input"),
        (["add", "acme", "https://acme.example"], 2, "invalid_input"),
        (["add", "acme", ".".join(["a" * 60] * 4)], 2, "invalid_input"),
        (["verify", "acme", "a b.example"], 2, "invalid_input"),
        (["add", "nobody", DOMAIN], 1, "not_found"),
        (["verify", "nobody", DOMAIN], 1, "not_found"),
        (["verify", "acme", "other.example"], 1, "not_found"),
        (["list", "nobody"], 1, "not_found"),
    ],
    ids=str,
)
def test_what_cannot_be_managed_is_refused(
    domain: Run, arguments: list[str], status: int, code: str
) -> None:
    """INV-18: public mail domains, text that is no domain, unknown accounts and domains."""
    ran = domain(*arguments)
    assert (ran.status, ran.out, ran.error["code"]) == (status, "", code)


def test_a_person_reads_the_record_and_the_next_command(
    domain: Run, run: Run, dns: ScriptedDnsServer
) -> None:
    """`domain …` without `--json`."""
    value = record_value(domain("add", "acme", DOMAIN).document)
    shown = run("domain", "add", "acme", DOMAIN)
    for text in (CHALLENGE, value, "pending", "seatflow domain verify acme acme.example"):
        assert text in shown.out
    dns.answers[CHALLENGE] = [value]
    verified = run("domain", "verify", "acme", DOMAIN, SEATFLOW_DNS_SERVERS=dns.setting)
    assert "verified" in verified.out
    assert "Publish" not in verified.out
    listed = run("domain", "list", "acme").out
    assert DOMAIN in listed
    assert value in listed
    assert run("domain", "list", "globex").out == "No managed domains.\n"


def test_imported_domains_are_verified(domain: Run, run: Run) -> None:
    """INV-18: the operator who imports vouches for them."""
    run(
        "import",
        "-",
        stdin=json.dumps({"accounts": [account(managed_domains=[DOMAIN, "Bücher.example"])]}),
    )
    listed = domain("list", "acme")
    assert [listed.at("domains", number, "domain") for number in (0, 1)] == [
        DOMAIN,
        "xn--bcher-kva.example",
    ]
    assert listed.at("domains", 0, "state") == "verified"
