"""An import file that is read account by account, more than once."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pydantic import JsonValue

from commands.account_text import AccountText, Group, NotJson, TooLarge
from commands.source import MEBIBYTE
from domain.account_file import (
    AccountFile,
    AccountFileCheck,
    InputError,
    NumberedAccount,
    readable_account,
)
from domain.catalog import Catalog

LARGEST_ACCOUNT = 32 * MEBIBYTE
"""Bytes of one account: read, it takes some 20 times as much memory."""


class UnreadableFile(Exception):
    """A file that cannot be read to its end."""

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        """The part that cannot be read; None: the file."""


class ImportFile:
    """The accounts of a file, once it has been checked."""

    def __init__(self, opened: BinaryIO) -> None:
        self._opened = opened
        self._version = self._present_version()
        self._list_number: int | None = None
        """The number of the list that counts; None before the check, and if there is none."""
        self.catalog: Catalog | None = None
        self.ids: Sequence[str] = ()
        self.addresses: Sequence[str] = ()

    def check(self) -> AccountFile:
        """Read the whole file, and return its errors. Raises UnreadableFile."""
        number, list_number = 0, 0
        check, repeated = AccountFileCheck(), list[InputError]()
        text = AccountText(self._opened, LARGEST_ACCOUNT)
        for group in _readable(text):
            if group.list_number != list_number:
                # The last of lists with the same name counts.
                number, list_number = 0, group.list_number
                check, repeated = AccountFileCheck(), []
            names = _RepeatedNames()
            for entry in _entries(names.document(group.text)):
                repeated += names.errors(f"accounts[{number}]", entry)
                check.add(number, entry)
                number += 1
        names = _RepeatedNames()
        rest = names.document(text.rest)
        listed = isinstance(rest, dict) and isinstance(rest.get("accounts"), list)
        if not listed or list_number != text.lists:
            check, repeated = AccountFileCheck(), []
        self._list_number = text.lists if listed else None
        file = check.file(rest)
        self.catalog = file.directory.catalog
        self.ids, self.addresses = check.ids, check.addresses
        errors = (*names.errors_of_rest(rest, repeated), *file.errors)
        return AccountFile(file.directory, file.left_out, errors)

    def groups(self) -> Iterator[Sequence[NumberedAccount]]:
        """Yield the readable accounts in groups that fit in memory. Raises UnreadableFile."""
        if self._present_version() != self._version:
            raise UnreadableFile("it has changed while it was read")
        number = 0
        for group in _readable(AccountText(self._opened, LARGEST_ACCOUNT)):
            if group.list_number == self._list_number:
                entries = _entries(json.loads(group.text))
                numbered = enumerate(entries, number)
                read = ((place, readable_account(place, entry)) for place, entry in numbered)
                yield [(place, account) for place, account in read if account]
                number += len(entries)

    def _present_version(self) -> tuple[int, int]:
        status = os.fstat(self._opened.fileno())
        return status.st_size, status.st_mtime_ns


def _readable(text: AccountText) -> Iterator[Group]:
    try:
        yield from text.groups()
    except NotJson as mistake:
        raise UnreadableFile(f"not JSON: {mistake}") from None
    except TooLarge as large:
        size = f"more than {LARGEST_ACCOUNT // MEBIBYTE} MiB"
        if large.account is None:
            raise UnreadableFile(f"{size} besides its accounts") from None
        reason = f"{size}, the largest account that can be read"
        raise UnreadableFile(reason, f"accounts[{large.account}]") from None


def _entries(document: JsonValue) -> Sequence[JsonValue]:
    """Return the entries of a group."""
    match document:
        case {"": list() as entries}:
            return entries
        case _:
            raise TypeError("not a group")


class _RepeatedNames:
    """The names that objects repeat, whose first values are lost."""

    def __init__(self) -> None:
        self._repeated: dict[int, list[str]] = {}

    def document(self, content: bytes) -> JsonValue:
        """Return the document, which must be kept until its errors have been read."""
        document: JsonValue = json.loads(content, object_pairs_hook=self._object)
        return document

    def errors(self, path: str, value: JsonValue) -> Iterator[InputError]:
        """Yield the errors of a part of the document."""
        if not self._repeated:
            return
        if isinstance(value, dict):
            yield from self._errors_of(path, value)
            for name, member in value.items():
                yield from self.errors(f"{path}.{name}".removeprefix("."), member)
        elif isinstance(value, list):
            for number, entry in enumerate(value):
                yield from self.errors(f"{path}[{number}]", entry)

    def errors_of_rest(
        self, rest: JsonValue, in_accounts: Sequence[InputError]
    ) -> Iterator[InputError]:
        """Yield the errors of the document, with those of its accounts in their place."""
        if not isinstance(rest, dict):
            yield from self.errors("", rest)
            return
        yield from self._errors_of("$", rest)
        for name, member in rest.items():
            yield from self.errors(name, member)
            if name == "accounts":
                yield from in_accounts

    def _errors_of(self, path: str, read: dict[str, JsonValue]) -> Iterator[InputError]:
        for name in self._repeated.get(id(read), ()):
            yield path or "$", f"{name!r} is named twice in one object"

    def _object(self, members: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        read = dict(members)
        if len(read) < len(members):
            counts = Counter(name for name, _ in members)
            self._repeated[id(read)] = [name for name, times in counts.items() if times > 1]
        return read
