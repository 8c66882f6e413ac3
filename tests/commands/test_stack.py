"""The embedded stack as an operator runs it."""

import getpass
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from devstack.ports import Ports
from tests.commands.conftest import ROOT, Ran, Run
from tests.commands.stack import readable_by_others, settings, up

ACME = {
    "accounts": [
        {
            "id": "acme",
            "name": "Acme",
            "plan": "business",
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
            "country": "DE",
            "collection": "autopay",
            "users": [{"email": "owner@acme.example", "role": "owner"}],
        }
    ]
}
JANE = "jane@example.com"
BY_OWNER = ("--by", "owner@acme.example")


def install_and_run_reminders(seatflow: Callable[..., Ran]) -> None:
    """Run each command about reminders while no invitation is stale."""
    assert seatflow("reminders", "pause").error["code"] == "not_found"
    assert seatflow("reminders", "install", "--every", "1d").at("schedule", "every") == "1d"
    assert seatflow("reminders", "pause").at("schedule", "paused") is True
    assert seatflow("reminders", "resume").at("schedule", "paused") is False
    ran = seatflow("reminders", "run")
    assert (ran.at("by"), ran.at("reminded")) == (f"operator {getpass.getuser()}", 0)
    assert seatflow("reminders", "show").at("runs", 0, "run_id") == ran.at("run_id")


def sign_in(portal: str, seatflow: Callable[..., Ran]) -> None:
    """Sign in as an admin by the newest letter to them, as the README says."""
    with httpx.Client(follow_redirects=True) as web:
        assert web.get(f"{portal}/health").json() == {"status": "ok"}
        web.post(f"{portal}/sign-in", data={"email": "owner@acme.example"})
        letter = eventually_mailed("owner@acme.example", seatflow)
        assert letter.at("event") == "sign_in"
        page = web.post(str(letter.at("link")))
        assert (page.status_code, page.url.path) == (200, "/admin/acme")
        assert 'data-page="invitations"' in page.text


def eventually_mailed(to: str, seatflow: Callable[..., Ran]) -> Ran:
    """Return the newest letter to an address as soon as there is one; a worker sends it."""
    until = time.monotonic() + 20
    while (letter := seatflow("mail", "show", "--to", to)).status:
        assert time.monotonic() < until
    return letter


@pytest.fixture
def readable_by_all(tmp_path: Path) -> Iterator[None]:
    """Make the folder of an earlier version, in a process whose umask hides nothing."""
    before = os.umask(0)
    (tmp_path / "state").mkdir(mode=0o755)
    yield
    os.umask(before)


@pytest.mark.usefixtures("readable_by_all")
def test_one_invitation_through_the_whole_stack(run: Run, tmp_path: Path) -> None:
    """INV-4, INV-11, REM-1: import, invite, reminders, accept and audit on an embedded stack."""
    ports = Ports.free()

    def seatflow(*arguments: str, stdin: str = "") -> Ran:
        return run("--json", *arguments, stdin=stdin, **settings(ports))

    with up([sys.executable, str(ROOT / "starter.py")], tmp_path, ports) as stack:
        views = seatflow("setup").at("views")
        assert isinstance(views, list)
        assert isinstance(views[0], dict)
        assert set(views[0]) == {"name", "query"}
        assert seatflow("import", "-", stdin=json.dumps(ACME)).status == 0
        invited = seatflow("invite", "acme", JANE, " JANE@example.com ", *BY_OWNER, "--wait")
        assert invited.at("invitations", 0, "email") == JANE
        assert invited.at("invitations", 0, "state") == "pending"
        link = invited.at("invitations", 0, "link")
        assert isinstance(link, str)
        assert seatflow("show", "acme", JANE).at("link") == link
        assert seatflow("mail", "show", "1").at("link") == link
        sign_in(f"http://127.0.0.1:{ports.portal}", seatflow)
        install_and_run_reminders(seatflow)
        assert 'data-state="pending"' in httpx.get(link).text
        accepted = seatflow("accept", "--link", link, "--as", JANE).at("state")
        assert accepted in {"accepted", "completed"}
        exported = seatflow("export", "acme")
        assert exported.at("accounts", 0, "users", 1, "email") == JANE
        assert seatflow("show", "acme", "nobody").error["code"] == "invalid_email"
        assert seatflow("audit").at("violations") == []
        assert readable_by_others(tmp_path / "state") == []
        stack.send_signal(signal.SIGTERM)
        out, err = stack.communicate(timeout=30)
        assert (stack.returncode, out, err) == (0, "", "")
    for port in (ports.temporal, ports.ui, ports.smtp, ports.portal):
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_in_use_is_named_and_nothing_stays_running(run: Run, tmp_path: Path) -> None:
    """`up`: a port in use is bad input that names its setting (status 2)."""
    ports = Ports.free()
    with socket.create_server(("127.0.0.1", ports.smtp)):
        ran = run("--json", "up", **settings(ports))
    assert (ran.status, ran.out, ran.error["code"]) == (2, "", "invalid_input")
    assert f"Port {ports.smtp}" in str(ran.error["message"])
    assert "SEATFLOW_SMTP_URL" in str(ran.error["message"])
    socket.create_server(("127.0.0.1", ports.temporal)).close()
    assert os.listdir(tmp_path) == []
