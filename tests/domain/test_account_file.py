"""Errors of an import file: each once, all of them, in linear time."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from domain.account import Directory
from domain.account_file import AccountFile, Location, read_accounts
from tests.builders.account_file import account, documents, user


def calls_of(work: Callable[[], object]) -> int:
    """Return the number of calls and resumptions, of Python and of C functions."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


def bad_accounts(count: int) -> JsonValue:
    return [
        account(n, currency="XXQ", users=[user("nobody"), user(f"u{n}@x.example")])
        for n in range(count)
    ]


def one_name(count: int) -> JsonValue:
    return [account(1, vanity_url="acme", users=[user("ann@x.example")]) for _ in range(count)]


def bad_users(count: int) -> JsonValue:
    return [account(1, users=[user(f"nobody{n}") for n in range(count)])]


@pytest.mark.parametrize("accounts", [bad_accounts, one_name, bad_users])
def test_the_work_grows_with_the_file_and_not_with_its_square(
    accounts: Callable[[int], JsonValue],
) -> None:
    """Import file: 8,000 errors took a minute; the calls are counted, not the time."""

    def work(count: int) -> int:
        document: JsonValue = {"accounts": accounts(count)}

        def check() -> None:
            file = read_accounts(document)
            found = [
                (f"accounts[{n}].users[0].email", "a user of another account")
                for n, each in enumerate(file.directory.accounts)
            ]
            file.all_errors(found)

        return calls_of(check)

    work(10)  # Fills the caches of zones and countries.
    small, large = work(100), work(400)
    assert large < 4.5 * small


def test_errors_of_the_store_are_reported_beside_unreadable_parts() -> None:
    """Import file: only what unreadable users may have caused is left out; repetitions too."""
    document: JsonValue = {"accounts": [account(1, users=[user("nobody"), user("ann@x.example")])]}
    file = read_accounts(document)
    unread = [("accounts[0].users[0].email", file.errors[0][1])]
    in_store = [
        ("accounts[0]", "licenses"),
        ("accounts[0].users", "no owner would be left"),
        ("accounts[0].users[0].email", "a user of another account"),
        ("accounts[0].users[0].email", "a user of another account"),
    ]
    assert file.all_errors(in_store) == [
        *unread,
        ("accounts[0]", "licenses"),
        ("accounts[0].users[1].email", "a user of another account"),
    ]


@given(st.sets(st.integers(0, 20)), st.integers(0, 20))
def test_a_path_is_that_of_the_entry_in_the_file(left_out: set[int], number: int) -> None:
    """Import file: entries that were left out count in the paths of the others."""
    kept = [n for n in range(50) if n not in left_out][number]
    unread = frozenset[Location](("accounts", n) for n in left_out)
    file = AccountFile(Directory(accounts=()), unread, ())
    assert file.path_in_file(f"accounts[{number}].name") == f"accounts[{kept}].name"


@given(documents())
def test_any_document_is_read_or_has_errors_at_its_paths(document: JsonValue) -> None:
    """Import file: no document ends a command otherwise, and no error is listed twice."""
    file = read_accounts(document)
    found = file.all_errors([])
    assert len(found) == len(set(found))
    assert all(path and reason for path, reason in found)
    if not found:
        assert (
            read_accounts(
                {
                    "accounts": [
                        each.model_dump(mode="json", exclude_unset=True)
                        for each in file.directory.accounts
                    ]
                }
            ).errors
            == ()
        )
