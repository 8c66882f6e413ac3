"""Errors of an import file: each once, all of them, in linear time."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from domain.account import Directory
from domain.account_file import AccountFile, Location, read_accounts


def account(number: int, **members: JsonValue) -> dict[str, JsonValue]:
    return {
        "id": f"a{number}",
        "name": "Acme",
        "plan": "free",
        "currency": "EUR",
        "time_zone": "UTC",
        "country": "DE",
        "collection": "autopay",
        **members,
    }


def user(address: str, **members: JsonValue) -> JsonValue:
    return {"email": address, "role": "member", **members}


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


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["EUR", "0.10", "2026-01-01", "a@127.0.0.1", "ann@x.example", "\0", "\uff11"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def full_account(number: int) -> dict[str, JsonValue]:
    meeting: JsonValue = {"id": "m", "topic": "Weekly", "starts_at": "2026-01-01T00:00:00Z"}
    line: JsonValue = {
        "id": "s",
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cycle": "monthly",
        "period_start": "2026-01-01",
        "period_end": "2026-02-01",
        "payments": [{"id": "p", "method": "card", "amount": "10.00"}],
    }
    return account(
        number,
        users=[user(f"u{number}@x.example", meetings=[meeting], settings={"theme": ["dark"]})],
        rooms=[{"id": "r"}],
        subscriptions=[line],
        invoices=[{"id": "i", "amount_due": "1.00", "due_on": "2026-01-01"}],
    )


def places(value: JsonValue, place: Location = ()) -> Iterator[Location]:
    yield place
    if isinstance(value, dict):
        for name, member in value.items():
            yield from places(member, (*place, name))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from places(entry, (*place, number))


def replaced(value: JsonValue, place: Location, new: JsonValue) -> JsonValue:
    """Return the document with another value at the place."""
    if not place:
        return new
    first, *rest = place
    if isinstance(value, dict):
        return {**value, str(first): replaced(value.get(str(first)), tuple(rest), new)}
    assert isinstance(value, list)
    assert isinstance(first, int)
    return [
        replaced(each, tuple(rest), new) if n == first else each for n, each in enumerate(value)
    ]


@st.composite
def documents(draw: st.DrawFn) -> JsonValue:
    """Draw a valid file of two accounts with one to four parts replaced."""
    document: JsonValue = {"accounts": [full_account(1), full_account(2)]}
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(list(places(document))))
        document = replaced(document, place, draw(VALUES))
    return document


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
