"""The output of a command: one JSON document, or tables for a person."""

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

WIDTH_WITHOUT_TERMINAL = 200
"""Columns of output to a file or another program."""

_BAD_REQUESTS = (ErrorCode.INVALID_INPUT, ErrorCode.INVALID_EMAIL)


@dataclass(frozen=True)
class CommandOutput:
    """Writes results to stdout and errors to stderr, as JSON or for a person."""

    json: bool
    operator: str | None = None
    """The name that `--operator` gives."""

    @staticmethod
    def of(context: typer.Context) -> "CommandOutput":
        """Return the output that the options before the command have chosen."""
        return context.ensure_object(CommandOutput)

    def print(self, document: JsonValue, shown: Callable[[], RenderableType]) -> None:
        """Print `document` as JSON, or `shown` for a person."""
        if self.json:
            print_json(document)
        else:
            _console(stderr=False).print(shown(), crop=False)

    def spinner(self, progress: str | None) -> AbstractContextManager[object]:
        """Show `progress` with a spinner on a terminal; None shows nothing."""
        console = None if self.json else _console(stderr=True)
        if progress and console and console.is_terminal:
            return console.status(progress)
        return nullcontext()

    @contextmanager
    def counting(self, progress: str) -> Iterator[Callable[[int, int], None]]:
        """Show a progress bar on a terminal."""
        from commands.bar import ProgressBar

        console = None if self.json else _console(stderr=True)
        if console is None or not console.is_terminal:
            yield lambda done, total: None
            return
        bar = ProgressBar(progress, console)
        with bar.progress:
            yield bar.show

    def print_error(self, error: Refused | Unavailable) -> int:
        """Print the error on stderr; return the exit status."""
        return self.print_error_document(error.as_json(), exit_status(error))

    def print_error_document(self, error: Mapping[str, JsonValue], status: int) -> int:
        """Print an error that is already JSON; return `status`."""
        # With stderr closed, Rich would exit with 1 instead of `status`.
        with suppress(BrokenPipeError, SystemExit):
            if self.json:
                print(json.dumps({"error": dict(error)}), file=sys.stderr)
            else:
                for line in _lines(error):
                    _console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
        return status


def exit_status(error: Refused | Unavailable) -> int:
    """Return 1 for a refusal by a rule, 2 for bad input, 3 for an unreachable backend."""
    if isinstance(error, Unavailable):
        return UNREACHABLE
    return BAD_USAGE if error.code in _BAD_REQUESTS else REFUSED


def as_json(value: BaseModel) -> dict[str, JsonValue]:
    """Return `value` with the names of the contract."""
    document: dict[str, JsonValue] = value.model_dump(mode="json", by_alias=True)
    return document


def print_json(document: JsonValue) -> None:
    """Print one JSON document on stdout."""
    # Flushed, so that the reader of a pipe gets it while the process runs.
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
    if isinstance(quote, dict) and isinstance(value := quote.get("amount"), dict):
        valid_until = quote.get("valid_until")
        yield f"  new quote: {value['amount']} {value['currency']}, until {valid_until}"


def entries(error: Mapping[str, JsonValue], name: str) -> Iterator[Mapping[str, JsonValue]]:
    """Return the objects that an error lists under `name`."""
    listed = error.get(name)
    if isinstance(listed, list):
        yield from (entry for entry in listed if isinstance(entry, dict))


def _console(*, stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else WIDTH_WITHOUT_TERMINAL)
