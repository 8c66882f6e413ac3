"""Mail server process of a benchmark environment; it accepts every letter."""

import asyncio
import sys
from pathlib import Path

from devstack.mailbox import MailSink
from runtime.process import exit_process, stop_signal


async def serve(port: int, folder: Path) -> None:
    """Accept letters until a stop signal arrives."""
    stop = stop_signal()
    async with MailSink(folder, port=port):
        await stop.wait()


def main() -> None:
    """Run the mail server; the arguments are its port and the folder for letters."""
    _, port, folder = sys.argv
    asyncio.run(serve(int(port), Path(folder)))
    exit_process(0)
