"""The text of an import file, cut into groups of accounts that fit in memory.

`ijson` finds where accounts begin and end. Each group is then read by the parser of Pydantic,
which limits the depth, and names the line and the column of an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import ijson
from pydantic_core import from_json

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_CHUNK: Final = 2**16
"""Bytes that are read at once."""
_GROUP: Final = 2**18
"""Bytes after which a group of accounts ends."""
_PIECE: Final = re.compile(rb"[^\[\]{}]*[\[\]{}]|[^\[\]{}]+")
"""Text up to a bracket: accounts, and lists of them, begin and end at one."""
_BEFORE: Final = b'{"":['
_AFTER: Final = b"]}"
"""The text after a group, which is then as deep as in the file."""
_BLANKS: Final = b" \t\r\n"
_ROOT: Final = 1
"""The depth in the outermost object."""
_LIST: Final = 2
"""The depth in the list of accounts."""
_DEEPEST: Final = 300
"""The depth at which reading ends; Pydantic's parser has a smaller limit."""
_PLACE: Final = re.compile(r"at line (\d+) column (\d+)$")


class NotJson(ValueError):
    """Text that is no JSON; the message has the place in the file."""


class TooLarge(ValueError):
    """A part that is too large to be read at once."""

    def __init__(self, account: int | None) -> None:
        super().__init__()
        self.account = account
        """The number of the account; None if it is the rest of the file."""


@dataclass(frozen=True)
class Group:
    """The text of some consecutive accounts, as a JSON document with one list."""

    list_number: int
    """A file that names `accounts` twice has more than one list: the last one counts."""
    text: bytes


@dataclass
class _Position:
    """A line and a column, both counted from 0 in bytes."""

    line: int = 0
    column: int = 0

    def after(self, text: bytes | bytearray) -> "_Position":
        """Return the position at the end of `text`, which begins here."""
        breaks = text.count(b"\n")
        if not breaks:
            return _Position(self.line, self.column + len(text))
        return _Position(self.line + breaks, len(text) - text.rindex(b"\n") - 1)


@dataclass
class _Pasted:
    """Text from several parts of the file, which knows their places there."""

    text: bytearray = field(default_factory=bytearray)
    _end: _Position = field(default_factory=_Position)
    _starts: list[tuple[_Position, _Position]] = field(default_factory=list)
    """The position of each part in the text, and in the file."""

    def add(self, text: bytes, at: _Position) -> None:
        self._starts.append((self._end, at))
        self.text += text
        self._end = self._end.after(text)

    def require_json(self, end: bytes = b"") -> None:
        """Raise NotJson unless the text is JSON together with `end`."""
        try:
            from_json(bytes(self.text) + end, allow_inf_nan=False)
        except ValueError as mistake:
            raise NotJson(_PLACE.sub(self._in_file, str(mistake))) from None

    def _in_file(self, place: re.Match[str]) -> str:
        line, column = int(place[1]) - 1, int(place[2])
        # Earlier parts are known to be right, so an error at the end of one is in the next.
        part, at = next(
            (part, at)
            for part, at in reversed(self._starts)
            if (part.line, part.column) <= (line, column)
        )
        if line == part.line:
            column += at.column - part.column
        return f"at line {at.line + line - part.line + 1} column {column}"


