"""The command line's own name, as a reader can type it."""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

NAME = "seatflow"


def program() -> str:
    """Return `seatflow` if the PATH finds this installation, else its path from this folder."""
    installed = Path(sys.executable).with_name(NAME)
    found = shutil.which(NAME)
    if not installed.exists() or (found and Path(found).samefile(installed)):
        return NAME
    with suppress(ValueError):
        return os.fspath(installed.relative_to(Path.cwd()))
    return os.fspath(installed)
