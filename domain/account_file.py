"""The validation of an import file: all its errors are reported together."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from domain.account import FIELDS_ONLY, Account, Directory, file_errors
from domain.catalog import Catalog

InputError = tuple[str, str]
"""A path in the file, and the reason of the error there."""

Location = tuple[str | int, ...]
"""The keys and indexes from the root of the file to one of its parts."""

_ENTRY: Final = re.compile(r"(\w+)\[(\d+)\]")
_ACCOUNT: Final = 2
"""The depth of an account in the file."""
_FIRST: Final = re.compile(r"catalog\b")
"""The paths of errors that are reported before those of accounts."""
_GROUP: Final = 100
"""Accounts of a group that is in memory already."""


@dataclass(frozen=True)
class AccountFile:
    """The content of a file, and the errors that can be found without the store."""

    directory: Directory
    """The readable part of the file; only its single fields are checked."""
    left_out: frozenset[Location]
    """The unreadable parts: entries of lists, and members of accounts."""
    errors: tuple[InputError, ...]

    def all_errors(self, found: Sequence[InputError]) -> list[InputError]:
        """Return all errors once, including those `found` in `directory`.

        An error of users of whom one is unreadable may be its consequence: it is omitted.
        """
        known = {path for path, _ in self.errors}
        containing = {part for path in known for part in _parts_containing(path)}
        placed = ((self.path_in_file(path), reason) for path, reason in found)
        return once(
            [
                *self.errors,
                *(
                    (path, reason)
                    for path, reason in placed
                    if not (path.endswith(".users") and path in containing)
                    # Without its id, the account cannot be compared with the store.
                    and path.partition(".")[0] + ".id" not in known
                ),
            ]
        )

    def path_in_file(self, path: str) -> str:
        """Return the path in the file of the part at `path` in the directory."""
        location, steps, rest = Location(), list[str](), path
        while entry := _ENTRY.match(rest):
            location = (*location, entry[1])
            number = int(entry[2])
            number += bisect_right(self._gaps.get(location, ()), number)
            location = (*location, number)
            steps.append(f"{entry[1]}[{number}]")
            rest = rest[entry.end() :].removeprefix(".")
        return ".".join([*steps, rest] if rest else steps)

    @cached_property
    def _gaps(self) -> Mapping[Location, Sequence[int]]:
        """For each list, the numbers in the directory of the entries after each one left out."""
        left_out = defaultdict[Location, list[int]](list)
        for *parent, step in self.left_out:
            if isinstance(step, int):
                left_out[tuple(parent)].append(step)
        return {
            parent: [number - before for before, number in enumerate(sorted(numbers))]
            for parent, numbers in left_out.items()
        }


def once(errors: Iterable[InputError]) -> list[InputError]:
    """Return the errors in their order, without repetitions."""
    return list(dict.fromkeys(errors))


def _parts_containing(path: str) -> Iterator[str]:
    """Yield the paths of the part at `path` and of the parts that contain it."""
    yield path
    for end, character in enumerate(path):
        if character in ".[":
            yield path[:end]


def read_accounts(document: JsonValue) -> AccountFile:
    """Validate every field, and the readable part of the file as a whole."""
    directory, left_out, unread = _read(document)
    file = AccountFile(directory, left_out, unread)
    whole = [
        *(
            (file.path_in_file(f"accounts[{number}]"), reason)
            for number, account in enumerate(directory.accounts)
            for reason in account.errors()
        ),
        *(("$", reason) for reason in directory.errors()),
    ]
    return AccountFile(directory, left_out, (*unread, *whole))


NumberedAccount = tuple[int, Account]
"""An account with its number in the file."""


class Accounts(Protocol):
    """Accounts to import, which can be read more than once."""

    @property
    def catalog(self) -> Catalog | None:
        """Return the prices to import, if any."""

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of all accounts, in the order of the file."""

    @property
    def addresses(self) -> Sequence[str]:
        """Return the addresses of all users once, sorted."""

    def groups(self) -> Iterator[Sequence[NumberedAccount]]:
        """Yield the accounts in groups that fit in memory."""


@dataclass(frozen=True)
class AccountsInMemory:
    """The accounts of a directory that is in memory."""

    directory: Directory

    @property
    def catalog(self) -> Catalog | None:
        """Return the prices to import, if any."""
        return self.directory.catalog

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of all accounts."""
        return [account.id for account in self.directory.accounts]

    @property
    def addresses(self) -> Sequence[str]:
        """Return the addresses of all users once, sorted."""
        return sorted({user.email for each in self.directory.accounts for user in each.users})

    def groups(self) -> Iterator[Sequence[NumberedAccount]]:
        """Yield the accounts in groups."""
        numbered = list(enumerate(self.directory.accounts))
        for start in range(0, len(numbered), _GROUP):
            yield numbered[start : start + _GROUP]


class AccountFileCheck:
    """The validation of a file that is read account by account.

    It finds the errors that `read_accounts` finds, and keeps ids and addresses only.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._users: dict[str, str] = {}
        """The first account of each user."""
        self._repeated_users: set[str] = set()
        self._unread: list[InputError] = []
        self._whole: list[InputError] = []
        self._left_out: set[Location] = set()

    @property
    def addresses(self) -> list[str]:
        """Return the addresses of all users once, sorted."""
        return sorted(self._users)

    def add(self, number: int, entry: JsonValue) -> None:
        """Check the entry with this number in the list of accounts."""
        account, left_out, unread = _read_account(number, entry)
        self._unread += unread
        self._left_out |= left_out
        if account is None:
            return
        self._whole += [(f"accounts[{number}]", reason) for reason in account.errors()]
        self.ids.append(account.id)
        for user in account.users:
            if self._users.setdefault(user.email, account.id) != account.id:
                self._repeated_users.add(user.email)

    def file(self, rest: JsonValue) -> AccountFile:
        """Return the errors of the whole file, given the document without its accounts.

        The directory of the result has no accounts.
        """
        directory, left_out, unread = _read(rest)
        first = [error for error in unread if _FIRST.match(error[0])]
        users = [email for email in self._users if email in self._repeated_users]
        errors = (
            *first,
            *self._unread,
            *(error for error in unread if error not in first),
            *self._whole,
            *(("$", reason) for reason in file_errors(self.ids, users)),
        )
        return AccountFile(directory, left_out | self._left_out, errors)


