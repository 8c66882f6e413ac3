"""Files that a command reads."""

import sys
from typing import BinaryIO, Final

MEBIBYTE: Final = 2**20


def read_input(file: str, at_most: int) -> bytes:
    """Return the content of `file`; - is stdin.

    Raises OSError, also when stdin is closed, and when there are more than `at_most` bytes. No
    more than these are read.
    """
    if file != "-":
        # As bytes, because the encoding of the locale may lack a character of the name.
        with open(file.encode(), "rb") as opened:
            return _read(opened, at_most)
    if sys.stdin is None:
        raise OSError("stdin is closed")
    return _read(sys.stdin.buffer, at_most)


def _read(opened: BinaryIO, at_most: int) -> bytes:
    content = opened.read(at_most + 1)
    if len(content) > at_most:
        raise OSError(
            f"more than {at_most // MEBIBYTE} MiB, the largest file that can be read; split it"
        )
    return content
