"""The chapter "Backup and restore", carried out as an operator does, with its own commands."""

import base64
import json
import shlex
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.ports import Ports
from tests.commands.conftest import environment
from tests.commands.stack import settings, up
from tests.docs.draw import ROOT
from tests.restore.procedure import Ended, printed, run_block

BACK_UP = printed("connect('seatflow.copy')")
RESTORE = printed("cp seatflow.copy")
MARK, RECONCILE = printed("setup --restored"), printed("seatflow reconcile\n")
FIX, CHECK = printed("reconcile --fix"), printed("seatflow audit")
FORGET_ID_KEY = printed("sqlite3.connect('.seatflow/seatflow.db'); c.execute")
PEOPLE = "email\nann@new.example\nbob@new.example\ncleo@new.example\n"
OTHER_KEY = f"two:{base64.b64encode(bytes(range(32))).decode()}"


@dataclass
class Installation:
    """`seatflow up` in a folder, and the shell of its operator."""

    folder: Path
    command_line: list[str]
    ports: Ports

    @contextmanager
    def up(self, **others: str) -> Iterator[None]:
        """Run the stack."""
        # A process of its own: the stack has stopped when it has ended.
        program = [sys.executable, str(ROOT / "starter.py")]
        with up(program, self.folder, self.ports, **self._settings(others)):
            yield

    def shell(self, block: str, **others: str) -> Ended:
        """Run the commands of a block."""
        seatflow = f'seatflow() {{ {shlex.join(self.command_line)} "$@"; }}\n'
        inherited = environment(self.folder, **settings(self.ports) | self._settings(others))
        return run_block(seatflow + block, self.folder, inherited)

    def run(self, block: str, **others: str) -> str:
        """Run the commands of a block, which succeed; return what they print."""
        ended = self.shell(block, **others)
        assert ended.status == 0, ended.err + ended.out
        return ended.out

    def state(self, email: str) -> str:
        """Return the state of the last invitation in the store."""
        rows = json.loads(self.run("seatflow --json list acme --all"))["invitations"]
        return str(next(row["state"] for row in rows if row["email"] == email))

    def repair(self) -> str:
        """Reconcile, and check that nothing is left; return the differences found."""
        found = self.shell(RECONCILE)
        assert found.status == 1
        assert "`seatflow reconcile --fix` removes" in found.err
        assert "No differences are left" in self.run(FIX)
        assert "No case needs an operator." in self.run(CHECK)
        assert "No differences" in self.run(RECONCILE)
        return found.out

    @staticmethod
    def _settings(others: dict[str, str]) -> dict[str, str]:
        return {"SEATFLOW_STATE_FOLDER": ".seatflow", "SEATFLOW_WAIT_SECONDS": "20"} | others


@pytest.fixture
def installation(tmp_path: Path, command_line: list[str]) -> Installation:
    examples = ROOT / "examples" / "accounts.json"
    (tmp_path / "accounts.json").write_bytes(examples.read_bytes())
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    return Installation(tmp_path, command_line, Ports.free())


def invite_people(installation: Installation) -> None:
    installation.run(
        "seatflow import accounts.json\n"
        "seatflow invite acme --file people.csv --by adam@acme.example --wait"
    )


@contextmanager
def meanwhile(write: Callable[[], object]) -> Iterator[None]:
    """Repeat a write until the end of the body."""
    stopped = threading.Event()

    def write_until_stopped() -> None:
        while not stopped.is_set():
            write()

    thread = threading.Thread(target=write_until_stopped)
    thread.start()
    yield
    stopped.set()
    thread.join()


