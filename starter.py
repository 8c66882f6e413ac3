"""The operator's commands: `python starter.py --help`."""

import gc
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated

import typer

from commands import account as directory
from commands import (
    assignment,
    attention,
    change,
    credit,
    diagram,
    invitation,
    key,
    license,
    mail,
    managed_domain,
    order,
    outbox,
    person,
    portal,
    quote,
    reconciliation,
    refund,
    remedy,
    reminder,
    reversal,
    search,
    session,
    stack,
)
from commands.demo import command as demo
from commands.output import DONE, CommandOutput
from domain.author import operator_name
from domain.error import ErrorCode, Refused, Unavailable
from runtime.process import exit_process, log_unhandled_errors

INTERRUPTED = 130
"""Status that Typer returns for Ctrl-C."""

app = typer.Typer(
    name="seatflow",
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _commands in (
    invitation,
    remedy,
    quote,
    order,
    assignment,
    license,
    directory,
    person,
    search,
    attention,
    change,
    reconciliation,
    stack,
    portal,
    demo,
    diagram,
):
    app.add_typer(_commands.app)
app.add_typer(order.orders, rich_help_panel="Licenses")
app.add_typer(refund.app, rich_help_panel="Money")
app.add_typer(credit.app, rich_help_panel="Money")
app.add_typer(reversal.app, rich_help_panel="Money")
app.add_typer(managed_domain.app, rich_help_panel="Accounts")
app.add_typer(outbox.app, rich_help_panel="Operations")
app.add_typer(session.app, rich_help_panel="Operations")
app.add_typer(key.app, rich_help_panel="Operations")
app.add_typer(reminder.app, rich_help_panel="Operations")
app.add_typer(mail.app, rich_help_panel="Operations")


@app.callback()
def set_output(
    context: typer.Context,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who acts, for the records. Default: SEATFLOW_OPERATOR, else the system user.",
        ),
    ] = None,
) -> None:
    """Invite people into an organization's paid account; sell and assign its licenses."""
    name = None if operator is None else operator_name(operator)
    context.obj = CommandOutput(json=json, operator=name)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status, and print every failure once."""
    output = CommandOutput(json=_json_is_wanted(arguments))
    try:
        return _run(arguments)
    except (Refused, Unavailable) as error:
        return output.print_error(error)
    except typer.TyperException as invalid:
        message = invalid.format_message().replace("Value error, ", "")
        return output.print_error(
            Refused(ErrorCode.INVALID_INPUT, f"{message} See `seatflow --help`.")
        )
    except Exception as defect:
        output.print_traceback()
        return output.print_error(
            Unavailable(f"Seatflow failed: {type(defect).__name__}: {defect}")
        )


def _json_is_wanted(arguments: Sequence[str]) -> bool:
    """Return whether `--json` is among the options before the command."""
    words = iter(arguments)
    for word in words:
        if word == "--operator":
            next(words, None)
        elif word == "--json" or not word.startswith("-"):
            return word == "--json"
    return False


def _run(arguments: Sequence[str]) -> int:
    try:
        "".join(arguments).encode()
    except UnicodeEncodeError:
        raise Refused(ErrorCode.INVALID_INPUT, "The arguments are not UTF-8.") from None
    try:
        status = app(list(arguments), prog_name="seatflow", standalone_mode=False)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            # The reader of the output closed the pipe, which is no failure.
            return DONE
        raise
    if status == INTERRUPTED:
        raise Unavailable("Interrupted before the answer arrived.", outcome_unknown=True)
    return status if isinstance(status, int) else DONE


def main() -> None:
    """Run the command of the command line."""
    # Scanning the 250,000 objects that a command loads would take a tenth of its time.
    gc.set_threshold(500_000)
    # Libraries write no logs to the terminal.
    logging.getLogger().addHandler(logging.NullHandler())
    log_unhandled_errors()
    _write_in_any_locale()
    exit_process(run(_arguments()))


def _write_in_any_locale() -> None:
    """Write the characters that the locale's encoding lacks as escapes, instead of failing."""
    # Python sets up stderr in this way.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _arguments() -> list[str]:
    """Return the arguments as UTF-8, also in a locale with another encoding."""
    with suppress(UnicodeDecodeError):
        return [os.fsencode(argument).decode() for argument in sys.argv[1:]]
    return sys.argv[1:]


if __name__ == "__main__":
    main()
