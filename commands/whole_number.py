"""Whole numbers on the command line."""

from collections.abc import Callable

from domain.text import WHOLE_NUMBER


def whole_number(least: int = 0, most: int = 10**9) -> Callable[[str], int]:
    """Return the parser of an option: ASCII digits without a sign or leading zeros.

    `int` would also accept `1_0`, `+1`, ` 1` and the digits of other scripts. The default of the
    option is passed as well.
    """

    def parse(typed: str) -> int:
        if WHOLE_NUMBER.fullmatch(str(typed)) and least <= int(typed) <= most:
            return int(typed)
        raise ValueError(f"{typed!r} is not a whole number from {least} to {most}.")

    return parse
