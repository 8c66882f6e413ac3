"""Import files that are read account by account, against the same files read at once."""

import io
import json
import os
import stat
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import from_json

from commands import account_text, import_file
from commands.import_file import ImportFile, UnreadableFile
from commands.source import MEBIBYTE, open_input
from domain.account_file import InputError, read_accounts
from tests.builders.account_file import VALUES, account, documents, full_account, user

_JSON = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\n", b"1", b"01", b"NaN", b"1e999", b"\\ud800"]
_MEMBERS = [b'"accounts": [1],', b'"id": "b",', b'"users": [{"a": 1, "a": 2}],']
PARTS = st.sampled_from([*_JSON, *_MEMBERS, b"\xff", b"\x00"])
"""Parts to put into a file, valid at some places."""


@contextmanager
def opened(text: bytes) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(text)
        file.flush()
        yield file


def errors_at_once(text: bytes) -> list[InputError] | str:
    """Return the errors of a file that is read as a whole, or the reason why it is no JSON."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as mistake:
        return f"not JSON: {mistake}"
    repeated: dict[int, list[str]] = {}

    def read(members: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        document = dict(members)
        counts = Counter(name for name, _ in members)
        repeated[id(document)] = [name for name, times in counts.items() if times > 1]
        return document

    def errors(path: str, value: JsonValue) -> Iterator[InputError]:
        if isinstance(value, dict):
            for name in repeated[id(value)]:
                yield path or "$", f"{name!r} is named twice in one object"
            for name, member in value.items():
                yield from errors(f"{path}.{name}".removeprefix("."), member)
        elif isinstance(value, list):
            for number, entry in enumerate(value):
                yield from errors(f"{path}[{number}]", entry)

    document = json.loads(text, object_pairs_hook=read)
    return [*errors("", document), *read_accounts(document).errors]


def errors_one_by_one(text: bytes) -> list[InputError] | str:
    """Return the errors of a file that is read account by account."""
    with opened(text) as file:
        try:
            return list(ImportFile(file).check().errors)
        except UnreadableFile as unreadable:
            return unreadable.reason


@pytest.fixture(params=[1, 300, 2**18])
def group(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the file into parts of different sizes, in its middle as well."""
    monkeypatch.setattr(account_text, "_GROUP", request.param)
    monkeypatch.setattr(account_text, "_CHUNK", min(request.param + 6, 2**16))


@pytest.mark.usefixtures("group")
def test_the_errors_of_any_document_are_those_of_the_whole() -> None:
    """Import file: the same errors at the same paths in the same order."""

    @settings(deadline=None)
    @given(documents(), st.dictionaries(st.text(max_size=8), VALUES, max_size=2))
    def check(document: JsonValue, others: dict[str, JsonValue]) -> None:
        if isinstance(document, dict):
            document = {**others, **document}
        text = json.dumps(document, indent=1).encode()
        assert errors_one_by_one(text) == errors_at_once(text)

    check()


@pytest.mark.usefixtures("group")
def test_the_errors_of_any_text_are_those_of_the_whole() -> None:
    """Import file: an error in the JSON has the line and column in the file."""
    listed: list[JsonValue] = [full_account(1), "none", full_account(1), [1, [2]], 5, {}]
    document = {"catalog": {"workplace": "é"}, "accounts": listed, "x": [{"y": {}}]}
    texts = [json.dumps(document, indent=n, ensure_ascii=False).encode() for n in (None, 1)]

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(texts), st.lists(st.tuples(st.integers(0, 3000), PARTS), max_size=3))
    def check(text: bytes, damage: list[tuple[int, bytes]]) -> None:
        for place, part in damage:
            at = place % (len(text) + 1)
            # The length decides, so that each part is inserted at some places, and put elsewhere.
            text = text[:at] + part + text[at + place % 2 :]
        assert errors_one_by_one(text) == errors_at_once(text)

    check()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xef\xbb\xbf{}",
        b"[" * 1000,
        b'[{"a": 1, "a": 2}]',
        b'{"accounts": 1}',
        b'{"accounts": [{}], "accounts": 1}',
        b'{"accounts": [{"a": 1, "a": 2}, {}], "accounts": []}',
        b'{"accounts": {}, "accounts": [{"a": 1, "a": 2}], "x": {"b": 1, "b": 2}}',
        b'{"x": {"accounts": [{}]}, "accounts": [{"accounts": [{}]}]}',
        b'{"accounts": [' + b"[" * 197 + b"]" * 197 + b"]}",
        b'{"accounts": [' + b"[" * 198 + b"]" * 198 + b"]}",
        b'{"accounts": [' + b"[" * 199 + b"]" * 199 + b"]}",
        b'{"accounts": [1], ' * 3 + b'"x": 1}',
        b"{" + b'"accounts": [1], ' * 20_000 + b'"accounts": [{}]}',
        b'{"accounts": [{}, ' + b"9" * 5000 + b"]}x",
    ],
)
def test_unusual_texts_have_the_errors_of_the_whole(text: bytes) -> None:
    """Import file: the last of lists with one name counts, and depth is limited as before."""
    assert errors_one_by_one(text) == errors_at_once(text)


