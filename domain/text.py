"""Text that people typed, made fit to be written anywhere."""

import re
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator

LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
"""A language, perhaps with a region."""

_CONTROLS = re.compile(r"\s*[\x00-\x1f\x7f-\x9f\u2028\u2029]+\s*")


def one_line(text: str) -> str:
    """`text` with control characters as one space each run, trimmed (TXT-3)."""
    return unicodedata.normalize("NFC", _CONTROLS.sub(" ", text)).strip()


OneLine = Annotated[str, AfterValidator(one_line)]
"""A name or a note: any character, on one line (TXT-3)."""
