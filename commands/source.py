"""Files that a command reads."""

import sys
from pathlib import Path


def read_input(file: str) -> bytes:
    """Return the content of `file`; - is stdin. Raises OSError, also when stdin is closed."""
    if file != "-":
        return Path(file).read_bytes()
    if sys.stdin is None:
        raise OSError("stdin is closed")
    return sys.stdin.buffer.read()
