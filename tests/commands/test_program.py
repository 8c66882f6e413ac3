"""The command line's own name in the output of commands."""

import sys
from pathlib import Path

import pytest

from commands.program import program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an environment with the command, in the folder of its reader."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "seatflow"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return folder / "seatflow"


@pytest.mark.usefixtures("installed")
def test_a_command_off_the_path_is_named_by_its_path() -> None:
    """README: `.venv/bin/seatflow`, as it is typed in a checkout."""
    assert program() == ".venv/bin/seatflow"


def test_a_command_on_the_path_is_named_alone(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    assert program() == "seatflow"


@pytest.mark.usefixtures("installed")
def test_another_installation_on_the_path_is_not_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader with an older release elsewhere gets this one's command."""
    (tmp_path / "seatflow").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == ".venv/bin/seatflow"
