"""What every long process needs: how it is told to stop, where it logs, how it leaves."""

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
    """Masks every address, also in what other people's code has to say."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry, its traceback included."""
        return mask_all(super().format(record))


class OrdinaryRefusals(logging.Filter):
    """Leaves out the tracebacks of activities in which a rule said no: that is no fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the entry is worth an operator's attention."""
        return not (record.exc_info and isinstance(record.exc_info[1], Refused))


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log plainly to stderr, without addresses."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(OrdinaryRefusals())
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    speak_through_logging()


def speak_through_logging() -> None:
    """Let failures in threads and destructors, which Python prints, be log entries."""
    threading.excepthook = lambda failure: log.error("a thread failed", exc_info=failure.exc_value)
    sys.unraisablehook = lambda failure: log.error(
        "%s", failure.err_msg or "a destructor failed", exc_info=failure.exc_value
    )
    logging.captureWarnings(capture=True)


def stop_signal() -> asyncio.Event:
    """Set when the process is asked to stop: by SIGTERM, Ctrl-C, or a terminal that closes."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # `nohup` ignores the last one, and so it stays.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def leave(status: int) -> NoReturn:
    """End the process at once, its output written.

    Threads of the SDK's core may be about to report, for example on a request that was
    given up, and they abort an interpreter that is being taken down.
    """
    # Whoever read the output may have seen enough, or its terminal is gone.
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
