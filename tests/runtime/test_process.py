"""The stop signal of a long-running process."""

import subprocess
import sys

import pytest

STOPS = """
import asyncio, os, signal
from runtime.process import stop_signal

async def main():
    stop = stop_signal()
    os.kill(os.getpid(), signal.{number})
    await asyncio.wait_for(stop.wait(), 5)

asyncio.run(main())
"""

GOES_ON = """
import asyncio, os, signal
from runtime.process import stop_signal

async def main():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = stop_signal()
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.1)
    assert not stop.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(stop.wait(), 5)

asyncio.run(main())
"""


def ran(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_process_stops_on_a_signal_or_when_its_terminal_closes(number: str) -> None:
    done = ran(STOPS.format(number=number))
    assert (done.returncode, done.stderr) == (0, "")


def test_nohup_keeps_it_running() -> None:
    done = ran(GOES_ON)
    assert (done.returncode, done.stderr) == (0, "")