def test_errors_between_accounts_are_found_across_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import file: ids listed twice, and users of two accounts, in the order of the file."""
    monkeypatch.setattr(account_text, "_GROUP", 1)
    users = [[user("b@x.example")], [user("a@x.example")], [user("c@x.example")]]
    document: JsonValue = {
        "accounts": [account(n % 3, users=users[n % 3] + users[(n + 1) % 3]) for n in range(4)]
    }
    text = json.dumps(document).encode()
    found = errors_one_by_one(text)
    assert found == errors_at_once(text)
    assert found == [
        ("$", "account a0 is listed twice"),
        ("$", "user on more than one account b@x.example is listed twice"),
        ("$", "user on more than one account a@x.example is listed twice"),
        ("$", "user on more than one account c@x.example is listed twice"),
    ]


def test_the_work_grows_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import file: twice as many accounts take twice as many calls."""

    def calls(count: int) -> int:
        text = json.dumps({"accounts": [account(n) for n in range(count)]}).encode()
        counted = 0

        def count_call(*_: object) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count_call)
        try:
            errors_one_by_one(text)
        finally:
            sys.setprofile(None)
        return counted

    monkeypatch.setattr(account_text, "_GROUP", 1)
    calls(10)  # Fills the caches of zones and countries.
    assert calls(400) < 4.5 * calls(100)


@pytest.mark.parametrize(
    ("document", "path", "reason"),
    [
        (
            {"accounts": [account(0), account(1, locked_settings={"x": "y" * MEBIBYTE})]},
            "accounts[1]",
            "more than 1 MiB, the largest account that can be read",
        ),
        (
            {"x": "y" * MEBIBYTE, "accounts": [account(0)]},
            None,
            "more than 1 MiB besides its accounts",
        ),
    ],
)
def test_a_part_that_is_too_large_is_refused_with_the_limit(
    monkeypatch: pytest.MonkeyPatch, document: JsonValue, path: str | None, reason: str
) -> None:
    """`import`: one account, and the rest of the file, must fit in memory."""
    monkeypatch.setattr(import_file, "LARGEST_ACCOUNT", MEBIBYTE)
    with (
        opened(json.dumps(document).encode()) as file,
        pytest.raises(UnreadableFile) as unreadable,
    ):
        ImportFile(file).check()
    assert (unreadable.value.path, unreadable.value.reason) == (path, reason)


def test_a_file_that_changes_while_it_is_read_is_refused() -> None:
    """`import`: what is written is what was checked."""
    with opened(json.dumps({"accounts": [account(1)]}).encode()) as file:
        read = ImportFile(file)
        assert not read.check().errors
        file.seek(0)
        file.write(b" ")
        file.flush()
        os.utime(file.fileno(), ns=(1, 1))
        with pytest.raises(UnreadableFile):
            list(read.groups())


@contextmanager
def stdin_of(text: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make `text` the stdin of this process, as a pipe."""
    read, write = os.pipe()

    def send() -> None:
        with os.fdopen(write, "wb") as pipe:
            pipe.write(text)

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(read, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        yield
        pipe.read()
    sender.join()


def test_stdin_is_copied_to_a_file_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import -`: the copy has mode 0600, and can be read again."""
    with stdin_of(b"[]", monkeypatch), open_input("-", 2) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
        assert file.read() == b"[]"
        file.seek(0)
        assert file.read() == b"[]"


def test_stdin_has_the_limit_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import -`: no more than the limit is copied, and the error names it."""
    with (
        stdin_of(b" " * (MEBIBYTE + 1), monkeypatch),
        pytest.raises(OSError, match="more than 1 MiB, the largest file that can be read"),
        open_input("-", MEBIBYTE),
    ):
        pass
