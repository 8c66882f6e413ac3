"""The memory of `import` and `export`, measured as processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.builders.account_file import account, user
from tests.commands.conftest import ROOT, environment

SETTINGS: Final[JsonValue] = {"numbers": [0.5] * 5000}
"""Little for the database, and ten times as large in memory."""

# The peak of a process counts that of its parent at the fork, so the parent must be small.
MEASURED: Final = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=open("out.json", "wb"))
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def write_accounts(path: Path, name: str, count: int) -> Path:
    """Write a file of `count` accounts."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"accounts": [')
        for number in range(count):
            owner = user(f"owner@{name}-{number}.example", role="owner")
            each = account(number, users=[owner], locked_settings=SETTINGS)
            file.write("," * bool(number) + json.dumps({**each, "id": f"{name}-{number}"}))
        file.write("]}")
    return path


def peak_memory(tmp_path: Path, engine: AsyncEngine, *command: str) -> int:
    """Run a command to its end; return the largest memory that it had, in KiB."""
    url = engine.url.render_as_string(hide_password=False)
    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, str(ROOT / "starter.py"), *command],
        env=environment(tmp_path, SEATFLOW_DATABASE_URL=url),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    status, peak = measured.stdout.split()
    assert (status, measured.stderr) == ("0", "")
    return int(peak)


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_the_memory_of_import_and_export_does_not_grow_with_the_file(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    """`import`, `export`: both keep a group of accounts, whatever the size of the file."""
    small = write_accounts(tmp_path / "small.json", "small", 20)
    large = write_accounts(tmp_path / "large.json", "large", 200)
    little = [peak_memory(tmp_path, engine, *each) for each in (["import", str(small)], ["export"])]
    much = [peak_memory(tmp_path, engine, *each) for each in (["import", str(large)], ["export"])]
    assert much[0] < 1.3 * little[0], (little, much)
    assert much[1] < 1.3 * little[1], (little, much)
    exported = json.loads((tmp_path / "out.json").read_bytes())["accounts"]
    assert len(exported) == 220
