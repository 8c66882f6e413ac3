"""An import file, read as far as it can be: all that is wrong with it is all_errors at once."""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import count, islice
from typing import Final

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from domain.account import FIELDS_ONLY, Directory

InputError = tuple[str, str]
"""Where in the file, and what is wrong there."""

Location = tuple[str | int, ...]
"""The steps from the whole file to one of its parts."""

_ENTRY: Final = re.compile(r"(\w+)\[(\d+)\]")
_ACCOUNT: Final = 2
"""The steps to an account."""


@dataclass(frozen=True)
class AccountFile:
    """What a file says, and what is wrong with it as far as the file alone can tell."""

    directory: Directory
    """Without what could not be read, and unchecked as a whole."""
    left_out: frozenset[Location]
    """What could not be read: an entry of a list, or a member of an account."""
    errors: tuple[InputError, ...]

    def all_errors(self, found: Sequence[InputError]) -> list[InputError]:
        """All errors, with those that were `found` in `directory`.

        What was left out may be the reason why something is wrong around it: not all_errors.
        """
        known = [path for path, _ in self.errors]
        placed = [(self.path_in_file(path), reason) for path, reason in found]
        return [
            *self.errors,
            *(
                (path, reason)
                for path, reason in placed
                if not any(unread.startswith(path) for unread in known)
                # Nobody can say what is known of an account without a name.
                and path.partition(".")[0] + ".id" not in known
            ),
        ]

    def path_in_file(self, path: str) -> str:
        """Where the file has what is at `path` in the directory."""
        location, steps, rest = Location(), list[str](), path
        while entry := _ENTRY.match(rest):
            location = (*location, entry[1])
            there = (number for number in count() if (*location, number) not in self.left_out)
            number = next(islice(there, int(entry[2]), None))
            location = (*location, number)
            steps.append(f"{entry[1]}[{number}]")
            rest = rest[entry.end() :].removeprefix(".")
        return ".".join([*steps, rest] if rest else steps)


def read_accounts(document: JsonValue) -> AccountFile:
    """Read single fields, and what can be read of the rest as a whole."""
    try:
        directory, left_out, unread = _directory(document, frozenset()), frozenset[Location](), []
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False)
        left_out = frozenset(_unreadable(document, error) for error in errors)
        unread = _by_path(document, errors)
        try:
            directory = _directory(document, left_out)
        except ValidationError:
            # It lists no accounts at all.
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
    """The value without what is left out; an account is given what every account says."""
    match value:
        case dict():
            members = {
                name: _rest(member, (*location, name), left_out)
                for name, member in value.items()
                if (*location, name) not in left_out
            }
            assumed = _assumed(location[1]) if len(location) == _ACCOUNT else {}
            return members | {
                name: member for name, member in assumed.items() if (*location, name) in left_out
            }
        case list():
            return [
                _rest(entry, (*location, number), left_out)
                for number, entry in enumerate(value)
                if (*location, number) not in left_out
            ]
        case _:
            return value


def _assumed(number: str | int) -> dict[str, JsonValue]:
    return {
        "id": f"unnamed.{number}",
        "name": "?",
        "plan": "free",
        # With the most decimals: no amount is blamed for a currency that is none.
        "currency": "CLF",
        "time_zone": "UTC",
        "country": "US",
        "collection": "autopay",
    }


def _unreadable(document: JsonValue, error: ErrorDetails) -> Location:
    """What has to be left out: a member of an account, or the whole of a smaller entry."""
    steps = tuple(_steps(document, error))
    numbers = [location for location, step in enumerate(steps) if isinstance(step, int)]
    if not numbers:
        return steps[:1]
    return steps[: _ACCOUNT + 1] if numbers[-1] < _ACCOUNT else steps[: numbers[-1] + 1]


def _by_path(document: JsonValue, errors: Sequence[ErrorDetails]) -> list[InputError]:
    """What each alternative of one value lacks is one reason."""
    found: dict[str, list[str]] = {}
    for error in errors:
        reason = error["msg"].removeprefix("Value error, ")
        found.setdefault(_path(document, error), []).append(reason)
    return [(path, "; or ".join(reasons)) for path, reasons in found.items()]


def _path(document: JsonValue, error: ErrorDetails) -> str:
    """`accounts[0].users[1].email`: only steps that the document has, or lacks."""
    steps = _steps(document, error)
    return (
        "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps
        ).removeprefix(".")
        or "$"
    )


def _steps(here: JsonValue, error: ErrorDetails) -> Iterator[str | int]:
    for step in error["loc"]:
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            here = here[step]
            yield step
        elif isinstance(here, dict) and step in here:
            here = here[str(step)]
            yield str(step)
        elif error["type"] == "missing":
            yield str(step)
