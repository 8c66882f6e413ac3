"""The worked example, extracted from its page and run."""

import importlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from runtime.codec import data_converter
from runtime.wiring import workflow_runner
from tests.docs.draw import ROOT

PAGE = (ROOT / "docs" / "add-a-lifecycle.md").read_text(encoding="utf-8")
_FILE = re.compile(r"^`(?P<path>\S+\.py)`\n```python\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CHANGED_RUN = re.compile(r"^```python\n(@workflow\.run\n.*?)^```$", re.MULTILINE | re.DOTALL)
_FIRST_RUN = re.compile(
    r"^    @workflow\.run\n.*?(?=^    async def _wait_for_answer)", re.MULTILINE | re.DOTALL
)

FILES = {found["path"]: found["text"] for found in _FILE.finditer(PAGE)}
PACKAGES = sorted({Path(path).parts[0] for path in FILES} - {"tests"})
EXAMPLE = "tests/workflows/test_seat_request.py"
WORKFLOW = "workflows/seat_request.py"


def changed_workflow() -> str:
    """Return the workflow's file with the `run` of the later release."""
    (run,) = _CHANGED_RUN.findall(PAGE)
    changed, times = _FIRST_RUN.subn(lambda _: textwrap.indent(run, "    ") + "\n", FILES[WORKFLOW])
    assert times == 1
    return changed


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import the example's test as if all its files were in the repository."""
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
    """The files of `docs/add-a-lifecycle.md` run as they are printed."""
    tests = [test for name, test in vars(example).items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        await test(temporal)


async def test_the_later_release_replays_histories_of_the_first(
    example: ModuleType, temporal: WorkflowEnvironment
) -> None:
    """The documented patch keeps running workflows; without it, the replay fails."""
    await example.test_a_request_lapses_after_seven_days(temporal)
    lapsed = temporal.client.get_workflow_handle("seat-request/acme/lapsed")
    history = await lapsed.fetch_history()
    changed = changed_workflow()
    patched = importlib.import_module("workflows.seat_request")
    for source, replays in [
        (changed, True),
        (changed.replace(' and workflow.patched("two more days")', ""), False),
    ]:
        Path(str(patched.__file__)).write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        replayer = Replayer(
            workflows=[importlib.reload(patched).SeatRequestWorkflow],
            data_converter=data_converter({}, "default"),
            workflow_runner=workflow_runner(),
        )
        replayed = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        assert isinstance(replayed.replay_failure, NondeterminismError) is not replays
        assert (replayed.replay_failure is None) is replays


@pytest.mark.parametrize("path", [*FILES, "the later release"])
@pytest.mark.parametrize("check", [("check",), ("format", "--check")], ids=" ".join)
def test_the_example_is_formatted_and_passes_lint(check: tuple[str, ...], path: str) -> None:
    """The printed files follow the rules of the repository."""
    text, name = (FILES[path], path) if path in FILES else (changed_workflow(), WORKFLOW)
    # ruff reads no files of these packages from the disk, so it is given their names.
    first_party = f"lint.isort.known-first-party={PACKAGES}"
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            *check,
            "--config",
            first_party,
            "--stdin-filename",
            name,
            "-",
        ],
        input=text,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
