"""Stop signals of long-running processes."""

import subprocess
import sys

import pytest

STOPS = """
import asyncio, os, signal
from runtime.process import stop_signal

async def main():
    # The program that runs the tests may ignore it.
    signal.signal(signal.{number}, signal.SIG_DFL)
    stop = stop_signal()
    os.kill(os.getpid(), signal.{number})
    await asyncio.wait_for(stop.wait(), 5)

asyncio.run(main())
"""

IGNORES_HANGUP = """
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


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_stops_the_process(number: str) -> None:
    """`worker.py`, `up`: SIGTERM, Ctrl-C and a closed terminal end the process."""
    done = run_program(STOPS.format(number=number))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_ignored_hangup_stays_ignored() -> None:
    """`nohup seatflow up` survives its terminal."""
    done = run_program(IGNORES_HANGUP)
    assert (done.returncode, done.stderr) == (0, "")
