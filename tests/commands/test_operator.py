"""`--operator`: every change names who made it (OPS-8)."""

import asyncio
import getpass
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import starter
from commands.call import system_user
from devstack.ports import Ports
from domain.author import operator_name
from domain.invitation import LINK_WAS_THE_PROOF
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Ran, Run
from tests.commands.stack import settings, up
from tests.commands.test_account import account
from tests.commands.test_managed_domain import CHALLENGE, DOMAIN, dns, domain, record_value
from tests.commands.test_reversal import disputed
from tests.dns_server import ScriptedDnsServer

__all__ = ["disputed", "dns", "domain"]
"""Fixtures of other tests."""

OWNER, CLUB_OWNER, SAM = "owner@acme.example", "carl@club.example", "sam@club.example"
BY_OWNER = ("--by", OWNER)
TODAY = datetime.now(UTC).date()

READING = {
    *("show", "list", "quote", "licenses", "export", "audit", "attention", "diagram"),
    *("refund show", "refund list", "credit show", "order show", "order list", "domain list"),
    *("outbox list", "reminders show", "mail list", "mail show", "changes", "session list"),
    *("accounts", "users", "find", "keys show-id-key"),
    *("up", "demo", "portal"),
}
"""Commands that change nothing in a person's name."""


def a_payer(name: str, **payment: object) -> dict[str, object]:
    """Return a pro account whose owner is owed the rest of an annual plan."""
    return {
        **{"id": name, "name": name, "plan": "pro", "currency": "EUR"},
        **{"time_zone": "Europe/Berlin", "country": "DE", "collection": "autopay"},
        "payment_methods": [{"id": "other", "kind": "card"}],
        "users": [{"email": f"{name}@person.example", "role": "owner"}],
        "subscriptions": [
            {
                **{"id": "sub-1", "product": "Pro", "kind": "plan", "quantity": 1},
                "cycle": "annual",
                "period_start": str(TODAY - timedelta(days=100)),
                "period_end": str(TODAY + timedelta(days=100)),
                "payments": [{"id": "pay-1", "method": "card", "amount": "100.00", **payment}],
            }
        ],
    }


FILE = {
    "accounts": [
        {
            **{"id": "acme", "name": "Acme", "plan": "business", "currency": "EUR"},
            **{"time_zone": "Europe/Berlin", "country": "DE", "collection": "net_terms"},
            "users": [
                {"email": OWNER, "role": "owner"},
                {"email": "ann@acme.example", "role": "member", "licensed": True},
            ],
            "licenses": 9,
            "credit": "30.00",
            "invoices": [
                {"id": name, "amount_due": "10.00", "due_on": "2026-05-01"}
                for name in ("inv-1", "inv-2", "inv-3")
            ],
        },
        *(a_payer(name, refundable=False) for name in ("ina", "ivo", "ida")),
        a_payer("jan"),
        {
            **a_payer("club"),
            "users": [
                {"email": CLUB_OWNER, "role": "owner"},
                *({"email": each, "role": "member"} for each in (SAM, "tim@club.example")),
            ],
            "rooms": [{"id": "blue", "name": "Blue"}],
        },
    ]
}


def recorded(folder: Path, author: str) -> int:
    """Return how often the database names `author`."""
    with closing(sqlite3.connect(folder / "state" / "seatflow.db")) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        rows = (row for [table] in tables for row in database.execute(f'SELECT * FROM "{table}"'))
        return sum(str(value).count(author) for row in rows for value in row)


