"""Files that a command reads."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

MEBIBYTE: Final = 2**20

_CHUNK: Final = 2**16
"""Bytes that are copied at once."""


@contextmanager
def open_input(file: str, at_most: int) -> Iterator[BinaryIO]:
    """Open `file` for reading, possibly more than once; - is stdin.

    What is no regular file is copied to a temporary one, which only this user can read. Raises
    OSError, also when stdin is closed, and when there are more than `at_most` bytes. No more than
    these are copied.
    """
    if file == "-":
        if sys.stdin is None:
            raise OSError("stdin is closed")
        with tempfile.TemporaryFile() as copy:
            yield _copied(sys.stdin.buffer, copy, at_most)
        return
    # As bytes, because the encoding of the locale may lack a character of the name.
    with open(file.encode(), "rb") as opened:
        status = os.fstat(opened.fileno())
        if stat.S_ISREG(status.st_mode):
            if status.st_size > at_most:
                raise _too_large(at_most)
            yield opened
            return
        with tempfile.TemporaryFile() as copy:
            yield _copied(opened, copy, at_most)


def _copied(opened: BinaryIO, copy: BinaryIO, at_most: int) -> BinaryIO:
    left = at_most
    while chunk := opened.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise _too_large(at_most)
        copy.write(chunk)
    copy.seek(0)
    return copy


def _too_large(at_most: int) -> OSError:
    return OSError(
        f"more than {at_most // MEBIBYTE} MiB, the largest file that can be read; split it"
    )
