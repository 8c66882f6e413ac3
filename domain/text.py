"""The normalization of text typed by people (TXT-3)."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
"""A language, optionally with a region."""

WHOLE_NUMBER: Final = re.compile("0|[1-9][0-9]{0,17}")
"""A whole number: ASCII digits without a sign, separators or leading zeros."""

LANGUAGES: Final = ("en", "de", "fr", "pl", "nl", "sv")
"""The languages of letters and pages (TXT-1)."""

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
# The lookbehind starts a match at the first blank of a run only; without it the time grows with
# the square of the length.
_CONTROLS = re.compile(rf"(?<![\s{_CONTROL}])[\s{_CONTROL}]*[{_CONTROL}][\s{_CONTROL}]*")


def _whole_number(text: object) -> object:
    # `int` would also read `1_0`, `+1`, ` 1`, `01`, `1.0` and the digits of other scripts.
    if isinstance(text, str) and not WHOLE_NUMBER.fullmatch(text):
        raise ValueError(
            "write a whole number in ASCII digits, without a sign, underscores or leading zeros"
        )
    return text


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
"""A number that a setting gives as text."""


def unknown_locale(locale: str) -> str | None:
    """Return why nothing is written in this locale; None if its language is known (TXT-1)."""
    language = re.split("[-_]", locale)[0].lower()
    if LOCALE.fullmatch(locale) and language in LANGUAGES:
        return None
    known = f"{', '.join(LANGUAGES[:-1])} or {LANGUAGES[-1]}"
    return f"unknown locale {locale}; use {known}, optionally with a region such as de-AT"


def one_line(text: str) -> str:
    """Return `text` trimmed, with each run of control characters as one space (TXT-3)."""
    return composed(_CONTROLS.sub(" ", text)).strip()


_MOST_MARKS: Final = 30
_JOINER: Final = "\N{COMBINING GRAPHEME JOINER}"


def composed(text: str) -> str:
    """Return `text` in NFC, in time that grows with its length.

    Marks are sorted in a time that grows with the square of their number. So after each 30 in a
    row, more than any language has, an invisible character follows (UAX #15, 13).
    """
    if len(text) > _MOST_MARKS and not text.isascii():
        text = "".join(_with_joiners(text))
    return unicodedata.normalize("NFC", text)


def _with_joiners(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > _MOST_MARKS:
            yield _JOINER
            marks = 1
        yield char


_TO_SPACES = dict.fromkeys(
    (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x2028,
        0x2029,
        # The overrides and isolates of writing direction, which reorder the rest of a line.
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ),
    " ",
)
del _TO_SPACES[ord("\n")]


def printable(text: str) -> str:
    """Return `text` without characters that control a terminal; its lines are kept (TXT-3)."""
    return text.translate(_TO_SPACES)


def code_span(text: str) -> str:
    """Return `text` as a Markdown code span, in which no link, image or markup is recognized.

    Escaped punctuation would not do: GitHub's dialect finds bare URLs after the escapes are gone.
    """
    line = one_line(text)
    if not line:
        return ""
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    # A backtick at an end would belong to the fence.
    padding = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{padding}{line}{padding}{fence}"


OneLine = Annotated[str, AfterValidator(one_line)]
"""A name or a note on one line; control characters become spaces (TXT-3)."""


_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters with which a cell of a spreadsheet becomes a formula; the last four are wide ones."""


def spreadsheet_text(cell: object) -> str:
    """Return the cell so that a spreadsheet reads text, not a formula (OWASP, CSV injection)."""
    text = one_line(str(cell))
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


_LINE_ENDS = re.compile(r"\r\n?|[\n\x0b\x0c\x85\u2028\u2029]")


def short_lines(text: str) -> str:
    """Return `text` with each of its lines normalized and at most one empty line in a row (TXT-3).

    Every line end becomes a newline; other control characters become spaces.
    """
    lines = "\n".join(map(one_line, _LINE_ENDS.split(text)))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


Lines = Annotated[str, AfterValidator(short_lines)]
"""A plain text of several lines; its other control characters become spaces (TXT-3)."""
