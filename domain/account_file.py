"""The validation of an import file: all its errors are reported together."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from domain.account import FIELDS_ONLY, Directory

InputError = tuple[str, str]
"""A path in the file, and the reason of the error there."""

Location = tuple[str | int, ...]
"""The keys and indexes from the root of the file to one of its parts."""

_ENTRY: Final = re.compile(r"(\w+)\[(\d+)\]")
_ACCOUNT: Final = 2
"""The depth of an account in the file."""


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
    try:
        directory, left_out, unread = _directory(document, frozenset()), frozenset[Location](), []
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False)
        left_out = frozenset(_unreadable(document, error) for error in errors)
        unread = _by_path(document, errors)
        try:
            directory = _directory(document, left_out)
        except ValidationError:
            # The file has no list of accounts.
            directory = Directory(accounts=())
    file = AccountFile(directory, left_out, tuple(unread))
    whole = [
        *(
            (file.path_in_file(f"accounts[{number}]"), reason)
            for number, account in enumerate(directory.accounts)
            for reason in account.errors()
        ),
        *(("$", reason) for reason in directory.errors()),
    ]
    return AccountFile(directory, left_out, (*unread, *whole))


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
        "id": f"unnamed.{number}",
        "name": "?",
        "plan": "free",
        # The currency with the most decimals, so that no amount is reported as too precise.
        "currency": "CLF",
        "time_zone": "UTC",
        "country": "US",
        "collection": "autopay",
    }


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
