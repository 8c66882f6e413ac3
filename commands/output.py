"""The output of a command: one JSON document, or tables for a person."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from traceback import format_exc

import typer
from pydantic import BaseModel, JsonValue
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from domain.error import ErrorCode, Refused, Unavailable
from domain.text import printable

DONE = 0
REFUSED = 1
BAD_USAGE = 2
UNREACHABLE = 3

WIDTH_WITHOUT_TERMINAL = 200
"""Columns of output to a file or another program."""

_IN_MESSAGE = {"code", "message", "state", "account", "near_matches"}
"""Members of an error that its first line has already."""

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

    def confirm(self, question: str) -> None:
        """Require a yes from a person on a terminal; with JSON, or without a terminal, continue.

        Raises `Refused(conflict)` unless the answer is yes.
        """
        if self.json or not sys.stdin.isatty():
            return
        try:
            confirmed = typer.confirm(question, err=True)
        except typer.Abort:
            confirmed = False
        if not confirmed:
            raise Refused(ErrorCode.CONFLICT, "Not confirmed; nothing was changed.")

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
                console = _console(stderr=True)
                for line in _lines(error):
                    shown = line.replace("\n", " ")
                    console.print(shown, highlight=False, soft_wrap=True)
        return status

    def print_traceback(self) -> None:
        """Print the exception being handled on stderr, for a person only."""
        if not self.json:
            with suppress(BrokenPipeError, SystemExit):
                _console(stderr=True).print(format_exc(), highlight=False, soft_wrap=True)


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
        for item in entries(blocker, "items"):
            yield f"    {item['kind']} {shown_item(item)}"
        if (unlisted := _number(blocker, "count") - len([*entries(blocker, "items")])) > 0:
            yield f"    and {unlisted} more"
    for name in ("meetings", "webinars"):
        for event in entries(error, name):
            yield f"  {event['topic']}, {event['starts_at']}"
    for result in entries(error, "results"):
        yield f"  {result['email']}: {result['state']}"
    quote = error.get("quote")
    if isinstance(quote, dict) and isinstance(value := quote.get("amount"), dict):
        valid_until = quote.get("valid_until")
        yield f"  new quote: {value['amount']} {value['currency']}, until {valid_until}"
    yield from _other_lines(error)


def _other_lines(error: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield a line for each member that is a plain value or a list of them."""
    for name, value in error.items():
        values = value if isinstance(value, list) else [value]
        plain = all(isinstance(each, str | int) for each in values)
        if values and plain and name not in _IN_MESSAGE:
            yield f"  {name.replace('_', ' ')}: {', '.join(map(str, values))}"


def shown_item(item: Mapping[str, JsonValue]) -> str:
    """Return an item of a blocker on one line, with its name, amount and date if it has them."""
    amount = item.get("amount")
    due = f"due on {item['due_on']}" if item.get("due_on") else None
    name = item.get("name")
    shown = [str(item["id"]), str(name) if name and name != item["id"] else None]
    if isinstance(amount, dict):
        shown.append(f"{amount['amount']} {amount['currency']}")
    return ", ".join(filter(None, [*shown, due]))


def _number(document: Mapping[str, JsonValue], name: str) -> int:
    number = document.get(name)
    return number if isinstance(number, int) else 0


def entries(error: Mapping[str, JsonValue], name: str) -> Iterator[Mapping[str, JsonValue]]:
    """Return the objects that an error lists under `name`."""
    listed = error.get(name)
    if isinstance(listed, list):
        yield from (entry for entry in listed if isinstance(entry, dict))


class _PrintableConsole(Console):
    """A console on which text cannot control the terminal (TXT-3).

    Names and messages come from files, people and other systems. Rich would pass their escape
    sequences on, and would read `[red]` as markup.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # The control segments are those of Rich itself, such as the spinner's.
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def _console(*, stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else WIDTH_WITHOUT_TERMINAL
    return _PrintableConsole(stderr=stderr, width=width, markup=False, emoji=False)
