"""The stop signal, the log and the exit of long-running processes."""

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from domain.address import mask_all
from domain.error import Refused

log = logging.getLogger(__name__)


class MaskingFormatter(logging.Formatter):
    """Masks every address, also in messages of libraries."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one entry with its traceback."""
        return mask_all(super().format(record))


class OrdinaryRefusals(logging.Filter):
    """Drops entries about activities that were refused by a rule, which is no fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the entry is kept."""
        return not (record.exc_info and isinstance(record.exc_info[1], Refused))


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log to stderr with masked addresses."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(OrdinaryRefusals())
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    log_uncaught_failures()


def log_uncaught_failures() -> None:
    """Log failures in threads and destructors, which Python would print."""
    threading.excepthook = lambda failure: log.error("a thread failed", exc_info=failure.exc_value)
    sys.unraisablehook = lambda failure: log.error(
        "%s", failure.err_msg or "a destructor failed", exc_info=failure.exc_value
    )
    logging.captureWarnings(capture=True)


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM, Ctrl-C and a closing terminal set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # `nohup` ignores SIGHUP, and it stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def exit_process(status: int) -> NoReturn:
    """Flush the output and end the process at once.

    Threads of the SDK's core may still report, for example about a cancelled request, and abort an
    interpreter that is shutting down.
    """
    # The pipe or the terminal may be closed.
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
