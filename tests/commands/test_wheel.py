"""The wheel, built from the checkout and run without it from an empty folder.

It is installed in an empty environment, without a network. A `.pth` file adds the folder of the
locked dependencies. Python does not read the `.pth` files in a folder that is added this way, so
the editable install of the checkout has no effect there.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import starter
from devstack.ports import Ports
from tests.commands.conftest import ROOT, Ran, Run, environment
from tests.commands.stack import readable_by_others, settings, up

DEMO_SECONDS = 300
EXAMPLES = ROOT / "examples"
NINA = "nina@new.example"

_IMPORT_ALL = """
import json, sys
from importlib import import_module

print(json.dumps({name: import_module(name).__file__ for name in json.loads(sys.argv[1])}))
"""

_HELP_OF_ALL = """
import json, sys
from starter import run

print(json.dumps([names for names in json.loads(sys.argv[1]) if run([*names, "--help"])]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _completed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the wheel, and the locked dependencies beside it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    programs = Path(sys.executable).parent
    install = (str(programs / "uv"), "pip", "install", "--quiet", "--no-config", "--no-cache")
    python = folder / "bin" / "python"
    _completed(*install, "--offline", "--no-deps", "--python", str(python), str(wheel))
    purelib = sysconfig.get_path("purelib")
    (_site_packages(folder) / "locked.pth").write_text(f"{purelib}\n", encoding="utf-8")
    (folder / "bin" / "temporal").symlink_to(programs / "temporal")
    return folder


@pytest.fixture(scope="module")
def command_line(installed: Path) -> list[str]:
    """Return the script that the wheel installs, so that `run` runs it."""
    return [str(installed / "bin" / "seatflow")]


def test_the_wheel_holds_every_file_of_its_folders(wheel: Path) -> None:
    """Templates, catalogs, migrations and examples are files of the wheel, like modules."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(_files())


def test_every_module_is_loaded_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """No module of the checkout is loaded in its place."""
    files = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name
        for name in _files()
        if name.endswith(".py") and not name.startswith("adapters/sql/migrations/")
    }
    loaded = _run_python(installed, tmp_path, _IMPORT_ALL, list(files))
    assert loaded == {name: str(_site_packages(installed) / file) for name, file in files.items()}


def test_every_command_shows_its_help(installed: Path, tmp_path: Path) -> None:
    """`--help` of every command works from an empty folder."""
    commands = list(_names_of(get_command(starter.app)))
    assert ["demo"] in commands
    assert ["reminders", "install"] in commands
    assert _run_python(installed, tmp_path, _HELP_OF_ALL, commands) == []


def test_one_invitation_through_the_stack_of_the_wheel(
    run: Run, tmp_path: Path, command_line: list[str]
) -> None:
    """INV-4, INV-11: the installed commands invite and accept, and write only their state."""
    ports = Ports.free()

    def seatflow(*arguments: str, stdin: str = "") -> Ran:
        return run("--json", *arguments, stdin=stdin, **settings(ports))

    accounts = (EXAMPLES / "accounts.json").read_text(encoding="utf-8")
    with up(command_line, tmp_path, ports):
        assert seatflow("setup").status == 0
        assert seatflow("import", "-", stdin=accounts).status == 0
        invited = seatflow("invite", "acme", NINA, "--by", "adam@acme.example", "--wait")
        assert invited.at("invitations", 0, "state") == "pending"
        assert seatflow("mail", "show", "1").at("to") == NINA
        assert seatflow("accept", "acme", NINA).at("state") in {"accepted", "completed"}
        assert seatflow("export", "acme").at("accounts", 0, "id") == "acme"
        assert seatflow("audit").at("violations") == []
        assert seatflow("diagram").status == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


@pytest.mark.full
def test_the_demo_of_the_wheel_plays_every_step(command_line: list[str], tmp_path: Path) -> None:
    """`demo --exit`: the examples are read from the wheel, and no step fails."""
    ran = subprocess.run(
        [*command_line, "--json", "demo", "--exit"],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    document = json.loads(ran.stdout)
    steps = document["steps"]
    assert [step["failure"] for step in steps] == [None] * len(steps)
    assert document["sign_in"] == f"{document['portal']}/sign-in"
    assert readable_by_others(tmp_path / "state") == []


def _files() -> Iterator[str]:
    """Yield the files of the checkout that belong in the wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        found = [ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*")
        for file in found:
            if file.is_file() and "__pycache__" not in file.parts:
                yield str(file.relative_to(ROOT))


def _names_of(command: object, *names: str) -> Iterator[list[str]]:
    """Yield the words of a command and of each of its subcommands."""
    yield list(names)
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from _names_of(subcommand, *names, name)


def _site_packages(installed: Path) -> Path:
    [folder] = installed.glob("lib/python*/site-packages")
    return folder


def _run_python(installed: Path, folder: Path, code: str, argument: object) -> object:
    """Run code in the environment from `folder`; return the JSON of its last line."""
    ran = subprocess.run(
        [installed / "bin" / "python", "-c", code, json.dumps(argument)],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert os.listdir(folder) == []
    return json.loads(ran.stdout.splitlines()[-1])


def _completed(*command: str) -> None:
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