class Story:
    """The commands of an operator called Ann, each of which must leave her name."""

    def __init__(self, run: Callable[..., Ran], folder: Path) -> None:
        self.run = run
        self.folder = folder
        self.done = set[str]()

    def ann(self, *arguments: str, acting_for: str = "", stdin: str = "", words: int = 1) -> Ran:
        """Run a command, and check that the database names its operator once more."""
        author = "operator Ann" + (f" for {acting_for}" if acting_for else "")
        before = recorded(self.folder, author)
        ran = self.run("--json", "--operator", " Ann\n", *arguments, stdin=stdin)
        assert ran.status == 0, ran.err
        assert recorded(self.folder, author) > before, arguments
        self.done.add(" ".join(arguments[:words]))
        return ran

    def refund_of(self, name: str) -> str:
        """Accept for the owner of `name`, whose refund fails; return its id."""
        email = f"{name}@person.example"
        self.run("--json", "invite", "acme", email, *BY_OWNER, "--wait")
        accepted = self.ann("accept", "acme", email, "--refund", acting_for=email)
        refund_id = str(accepted.at("settlement", "refund_id"))
        # The provider refuses it after the answer; each of these commands takes a while.
        states = (self.run("--json", "refund", "show", refund_id).at("state") for _ in range(100))
        assert "failed" in states
        return refund_id


def test_every_changing_command_names_its_operator(
    run: Run, command_line: list[str], tmp_path: Path
) -> None:
    """OPS-8: in its record; for an admin or an invitee, with their address."""
    ports = Ports.free()
    with up(command_line, tmp_path, ports):
        own = {**settings(ports), "SEATFLOW_POLICY__RESEND_COOLDOWN_SECONDS": "0"}
        story = Story(lambda *words, **more: run(*words, **more, **own), tmp_path)
        ann = story.ann
        ann("setup")
        ann("import", "-", stdin=json.dumps(FILE))
        invitations(story)
        for name, decision in (
            ("ina", ("convert", "--to-credit")),
            ("ivo", ("retry", "--method", "other")),
            ("ida", ("close", "--reason", "sent by cheque")),
        ):
            verb, *options = decision
            ann("refund", verb, story.refund_of(name), *options, words=2)
        ann("credit", "apply", "acme", "inv-1", words=2)
        by = run("--json", "credit", "show", "acme", **own).at("entries", -1, "by")
        assert by == "operator Ann"
        ann("pay-invoice", "acme", "inv-2")
        ann("pay-invoice", "acme", "inv-3", "--paid-outside", "wire 7")
        ann("cancel-plan", "club")
        ann("reactivate", "club")
        orders(story)
        ann("domain", "add", "acme", "acme.example", words=2)
        for arguments in (("install",), ("pause",), ("resume",), ("run",)):
            ann("reminders", *arguments, words=2)
        assigned = ("acme", "workplace", OWNER, *BY_OWNER)
        ann("assign", *assigned, acting_for=OWNER)
        ann("unassign", *assigned, acting_for=OWNER)
        ann("forget", "ron@person.example")
        assert run("--json", "audit", **own).at("violations") == []
    elsewhere = {"domain verify", "outbox retry", "outbox discard", "reversal close", "reconcile"}
    # A signal usually resumes the invitation first: `tests/workflows/test_invitation_author.py`.
    elsewhere |= {"recheck", "session revoke"}
    # A new command that changes something needs a line in the story.
    assert story.done | elsewhere | READING == set(all_commands())
    assert not story.done & READING


