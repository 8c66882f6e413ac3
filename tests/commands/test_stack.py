"""The embedded stack as an operator runs it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from devstack.ports import Ports
from tests.commands.conftest import ROOT, Ran, Run, environment

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


def settings(ports: Ports) -> dict[str, str]:
    return {
        "TEMPORAL_ADDRESS": f"127.0.0.1:{ports.temporal}",
        "SEATFLOW_UI_PORT": str(ports.ui),
        "SEATFLOW_SMTP_URL": f"smtp://127.0.0.1:{ports.smtp}",
        "SEATFLOW_PUBLIC_URL": f"http://127.0.0.1:{ports.portal}",
        # Empty is unset: the stack makes one.
        "SEATFLOW_SECRET_KEY": "",
        "SEATFLOW_ENCRYPTION_KEYS": f"one:{base64.b64encode(bytes(32)).decode()}",
    }


@contextmanager
def up(folder: Path, ports: Ports) -> Iterator[subprocess.Popen[str]]:
    """Run the stack, from the moment that it is up."""
    stack = subprocess.Popen(
        [sys.executable, ROOT / "starter.py", "--json", "up"],
        env=environment(folder, **settings(ports)),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stack.stdout
    try:
        said = "".join(iter(stack.stdout.readline, "}\n")) + "}"
        assert json.loads(said)["temporal"] == f"127.0.0.1:{ports.temporal}"
        yield stack
    finally:
        stack.terminate()
        stack.communicate(timeout=30)


def installed_and_run(seatflow: Callable[..., Ran]) -> None:
    """Run the commands for reminders when none is due."""
    assert seatflow("reminders", "pause").error["code"] == "not_found"
    assert seatflow("reminders", "install", "--every", "1d").at("schedule", "every") == "1d"
    assert seatflow("reminders", "pause").at("schedule", "paused") is True
    assert seatflow("reminders", "resume").at("schedule", "paused") is False
    ran = seatflow("reminders", "run")
    assert (ran.at("by"), ran.at("reminded")) == ("operator", 0)
    assert seatflow("reminders", "show").at("runs", 0, "run_id") == ran.at("run_id")


def test_one_invitation_through_the_whole_stack(run: Run, tmp_path: Path) -> None:
    ports = Ports.free()

    def seatflow(*arguments: str, stdin: str = "") -> Ran:
        return run("--json", *arguments, stdin=stdin, **settings(ports))

    with up(tmp_path, ports) as stack:
        assert (tmp_path / "state" / "secret-key").stat().st_mode & 0o777 == 0o600
        assert httpx.get(f"http://127.0.0.1:{ports.portal}/health").json() == {"status": "ok"}
        assert seatflow("setup").status == 0
        assert seatflow("import", "-", stdin=json.dumps(ACME)).status == 0
        invited = seatflow("invite", "acme", JANE, " JANE@example.com ", *BY_OWNER, "--wait")
        assert invited.at("invitations", 0, "email") == JANE
        assert invited.at("invitations", 0, "state") == "pending"
        link = invited.at("invitations", 0, "link")
        assert isinstance(link, str)
        assert seatflow("show", "acme", JANE).at("link") == link
        assert seatflow("mail", "show", "1").at("link") == link
        installed_and_run(seatflow)
        accepted = seatflow("accept", "--link", link, "--as", JANE)
        assert accepted.at("state") in {"accepted", "completed"}
        exported = seatflow("export", "acme")
        assert exported.at("accounts", 0, "users", 1, "email") == JANE
        assert seatflow("show", "acme", "nobody").error["code"] == "invalid_email"
        assert seatflow("audit").at("violations") == []
        stack.send_signal(signal.SIGTERM)
        out, err = stack.communicate(timeout=30)
        assert (stack.returncode, out, err) == (0, "", "")
    for port in (ports.temporal, ports.ui, ports.smtp, ports.portal):
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_is_taken_is_named_and_nothing_is_left_running(
    run: Run, tmp_path: Path
) -> None:
    ports = Ports.free()
    with socket.create_server(("127.0.0.1", ports.smtp)):
        ran = run("--json", "up", **settings(ports))
    assert (ran.status, ran.out, ran.error["code"]) == (2, "", "invalid_input")
    assert f"Port {ports.smtp}" in str(ran.error["message"])
    assert "SEATFLOW_SMTP_URL" in str(ran.error["message"])
    socket.create_server(("127.0.0.1", ports.temporal)).close()
    assert os.listdir(tmp_path) == []
