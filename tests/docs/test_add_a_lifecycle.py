"""The worked example is taken from its page and run as it stands."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.docs.draw import ROOT

PAGE = ROOT / "docs" / "add-a-lifecycle.md"
_FILE = re.compile(r"^`(?P<path>\S+\.py)`\n```python\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

FILES = {found["path"]: found["text"] for found in _FILE.finditer(PAGE.read_text(encoding="utf-8"))}
PACKAGES = sorted({Path(path).parts[0] for path in FILES} - {"tests"})
EXAMPLE = "tests/workflows/test_seat_request.py"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example's test, imported as if all its files stood in the repository."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name in PACKAGES:
        package = importlib.import_module(name)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / name)])
    monkeypatch.syspath_prepend((tmp_path / EXAMPLE).parent)
    before = set(sys.modules)
    yield importlib.import_module(Path(EXAMPLE).stem)
    for name in set(sys.modules) - before:
        if name.endswith("seat_request"):
            del sys.modules[name]


async def test_the_example_runs(example: ModuleType, temporal: WorkflowEnvironment) -> None:
    tests = [test for name, test in vars(example).items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        await test(temporal)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("check", [("check",), ("format", "--check")], ids=" ".join)
def test_the_example_is_in_form(check: tuple[str, ...], path: str) -> None:
    # These files are not on the disk, where ruff would see whose they are.
    ours = f"lint.isort.known-first-party={PACKAGES}"
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", *check, "--config", ours, "--stdin-filename", path, "-"],
        input=FILES[path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
