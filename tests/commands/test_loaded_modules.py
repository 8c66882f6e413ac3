"""The modules that a command loads: only those that it uses, so that it starts fast."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKENDS = {"sqlalchemy", "temporalio", "pydantic_settings"}
WORKERS_ONLY = {
    "aiosmtpd",
    "aiosmtplib",
    "alembic",
    "jinja2",
    "starlette",
    "stripe",
    "temporalio.worker",
    "uvicorn",
}


async def loaded(folder: Path, *command: str) -> set[str]:
    """Return the modules that a command imports."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "starter.py", *command),
        cwd=ROOT,
        env={
            **os.environ,
            "SEATFLOW_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/seatflow.db",
            "SEATFLOW_SECRET_KEY": "a secret key of the tests that is long enough",
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, report = await process.communicate()
    modules = set(re.findall(r"^import time:.*\| +(\S+)$", report.decode(), re.MULTILINE))
    assert "starter" in modules or "commands.output" in modules
    return modules


@pytest.mark.parametrize(
    "command",
    [["--help"], ["invite", "--help"], ["diagram", "invitation"], ["invite"]],
    ids=" ".join,
)
async def test_a_command_without_a_backend_loads_none(tmp_path: Path, command: list[str]) -> None:
    """Help, diagrams and bad usage load neither the database nor Temporal."""
    assert not await loaded(tmp_path, *command) & (BACKENDS | WORKERS_ONLY)


@pytest.mark.parametrize(
    "command",
    [["list", "acme"], ["show", "acme", "jane@example.com"], ["licenses", "acme"]],
    ids=" ".join,
)
async def test_a_read_does_not_load_the_dependencies_of_a_worker(
    tmp_path: Path, command: list[str]
) -> None:
    """`list`, `show` and `licenses` load no library for e-mail, payments or the web."""
    assert not await loaded(tmp_path, *command) & WORKERS_ONLY


@pytest.mark.parametrize(
    "command",
    [
        ["export"],
        ["audit"],
        ["outbox", "list"],
        ["credit", "show", "acme"],
        ["domain", "list", "acme"],
    ],
    ids=" ".join,
)
async def test_a_command_of_the_store_alone_does_not_load_the_client_of_temporal(
    tmp_path: Path, command: list[str]
) -> None:
    """`export`, `domain list` and the others load no client of Temporal and no workflow."""
    assert not await loaded(tmp_path, *command) & {"temporalio.client", "workflows"}
