"""The command line as a process."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import JsonValue, SecretStr, TypeAdapter

import starter
from runtime.settings import Settings
from runtime.store import set_up_store

ROOT = Path(__file__).parent.parent.parent
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
SECRET_KEY = "a secret key of the tests that is long enough"
UNREACHABLE = "127.0.0.1:1"
"""An address without a listener."""


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> JsonValue:
        """The only JSON document on stdout, while stderr is empty."""
        assert self.err == ""
        return _JSON.validate_json(self.out)

    def at(self, *path: str | int) -> JsonValue:
        """Return the part of the document at `path`."""
        found = self.document
        for step in path:
            if isinstance(step, int):
                assert isinstance(found, list)
                found = found[step]
            else:
                assert isinstance(found, dict)
                found = found[step]
        return found

    @property
    def error(self) -> dict[str, JsonValue]:
        """The only error on stderr, in JSON."""
        [line] = self.err.splitlines()
        document = _JSON.validate_json(line)
        assert isinstance(document, dict)
        assert set(document) == {"error"}
        error = document["error"]
        assert isinstance(error, dict)
        return error


Run = Callable[..., Ran]


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a process with state in `folder` and only `settings` set."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SEATFLOW_", "TEMPORAL_"))
    }
    ours = {
        "SEATFLOW_STATE_FOLDER": str(folder / "state"),
        "SEATFLOW_SECRET_KEY": SECRET_KEY,
        "TEMPORAL_ADDRESS": UNREACHABLE,
    }
    return inherited | ours | settings


@pytest.fixture
def run(tmp_path: Path, command_line: list[str]) -> Run:
    """Run a command in `tmp_path` to its end."""
    return _runner(command_line, tmp_path)


@pytest.fixture
def run_cold(tmp_path: Path) -> Run:
    """Run a command in a fresh interpreter."""
    return _runner([sys.executable, str(ROOT / "starter.py")], tmp_path)


def _runner(command_line: list[str], tmp_path: Path) -> Run:
    def ran(*arguments: str, stdin: str = "", **settings: str) -> Ran:
        ended = subprocess.run(
            [*command_line, *arguments],
            input=stdin,
            env=environment(tmp_path, **settings),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    return ran


@pytest.fixture
def run_in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """Run a command in this process, which is faster."""

    def ran(*arguments: str, **settings: str) -> Ran:
        with monkeypatch.context() as process:
            process.chdir(tmp_path)
            process.setattr(os, "environ", environment(tmp_path, **settings))
            status = starter.run(arguments)
        return Ran(status, *capfd.readouterr())

    return ran


def stub_answer(monkeypatch: pytest.MonkeyPatch, command: str, answer: object) -> None:
    """Make the clients return `answer` to the commands of a module."""
    monkeypatch.setattr(f"commands.{command}.with_clients", lambda context, progress, call: answer)


@pytest.fixture
async def database(tmp_path: Path) -> Settings:
    """Set up the database that `run` uses."""
    settings = Settings(state_folder=tmp_path / "state", secret_key=SecretStr(SECRET_KEY))
    await set_up_store(settings)
    return settings
