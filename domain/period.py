"""Durations in the notation of the command line: `90m`, `12h`, `1d`."""

import re
from datetime import timedelta
from typing import Final

from domain.error import ErrorCode, Refused

_UNITS: Final = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_LONGEST_DIGITS: Final = 6


def parse_duration(text: str) -> timedelta:
    """Parse a duration. Raises `Refused(invalid_input)`."""
    found = re.fullmatch(rf"([1-9][0-9]{{0,{_LONGEST_DIGITS - 1}}})([wdhms])", text.strip())
    if not found:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"Invalid duration {text!r}; use 1d, 12h, 90m or 30s."
        )
    return int(found[1]) * _UNITS[found[2]]


def format_duration(span: timedelta) -> str:
    """Format a duration in the largest unit that divides it."""
    unit = next(name for name, size in _UNITS.items() if name != "w" and not span % size)
    return f"{span // _UNITS[unit]}{unit}"