def test_a_store_restored_from_a_copy_made_while_it_was_written(
    installation: Installation,
) -> None:
    """OPS-6: workers wait, everything that was done after the copy is done again, once."""
    seatflow = installation.run
    with installation.up():
        invite_people(installation)
        with meanwhile(lambda: seatflow("seatflow import accounts.json")):
            seatflow(BACK_UP)
        seatflow("seatflow accept acme ann@new.example; seatflow decline acme bob@new.example")
        seatflow("seatflow invite acme eve@new.example --by adam@acme.example --wait")
    seatflow(RESTORE)
    marked = installation.shell(MARK)
    assert marked.status == 3
    assert "The database is marked as restored" in marked.err
    with installation.up():
        assert "workers wait" in seatflow("seatflow setup")
        accepted = installation.shell(
            "seatflow accept acme cleo@new.example", SEATFLOW_WAIT_SECONDS="2"
        )
        assert accepted.status == 3
        assert [installation.state(f"{who}@new.example") for who in ("ann", "bob", "cleo")] == [
            "pending"
        ] * 3
        found = installation.repair()
        for kind in ("acceptance_missing", "record_behind", "record_missing"):
            assert kind in found
        seatflow("seatflow accept acme cleo@new.example; seatflow accept acme eve@new.example")
        ends = [installation.state(f"{who}@new.example") for who in ("ann", "bob", "cleo", "eve")]
        assert ends == ["completed", "declined", "completed", "completed"]
        assert "No differences" in seatflow(RECONCILE)


@pytest.mark.full
def test_temporal_set_back_then_lost_together_with_the_encryption_key(
    installation: Installation,
) -> None:
    """OPS-6: workflows continue from the store, with the same links, under another key."""
    seatflow, folder = installation.run, installation.folder / ".seatflow"
    with installation.up():
        invite_people(installation)
        seatflow(BACK_UP.replace("/seatflow.db", "/temporal.db").replace("seatflow.copy", "copy"))
        seatflow("seatflow accept acme ann@new.example")
        for command in ("seatflow show acme bob@new.example", RECONCILE, FIX):
            without_key = installation.shell(command, SEATFLOW_ENCRYPTION_KEYS="")
            assert without_key.status == 3
            assert "the key 'one': add that key to SEATFLOW_ENCRYPTION_KEYS" in without_key.err
    remove_temporal(folder)
    (installation.folder / "copy").rename(folder / "temporal.db")
    installation.shell(MARK)
    with installation.up():
        assert "workflow_behind" in installation.repair()
    with installation.up(SEATFLOW_ENCRYPTION_KEYS=OTHER_KEY):
        refused = installation.shell(
            "seatflow show acme cleo@new.example", SEATFLOW_ENCRYPTION_KEYS=OTHER_KEY
        )
        assert refused.status == 3
        assert installation.state("cleo@new.example") == "pending"
    both = f"{OTHER_KEY},{settings(installation.ports)['SEATFLOW_ENCRYPTION_KEYS']}"
    with installation.up(SEATFLOW_ENCRYPTION_KEYS=both):
        seatflow("seatflow accept acme bob@new.example", SEATFLOW_ENCRYPTION_KEYS=both)
    remove_temporal(folder)
    installation.shell(MARK)
    with installation.up():
        assert "workflow_missing" in installation.repair()
        seatflow("seatflow accept acme cleo@new.example")
        assert installation.state("cleo@new.example") == "completed"


def remove_temporal(folder: Path) -> None:
    """Remove Temporal's database."""
    for file in folder.glob("temporal.db*"):
        file.unlink()


def test_a_lost_secret_key_from_which_the_id_key_is_derived(installation: Installation) -> None:
    """SEATFLOW_SECRET_KEY, SEATFLOW_ID_KEY: nothing is changed until the fingerprint is removed."""
    seatflow = installation.run
    with installation.up():
        invite_people(installation)
        lost = link(installation)
        assert status_of(lost) == 200
    (installation.folder / ".seatflow" / "secret-key").unlink()
    refused = installation.shell("seatflow up")
    assert refused.status == 2
    assert "SEATFLOW_ID_KEY" in refused.err
    seatflow(FORGET_ID_KEY)
    with installation.up():
        assert (status_of(lost), status_of(link(installation))) == (404, 200)
        again = seatflow("seatflow invite acme ann@new.example --by adam@acme.example")
        assert "already_invited" in again
        seatflow("seatflow accept acme ann@new.example")
        assert installation.state("ann@new.example") == "completed"
        assert "No case needs an operator." in seatflow(CHECK)


def link(installation: Installation) -> str:
    """Return the link of an invitation, as an operator reads it."""
    shown = json.loads(installation.run("seatflow --json show acme ann@new.example"))
    return str(shown["link"])


def status_of(address: str) -> int:
    try:
        with urllib.request.urlopen(address) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