class AccountText:
    """The text of a file: its accounts group by group, and the rest."""

    def __init__(self, opened: BinaryIO, largest: int) -> None:
        """Read `opened`, of which one account, and the rest, have at most `largest` bytes."""
        self._opened = opened
        self._largest = largest
        self._rest = _Pasted()
        self._sent = 0
        self.lists = 0
        """The lists of accounts that have been read."""

    @property
    def rest(self) -> bytes:
        """The document with empty lists of accounts, once all groups have been read."""
        return bytes(self._rest.text)

    def groups(self) -> Iterator[Group]:
        """Yield the groups in the order of the file. Raises NotJson, TooLarge."""
        scan = _Scan()
        part, at, entry, follows = bytearray(), _Position(), 0, False
        for piece in self._pieces():
            part += piece
            try:
                scan.read(piece)
            except Exception as mistake:
                raise self._not_json(part, at, mistake, follows=follows) from None
            self._require_room(len(part) - entry, scan)
            if scan.opened:
                self._rest.add(bytes(part), at)
                if not self.lists:
                    # Only once: a file may have thousands of lists.
                    self._rest.require_json(b"]}")
                at, entry, follows = at.after(part), 0, False
                self.lists += 1
                part.clear()
            elif scan.closed or (scan.entry_ended and len(part) >= _GROUP):
                kept = b"]" if scan.closed else b""
                text = bytes(part.removesuffix(kept))
                yield from _group(text, at, self.lists)
                at, entry, follows = at.after(text), 0, not scan.closed
                part[:] = kept
            elif scan.entry_ended:
                entry = len(part)
        try:
            scan.end()
        except Exception as mistake:
            raise self._not_json(part, at, mistake, follows=follows) from None
        self._rest.add(bytes(part), at)
        self._rest.require_json()

    def _require_room(self, size: int, scan: "_Scan") -> None:
        of_account = scan.closed or (scan.in_accounts and not scan.opened)
        if size + (0 if of_account else len(self._rest.text)) > self._largest:
            raise TooLarge(scan.entries if of_account else None)

    def _pieces(self) -> Iterator[bytes]:
        self._opened.seek(0)
        if self._opened.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
            self._opened.seek(0)
        self._sent = self._opened.tell()
        while chunk := self._opened.read(_CHUNK):
            for piece in _PIECE.findall(chunk):
                self._sent += len(piece)
                yield piece

    def _not_json(
        self, part: bytearray, at: _Position, mistake: Exception, *, follows: bool
    ) -> NotJson:
        """Return the error with the place that Pydantic's parser finds."""
        pasted = self._rest
        if follows:
            # It stands for the accounts before.
            pasted.add(b"{}", at)
        self._opened.seek(self._sent)
        pasted.add(bytes(part) + self._opened.read(self._largest), at)
        try:
            pasted.require_json()
        except NotJson as found:
            return found
        return NotJson(" ".join(str(mistake).split()))


def _group(text: bytes, at: _Position, number: int) -> Iterator[Group]:
    """Yield the group, unless the text has no account. Raises NotJson."""
    entries = text.lstrip(_BLANKS + b",")
    if entries:
        start = at.after(text[: len(text) - len(entries)])
        pasted = _Pasted()
        for each in (_BEFORE, entries, _AFTER):
            pasted.add(each, start)
        pasted.require_json()
        yield Group(number, bytes(pasted.text))


class _Scan:
    """The nesting of a file, read piece by piece."""

    def __init__(self) -> None:
        self._events: list[tuple[str, object]] = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events)
        self._depth = 0
        self._is_object = False
        self._name: object = None
        self.in_accounts = False
        self.opened = False
        """True if the piece ends with the beginning of the list of accounts."""
        self.closed = False
        """True if the piece ends with the end of that list."""
        self.entry_ended = False
        """True if the piece ends with an account."""
        self.entries = 0
        """The accounts of the list that have ended."""

    def read(self, piece: bytes) -> None:
        """Read the next piece, which has one bracket at most, at its end."""
        self._parser.send(piece)
        self.opened = self.closed = self.entry_ended = False
        for event, value in self._events:
            if event == "map_key":
                if self._depth == 1:
                    self._name = value
            elif event in ("start_map", "start_array"):
                self._begin(event)
            elif event in ("end_map", "end_array"):
                self._depth -= 1
                if self.in_accounts:
                    self.closed = self._depth == _ROOT
                    self.entry_ended = self._depth == _LIST
                    self.entries += self.entry_ended
                    self.in_accounts = not self.closed
            elif self.in_accounts and self._depth == _LIST:
                self.entries += 1
        self._events.clear()

    def end(self) -> None:
        """Raise an error unless the document is complete."""
        self._parser.close()

    def _begin(self, event: str) -> None:
        if self._depth == _DEEPEST:
            raise NotJson("nested too deeply")
        if self._depth == 0:
            self._is_object = event == "start_map"
        elif self._depth == _ROOT and self._is_object:
            self.opened = self.in_accounts = event == "start_array" and self._name == "accounts"
            if self.opened:
                self.entries = 0
        self._depth += 1
