"""A second stack in a folder, and a stack after one that was killed."""

import sys
from pathlib import Path

from devstack.ports import Ports
from devstack.state_folder import database_of
from tests.commands.conftest import ROOT, Run
from tests.commands.stack import settings, up

COMMAND = [sys.executable, str(ROOT / "starter.py")]


def server_pid(folder: Path) -> int:
    """Return the recorded process of the folder's Temporal server."""
    return int((folder / "state" / "temporal.pid").read_text(encoding="ascii"))


def serves(folder: Path, pid: int) -> bool:
    """Return whether the process is the Temporal server of the folder."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except FileNotFoundError:
        return False
    return str(database_of(folder / "state")) in command


def test_a_second_stack_in_a_folder_names_the_first(run: Run, tmp_path: Path) -> None:
    """Contract, `up`: one embedded stack per folder; the refusal says where it is."""
    ports = Ports.free()
    with up(COMMAND, tmp_path, ports):
        second = run("--json", "up", **settings(ports))
        assert (second.status, second.error["code"]) == (1, "conflict")
        assert f"http://127.0.0.1:{ports.portal}" in str(second.error["message"])


def test_a_stack_starts_after_one_that_was_killed(tmp_path: Path) -> None:
    """Contract, `up`: the Temporal server that the killed stack left is stopped first."""
    ports = Ports.free()
    with up(COMMAND, tmp_path, ports) as stack:
        orphan = server_pid(tmp_path)
        stack.kill()
        stack.wait()
    assert serves(tmp_path, orphan)
    with up(COMMAND, tmp_path, ports):
        assert not serves(tmp_path, orphan)
        assert serves(tmp_path, server_pid(tmp_path))
