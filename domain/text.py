"""Text that people typed, made fit to be written anywhere."""

import re
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator

LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
"""A language, perhaps with a region."""

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
# Only where white space begins: tried from each blank, a long gap would take for ever.
_CONTROLS = re.compile(rf"(?<![\s{_CONTROL}])[\s{_CONTROL}]*[{_CONTROL}][\s{_CONTROL}]*")


def one_line(text: str) -> str:
    """`text` with control characters as one space each run, trimmed (TXT-3)."""
    return unicodedata.normalize("NFC", _CONTROLS.sub(" ", text)).strip()


OneLine = Annotated[str, AfterValidator(one_line)]
"""A name or a note: any character, on one line (TXT-3)."""