def invitations(story: Story) -> None:
    ann, run = story.ann, story.run
    jan, eve, max_ = "jan@person.example", "eve@person.example", "max@person.example"
    people = (jan, eve, max_, CLUB_OWNER, "ron@person.example")
    invited = ann("invite", "acme", *people, *BY_OWNER, "--wait", acting_for=OWNER)
    file = ("invite", "acme", "--file", "-", *BY_OWNER, "--wait")
    ann(*file, stdin="email\nfay@person.example\n", acting_for=OWNER)
    links = [invited.at("invitations", each, "link") for each in range(len(people))]
    ann("preview", "acme", jan, acting_for=jan)
    joined = ann("accept", "acme", jan, "--refund", acting_for=jan)
    assert joined.at("journal", 2, "by") == f"operator Ann for {jan}"
    with_link = ann("accept", "--link", str(links[1]), acting_for=eve)
    assert with_link.at("journal", 2, "note") == LINK_WAS_THE_PROOF
    signed_in = ann("accept", "--link", str(links[2]), "--as", max_, acting_for=max_)
    assert signed_in.at("journal", 2, "note") is None
    ann("retry-move", "acme", jan)
    ann("decline", "acme", "fay@person.example", acting_for="fay@person.example")
    ann("revoke", "acme", "ron@person.example", *BY_OWNER, acting_for=OWNER)
    ann("resend", "acme", CLUB_OWNER, *BY_OWNER, acting_for=OWNER)
    blocked(story)
    shown = run("show", "acme", jan).out
    assert f"operator Ann for {jan}" in shown


def blocked(story: Story) -> None:
    """Carry out remedies for a blocked owner, who is Carl."""
    ann = story.ann
    before = recorded(story.folder, f"operator Ann for {CLUB_OWNER}")
    ran = story.run("--operator", "Ann", "--json", "accept", "acme", CLUB_OWNER)
    assert ran.error["code"] == "blocked"
    assert recorded(story.folder, f"operator Ann for {CLUB_OWNER}") > before
    ann("invite-members", "acme", CLUB_OWNER, *BY_OWNER, acting_for=OWNER)
    ann("remove-room", "club", "blue")
    ann("remove-user", "club", SAM)


def orders(story: Story) -> None:
    buy = ("buy", "acme", "workplace", "--quantity", "2", "--cycle", "monthly", *BY_OWNER)
    story.ann(*buy, acting_for=OWNER)
    reviewed = story.ann(*buy, "--portal", "account", acting_for=OWNER).at("order_id")
    story.ann("order", "confirm", str(reviewed), words=2)
    story.ann("order", "change", str(reviewed), "--quantity", "1", words=2)
    story.ann("order", "cancel", str(reviewed), words=2)


def all_commands() -> Iterator[str]:
    """Yield every command of the command line, with the name of its group."""
    root = get_command(starter.app)
    assert isinstance(root, TyperGroup)
    for name, command in root.commands.items():
        if isinstance(command, TyperGroup):
            yield from (f"{name} {each}" for each in command.commands)
        else:
            yield name


def ann_records(run: Run, folder: Path, *arguments: str) -> None:
    """Run a command in the name of Ann, and check that the database names her once more."""
    before = recorded(folder, "operator Ann")
    ran = run("--json", *arguments, SEATFLOW_OPERATOR="Ann")
    assert (ran.status, ran.err) == (0, "")
    assert recorded(folder, "operator Ann") > before


async def _a_start_in_the_outbox(database: Settings) -> int:
    async with open_store(database) as store:
        await store.outbox.add_starts(["refund/rf-1"], after=timedelta())
        [row] = await store.outbox.listed()
    return row.number


def test_changes_of_the_outbox_name_their_operator(
    database: Settings, run_in_process: Run, tmp_path: Path
) -> None:
    """OPS-8: a row that is retried, and one that is discarded."""
    number = str(asyncio.run(_a_start_in_the_outbox(database)))
    ann_records(run_in_process, tmp_path, "outbox", "retry", number)
    ann_records(run_in_process, tmp_path, "outbox", "discard", number)


async def _a_session(database: Settings) -> None:
    async with open_store(database) as store:
        await store.sessions.open("session", OWNER, datetime.now(UTC))


def test_revoked_sessions_name_their_operator(
    database: Settings, run_in_process: Run, tmp_path: Path
) -> None:
    """OPS-8: each session that is ended for a person."""
    asyncio.run(_a_session(database))
    ann_records(run_in_process, tmp_path, "session", "revoke", OWNER)


