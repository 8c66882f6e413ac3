"""Files and folders that only their owner can read, whatever the umask of the process is."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_private_folder(folder: Path) -> None:
    """Make the folder and its missing parents; leave those that exist as they are."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(FOLDER_MODE, exist_ok=True)
            each.chmod(FOLDER_MODE)


def make_private_file(file: Path) -> None:
    """Make an empty file unless it exists; its folder exists."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


@contextmanager
def files_private() -> Iterator[None]:
    """Give a process that is started in the body a umask that makes its files private.

    The umask belongs to the whole process: files that others make meanwhile are private as well.
    """
    before = os.umask(0o777 - FOLDER_MODE)
    try:
        yield
    finally:
        os.umask(before)


def make_folder_private(folder: Path) -> None:
    """Deny all others access to a folder that exists, unless it is one that users share."""
    mode = folder.stat().st_mode
    # /tmp and its like have the sticky bit.
    if not mode & stat.S_ISVTX and stat.S_IMODE(mode) != FOLDER_MODE:
        folder.chmod(FOLDER_MODE)
