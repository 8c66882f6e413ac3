"""The state folder of an embedded stack: one stack at a time, with one Temporal server."""

import asyncio
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from adapters.private_file import make_private_file
from domain.error import ErrorCode, Refused

SERVER_STOP_TIMEOUT = timedelta(seconds=10)
_POLL_SECONDS = 0.05


@contextmanager
def locked(folder: Path, addresses: str) -> Iterator[None]:
    """Hold the folder's lock during the body; the system releases it when the process dies.

    `addresses` tell a second stack where this one is. Raises `Refused(conflict)` with the
    addresses of the stack that holds the lock.
    """
    lock = folder / "stack.lock"
    make_private_file(lock)
    with lock.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refused(
                ErrorCode.CONFLICT, f"Seatflow is already up in {folder}: {file.read()}."
            ) from None
        file.truncate(0)
        file.write(addresses)
        file.flush()
        yield


def database_of(folder: Path) -> Path:
    """Return the database of the folder's Temporal server, by which its process is recognized."""
    return folder.resolve() / "temporal.db"


def record_server(folder: Path, pid: int) -> None:
    """Record the process of the folder's Temporal server."""
    make_private_file(_pid_file(folder))
    _pid_file(folder).write_text(str(pid), encoding="ascii")


async def stop_orphaned_server(folder: Path) -> None:
    """Stop the Temporal server of an earlier stack that was killed; call it under the lock.

    A process counts as that server only if its command line names the folder's database.
    """
    try:
        pid = int(_pid_file(folder).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return
    kill_at = time.monotonic() + SERVER_STOP_TIMEOUT.total_seconds()
    while str(database_of(folder)) in _command_line(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM if time.monotonic() < kill_at else signal.SIGKILL)
        await asyncio.sleep(_POLL_SECONDS)


def _command_line(pid: int) -> str:
    """Return the command line of a running process; empty when it has ended."""
    if Path("/proc/self").exists():
        with suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return ""
    listed = subprocess.run(
        ("ps", "-ww", "-o", "command=", "-p", str(pid)), capture_output=True, text=True, check=False
    )
    return listed.stdout


def _pid_file(folder: Path) -> Path:
    return folder / "temporal.pid"