def readable_account(number: int, entry: JsonValue) -> Account | None:
    """Return the readable part of an account; only its single fields are checked."""
    return _read_account(number, entry)[0]


def _read_account(
    number: int, entry: JsonValue
) -> tuple[Account | None, Set[Location], Sequence[InputError]]:
    directory, left_out, unread = _read({"accounts": [entry]})
    account = next(iter(directory.accounts), None)
    if ("accounts", 0, "id") in left_out and account:
        account = account.model_copy(update={"id": _placeholder_id(number)})
    return (
        account,
        # The number of an account that is left out is in no path, so it leaves no gap.
        {("accounts", number, *rest) for _, _, *rest in left_out if rest},
        [(f"accounts[{number}]{path.removeprefix('accounts[0]')}", why) for path, why in unread],
    )


def _read(document: JsonValue) -> tuple[Directory, frozenset[Location], tuple[InputError, ...]]:
    """Return the readable part, the parts left out, and the errors of single fields."""
    try:
        return _directory(document, frozenset()), frozenset(), ()
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False)
        left_out = frozenset(_unreadable(document, error) for error in errors)
        unread = tuple(_by_path(document, errors))
    try:
        return _directory(document, left_out), left_out, unread
    except ValidationError:
        # The file has no list of accounts.
        return Directory(accounts=()), left_out, unread


def _directory(document: JsonValue, left_out: Set[Location]) -> Directory:
    return Directory.model_validate(_rest(document, (), left_out), context=FIELDS_ONLY)


def _rest(value: JsonValue, location: Location, left_out: Set[Location]) -> JsonValue:
    """Return the value without the parts left out; required members get placeholders."""
    match value:
        case dict():
            members = {
                name: _rest(member, (*location, name), left_out)
                for name, member in value.items()
                if (*location, name) not in left_out
            }
            defaults = _placeholders(location[1]) if len(location) == _ACCOUNT else {}
            return members | {
                name: member for name, member in defaults.items() if (*location, name) in left_out
            }
        case list():
            return [
                _rest(entry, (*location, number), left_out)
                for number, entry in enumerate(value)
                if (*location, number) not in left_out
            ]
        case _:
            return value


def _placeholders(number: str | int) -> dict[str, JsonValue]:
    return {
        "id": _placeholder_id(number),
        "name": "?",
        "plan": "free",
        # The currency with the most decimals, so that no amount is reported as too precise.
        "currency": "CLF",
        "time_zone": "UTC",
        "country": "US",
        "collection": "autopay",
    }


def _placeholder_id(number: str | int) -> str:
    return f"unnamed.{number}"


def _unreadable(document: JsonValue, error: ErrorDetails) -> Location:
    """Return the part to leave out: a member of an account, or an entry below one."""
    steps = tuple(_steps(document, error))
    indexes = [depth for depth, step in enumerate(steps) if isinstance(step, int)]
    if not indexes:
        return steps[:1]
    return steps[: _ACCOUNT + 1] if indexes[-1] < _ACCOUNT else steps[: indexes[-1] + 1]


def _by_path(document: JsonValue, errors: Sequence[ErrorDetails]) -> list[InputError]:
    """Return one error for each path; the reasons of a union's alternatives are joined."""
    found: dict[str, list[str]] = {}
    for error in errors:
        reason = error["msg"].removeprefix("Value error, ")
        found.setdefault(_path(document, error), []).append(reason)
    return [(path, "; or ".join(reasons)) for path, reasons in found.items()]


def _path(document: JsonValue, error: ErrorDetails) -> str:
    """Return the path of an error, for example `accounts[0].users[1].email`."""
    steps = _steps(document, error)
    return (
        "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps
        ).removeprefix(".")
        or "$"
    )


def _steps(value: JsonValue, error: ErrorDetails) -> Iterator[str | int]:
    # Pydantic's location also names validators and union members: only keys and indexes count.
    for step in error["loc"]:
        if isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
            yield step
        elif isinstance(value, dict) and step in value:
            value = value[str(step)]
            yield str(step)
        elif error["type"] == "missing":
            yield str(step)
