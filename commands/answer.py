"""How a command answers: one JSON document, or tables and colours for a person."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass

import typer
from pydantic import BaseModel, JsonValue
from rich.console import Console, RenderableType

from domain.error import ErrorCode, Refused, Unavailable

DONE = 0
REFUSED = 1
BAD_USAGE = 2
UNREACHABLE = 3

WIDTH_UNWATCHED = 200
"""Columns of what goes to a file or another program; a terminal knows its own."""

_BAD_REQUESTS = (ErrorCode.INVALID_INPUT, ErrorCode.INVALID_EMAIL)


@dataclass(frozen=True)
class Answer:
    """Where a command's words go, and in which form."""

    json: bool

    @staticmethod
    def of(context: typer.Context) -> "Answer":
        """The answer that the options before the command asked for."""
        return context.ensure_object(Answer)

    def give(self, document: JsonValue, shown: Callable[[], RenderableType]) -> None:
        """Print `document` as JSON, or what a person sees instead."""
        if self.json:
            print_json(document)
        else:
            _console(stderr=False).print(shown(), crop=False)

    def working(self, doing: str) -> AbstractContextManager[object]:
        """Say what is being waited for, where a person watches."""
        console = None if self.json else _console(stderr=True)
        return console.status(doing) if console and console.is_terminal else nullcontext()

    @contextmanager
    def counting(self, doing: str) -> Iterator[Callable[[int, int], None]]:
        """Show how many are done, how fast, and for how long yet, where a person watches."""
        from commands.bar import Bar

        console = None if self.json else _console(stderr=True)
        if console is None or not console.is_terminal:
            yield lambda done, total: None
            return
        bar = Bar(doing, console)
        with bar.progress:
            yield bar.show

    def refuse(self, error: Refused | Unavailable) -> int:
        """Print the error on stderr; returns the exit status."""
        return self.refuse_as(error.as_json(), exit_status(error))

    def refuse_as(self, error: Mapping[str, JsonValue], status: int) -> int:
        """Print an error that is already written down; returns `status`."""
        # The status says it too, where nobody reads the errors any more; Rich would leave with 1.
        with suppress(BrokenPipeError, SystemExit):
            if self.json:
                print(json.dumps({"error": dict(error)}), file=sys.stderr)
            else:
                for line in _lines(error):
                    _console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
        return status


def exit_status(error: Refused | Unavailable) -> int:
    """1 refused by a rule, 2 bad input, 3 a backend is not reachable."""
    if isinstance(error, Unavailable):
        return UNREACHABLE
    return BAD_USAGE if error.code in _BAD_REQUESTS else REFUSED


def as_json(value: BaseModel) -> dict[str, JsonValue]:
    """`value` with the names and the spelling of the wire."""
    document: dict[str, JsonValue] = value.model_dump(mode="json", by_alias=True)
    return document


def print_json(document: JsonValue) -> None:
    """Print one JSON document on stdout."""
    # A reader at the other end of a pipe waits for it while the process goes on.
    print(json.dumps(document, indent=2), flush=True)


def _lines(error: Mapping[str, JsonValue]) -> Iterator[str]:
    yield f"{error['code']}: {error['message']}"
    for mistake in entries(error, "mistakes"):
        yield f"  {mistake['path']}: {mistake['reason']}"
    for blocker in entries(error, "blockers"):
        yield f"  {blocker['code']}: {blocker['message']} {blocker['remedy']}"
    for meeting in entries(error, "meetings"):
        yield f"  {meeting['topic']}, {meeting['starts_at']}"
    quote = error.get("quote")
    if isinstance(quote, dict) and isinstance(worth := quote.get("amount"), dict):
        yield f"  now: {worth['amount']} {worth['currency']}, until {quote.get('valid_until')}"


def entries(error: Mapping[str, JsonValue], name: str) -> Iterator[Mapping[str, JsonValue]]:
    """What an error lists under `name`."""
    listed = error.get(name)
    if isinstance(listed, list):
        yield from (entry for entry in listed if isinstance(entry, dict))


def _console(*, stderr: bool) -> Console:
    watched = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if watched else WIDTH_UNWATCHED)
