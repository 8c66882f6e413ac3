"""The embedded stack in a process of its own."""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.ports import Ports
from tests.commands.conftest import environment


def settings(ports: Ports) -> dict[str, str]:
    """Return the settings of a command that uses the stack on `ports`."""
    return {
        "TEMPORAL_ADDRESS": f"127.0.0.1:{ports.temporal}",
        "SEATFLOW_UI_PORT": str(ports.ui),
        "SEATFLOW_SMTP_URL": f"smtp://127.0.0.1:{ports.smtp}",
        "SEATFLOW_PUBLIC_URL": f"http://127.0.0.1:{ports.portal}",
        # An empty value counts as unset: the stack makes a key.
        "SEATFLOW_SECRET_KEY": "",
        "SEATFLOW_ENCRYPTION_KEYS": f"one:{base64.b64encode(bytes(32)).decode()}",
    }


def readable_by_others(folder: Path) -> list[str]:
    """Return everything in the folder, and the folder, that other users could read."""
    return [str(each) for each in (folder, *folder.rglob("*")) if each.stat().st_mode & 0o077]


@contextmanager
def up(
    command_line: list[str], folder: Path, ports: Ports, **others: str
) -> Iterator[subprocess.Popen[str]]:
    """Run `seatflow up` in `folder`, and yield its process once the stack is ready."""
    stack = subprocess.Popen(
        [*command_line, "--json", "up"],
        env=environment(folder, **settings(ports) | others),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stack.stdout
    try:
        printed = "".join(iter(stack.stdout.readline, "}\n")) + "}"
        assert json.loads(printed)["temporal"] == f"127.0.0.1:{ports.temporal}"
        yield stack
    finally:
        stack.terminate()
        stack.communicate(timeout=30)
