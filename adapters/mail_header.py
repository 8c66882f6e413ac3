"""Header fields of e-mails: encoded words and folded lines (RFC 5322, RFC 2047).

The standard library's folding splits encoded words wrongly: some texts beyond ASCII lose or gain
spaces, or get empty encoded words, which strict servers refuse.
"""

import re
import string
from base64 import b64encode
from collections.abc import Iterable, Iterator
from email.headerregistry import Address
from typing import Final

from domain.text import one_line

MAX_LINE: Final = 76
"""The maximum length of a line that holds an encoded word (RFC 2047, section 2)."""

MAX_WORD: Final = 75
"""The maximum length of an encoded word (RFC 2047, section 2)."""

_Q, _B = "=?utf-8?q?", "=?utf-8?b?"
_END = "?="
# The characters that are allowed unencoded in every place, names of senders included.
_UNENCODED = frozenset((string.ascii_letters + string.digits + "!*+-/").encode())
_MAX_PLAIN_WORD = 60
_TEXT = re.compile(rf"[!-~]{{1,{_MAX_PLAIN_WORD}}}( [!-~]{{1,{_MAX_PLAIN_WORD}}})*")
_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]{{1,{_MAX_PLAIN_WORD}}}"
_ATOMS = re.compile(rf"{_ATOM}( {_ATOM})*")
_QUOTABLE = re.compile(rf"[ !#-\[\]-~]{{1,{_MAX_PLAIN_WORD}}}")


def text_field(name: str, text: str) -> str:
    """Return a field with free text, such as the subject, without a line end after it."""
    text = one_line(text)
    if not text:
        return f"{name}:"
    start = f"{name}: "
    if _TEXT.fullmatch(text) and "=?" not in text:
        return _folded(start, text.split(" "))
    return _folded(start, _encoded_words(text, len(start)))


def address_field(name: str, address: Address) -> str:
    """Return a field with one mailbox, without a line end after it.

    The address is not encoded: one beyond ASCII requires a server with SMTPUTF8.
    """
    start, shown = f"{name}: ", one_line(address.display_name)
    if not shown:
        return start + address.addr_spec
    return _folded(start, [*_phrase(shown, len(start)), f"<{address.addr_spec}>"])


def _phrase(shown: str, used: int) -> list[str]:
    if "=?" not in shown:
        if _ATOMS.fullmatch(shown):
            return shown.split(" ")
        if _QUOTABLE.fullmatch(shown):
            return [f'"{shown}"']
    return list(_encoded_words(shown, used))


def _folded(start: str, words: Iterable[str]) -> str:
    """Return the words separated by spaces, with a new line before each that is too long."""
    lines, line = [], start
    for word in words:
        if line not in {start, " "} and len(line) + 1 + len(word) > MAX_LINE:
            lines.append(line)
            line = " "
        line += word if line in {start, " "} else f" {word}"
    return "\r\n".join([*lines, line])


def _encoded_words(text: str, used: int) -> Iterator[str]:
    """Yield the text as encoded words, the first for a line on which `used` characters are used.

    The spaces between encoded words are not part of the text (RFC 2047, section 6.2), so the
    spaces of the text are inside of them. No character is split.
    """
    q = sum(len(_q(character)) for character in text) <= len(b64encode(text.encode()))
    room = min(MAX_WORD, MAX_LINE - used)
    part = ""
    for character in text:
        if part and len(_encoded(part + character, q=q)) > room:
            yield _encoded(part, q=q)
            part, room = "", MAX_WORD
        part += character
    yield _encoded(part, q=q)


def _encoded(part: str, *, q: bool) -> str:
    if q:
        return f"{_Q}{''.join(map(_q, part))}{_END}"
    return f"{_B}{b64encode(part.encode()).decode('ascii')}{_END}"


def _q(character: str) -> str:
    if character == " ":
        return "_"
    return "".join(
        chr(octet) if octet in _UNENCODED else f"={octet:02X}" for octet in character.encode()
    )
