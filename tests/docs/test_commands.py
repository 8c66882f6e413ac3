"""Commands in the documents and the output that is printed there."""

import itertools
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from devstack.ports import Ports
from tests.commands.conftest import environment
from tests.docs.draw import README, ROOT
from tests.docs.page import Block, blocks

UP = ".venv/bin/seatflow up"
TIME_LIMIT = timedelta(seconds=20)


@dataclass
class Terminals:
    """A new user's two terminals: one in which the stack is up, one for commands."""

    folder: Path
    command_line: list[str]
    ports: Ports = field(default_factory=Ports.free)
    _up: subprocess.Popen[str] | None = None

    def run(self, script: str) -> str:
        """Run the commands and return their output without trailing spaces."""
        ran = subprocess.run(
            ["bash", "-c", self._with_local_paths(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=self._environment,
            cwd=ROOT,
        )
        assert ran.returncode == 0, ran.stdout
        return _unpadded(ran.stdout)

    def up(self) -> None:
        """Start the stack; stop it first if it is running."""
        self.down()
        self._up = subprocess.Popen(
            [sys.executable, "starter.py", "--json", "up"],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
            cwd=ROOT,
        )
        assert self._up.stdout
        lines = list(itertools.takewhile(lambda line: line != "}\n", self._up.stdout))
        assert json.loads("".join([*lines, "}"]))["ui"] == f"http://127.0.0.1:{self.ports.ui}"

    def down(self) -> None:
        """Stop the stack, if it is running."""
        if self._up:
            self._up.terminate()
            self._up.communicate(timeout=30)

    def _with_local_paths(self, script: str) -> str:
        """Replace the paths of `.venv` by those of this environment."""
        temporal = Path(sys.executable).with_name("temporal")
        return script.replace(".venv/bin/seatflow", shlex.join(self.command_line)).replace(
            ".venv/bin/temporal", shlex.quote(str(temporal))
        )

    @property
    def _environment(self) -> dict[str, str]:
        return environment(
            self.folder,
            TEMPORAL_ADDRESS=f"127.0.0.1:{self.ports.temporal}",
            SEATFLOW_UI_PORT=str(self.ports.ui),
            SEATFLOW_SMTP_URL=f"smtp://127.0.0.1:{self.ports.smtp}",
            SEATFLOW_PUBLIC_URL=f"http://localhost:{self.ports.portal}",
        )

    def as_printed(self, page: str) -> str:
        """Replace the address of the portal in `page` by that of this stack."""
        return page.replace("http://localhost:8080", f"http://localhost:{self.ports.portal}")


@dataclass(frozen=True)
class Chapter:
    """Blocks of the first chapter and of one other, as a new user copies them."""

    document: str
    title: str
    page: list[Block]

    def __str__(self) -> str:
        return f"{self.document}: {self.title}"


@pytest.fixture
def terminals(tmp_path: Path, command_line: list[str]) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path, command_line)
    yield terminals
    terminals.down()


def chapters(document: Path) -> Iterator[Chapter]:
    """Yield the chapters of a document after the first, which precedes each of them."""
    pages: dict[str, list[Block]] = {}
    for block in blocks(document):
        if block.language in {"sh", "text"}:
            pages.setdefault(block.chapter, []).append(block)
    (_, first_page), *others = pages.items()
    for title, page in others:
        yield Chapter(document.name, title, [*first_page, *page])


CHAPTERS = [*chapters(README), *chapters(ROOT / "docs" / "tour.md")]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=str)
def test_the_commands_of_a_chapter_print_the_documented_output(
    chapter: Chapter, terminals: Terminals
) -> None:
    """README and tour: each chapter works after the first."""
    for block, following in itertools.pairwise([*chapter.page, None]):
        if block is None or block.language == "text":
            continue
        script = _without_make(block.text)
        if UP in script.splitlines():
            terminals.up()
        elif script:
            expected = following.text if following and following.language == "text" else "…"
            _expect(terminals, script, expected, where=f"{chapter.document}:{block.line}")


def _expect(terminals: Terminals, script: str, expected: str, where: str) -> None:
    """Run `script` until it prints `expected`; other processes may need time."""
    until = time.monotonic() + TIME_LIMIT.total_seconds()
    expected = terminals.as_printed(expected)
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    while not re.fullmatch(pattern, printed := terminals.run(script), re.DOTALL):
        assert time.monotonic() < until, f"{where} prints\n{printed}"


def _without_make(script: str) -> str:
    """Remove the `make` commands; the tests run in the environment that they made."""
    return "\n".join(line for line in script.splitlines() if not line.startswith("make "))


def _unpadded(printed: str) -> str:
    return "\n".join(line.rstrip() for line in printed.splitlines()).strip()
