"""Stop signals, logging and exit of long-running processes."""

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
from domain.text import printable

log = logging.getLogger(__name__)


class MaskingFormatter(logging.Formatter):
    """Formatter that masks e-mail addresses and removes control characters.

    It also does so in the entries of libraries.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format an entry and its traceback."""
        return printable(mask_all(super().format(record)))


class RefusalFilter(logging.Filter):
    """Filter that drops entries about refusals, which are no errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for an entry about a refusal."""
        return not (record.exc_info and isinstance(record.exc_info[1], Refused))


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log to stderr, with addresses masked."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RefusalFilter())
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    log_unhandled_errors()


def log_unhandled_errors() -> None:
    """Log warnings and the errors in threads and destructors that Python prints by default."""
    threading.excepthook = lambda failure: log.error(
        "unhandled error in a thread", exc_info=failure.exc_value
    )
    sys.unraisablehook = lambda failure: log.error(
        "%s", failure.err_msg or "unhandled error in a destructor", exc_info=failure.exc_value
    )
    logging.captureWarnings(capture=True)


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM, Ctrl-C or a closed terminal (SIGHUP) sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # `nohup` starts the process with SIGHUP ignored, and it must stay so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def exit_process(status: int) -> NoReturn:
    """Exit at once with `status`, after flushing the output.

    A normal exit can abort: threads of the SDK's core call into the interpreter while it shuts
    down, for example to report a cancelled request.
    """
    # The reader of a pipe may have closed it, and a terminal may be gone.
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
