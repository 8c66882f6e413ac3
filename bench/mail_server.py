"""The mail server of a stand, as a process: it takes every letter."""

import asyncio
import sys
from pathlib import Path

from devstack.mailbox import MailSink
from runtime.process import exit_process, stop_signal


async def serve(port: int, folder: Path) -> None:
    """Take letters until the process is asked to stop."""
    stop = stop_signal()
    async with MailSink(folder, port=port):
        await stop.wait()


def main() -> None:
    """Run the mail server: its port and the folder for the letters are its arguments."""
    _, port, folder = sys.argv
    asyncio.run(serve(int(port), Path(folder)))
    exit_process(0)