@pytest.mark.usefixtures("disputed")
def test_a_closed_reversal_names_its_operator(run_in_process: Run, tmp_path: Path) -> None:
    """OPS-8: the row of the reversal names who has closed it."""
    ann_records(run_in_process, tmp_path, "reversal", "close", "du_1", "--reason", "paid")


def test_a_verified_domain_names_its_operator(
    domain: Run, dns: ScriptedDnsServer, run: Run, tmp_path: Path
) -> None:
    """OPS-8, INV-18: once; a repetition changes nothing."""
    dns.answers[CHALLENGE] = [record_value(domain("add", "acme", DOMAIN).document)]
    for _ in range(2):
        verified = domain("verify", "acme", DOMAIN, SEATFLOW_OPERATOR="Ann")
        assert verified.at("state") == "verified"
    changes = run("--json", "changes", "acme").at("changes")
    assert isinstance(changes, list)
    last = changes[-1]
    assert isinstance(last, dict)
    assert last == {
        "at": last["at"],
        "by": "operator Ann",
        "action": "domain verify",
        "account": "acme",
        "subject": DOMAIN,
    }
    assert recorded(tmp_path, "operator Ann") == 1
    assert "domain verify" in run("changes").out


@pytest.mark.usefixtures("database")
def test_a_settled_difference_names_its_operator(run_in_process: Run, tmp_path: Path) -> None:
    """OPS-8: the difference that a person has taken off the operators' list."""
    with closing(sqlite3.connect(tmp_path / "state" / "seatflow.db")) as connection:
        connection.execute(
            "INSERT INTO divergences VALUES (7, 'k', 's', '', '2026-01-01 00:00:00', 'm', NULL)"
        )
        connection.commit()
    ann_records(run_in_process, tmp_path, "reconcile", "--settled", "7")


def last_author(run: Run, *options: str, **settings: str) -> str:
    """Run a command that changes something; return the author that its record names."""
    file = json.dumps({"accounts": [account()]})
    assert run(*options, "import", "-", stdin=file, **settings).status == 0
    changes = run("--json", "changes").at("changes")
    assert isinstance(changes, list)
    assert isinstance(changes[-1], dict)
    return str(changes[-1]["by"])


@pytest.mark.usefixtures("database")
def test_the_operator_is_the_option_else_the_setting_else_the_user(run: Run) -> None:
    """Contract: `--operator NAME`, `SEATFLOW_OPERATOR`, the system user's name."""
    assert last_author(run, "--operator", "Ann", SEATFLOW_OPERATOR="Bob") == "operator Ann"
    assert last_author(run, SEATFLOW_OPERATOR="Bob") == "operator Bob"
    assert last_author(run) == f"operator {getpass.getuser()}"


def test_an_operator_without_a_name_in_the_system_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Contract: a container may run as a user id that has no name."""

    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", no_name)
    assert system_user() == "unknown"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ann ", "Ann"),
        ("Ann\nB.", "Ann B."),
        ("\x1b[31mAnn", "[31mAnn"),
        ("Zoë", "Zoë"),
        ("x" * 100, "x" * 100),
    ],
)
def test_a_name_is_one_line(typed: str, kept: str) -> None:
    """OPS-8, TXT-3: control characters never reach a record."""
    assert operator_name(typed) == kept


@pytest.mark.parametrize("name", ["", "  ", "\n", "x" * 101])
def test_a_name_that_is_empty_or_too_long_is_refused(run_in_process: Run, name: str) -> None:
    """OPS-8: status 2, also before a command that changes nothing; the error is in JSON."""
    ran = run_in_process("--operator", name, "--json", "list", "acme")
    assert (ran.status, ran.out, ran.error["code"]) == (2, "", "invalid_input")
    if name:
        ran = run_in_process("--json", "list", "acme", SEATFLOW_OPERATOR=name)
        assert (ran.status, ran.error["code"]) == (2, "invalid_input")
        assert "SEATFLOW_OPERATOR" in str(ran.error["message"])
