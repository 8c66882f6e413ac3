"""The machines, drawn from their declarations."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from commands.answer import Answer, print_json
from domain.error import ErrorCode, Refused, Unavailable
from states.invitation import InvitationMachine
from states.lifecycle import LifecycleMachine

app = typer.Typer()


class Machine(StrEnum):
    """A machine that can be drawn."""

    INVITATION = "invitation"


class Format(StrEnum):
    """What to draw it as."""

    MERMAID = "mermaid"
    SVG = "svg"
    PNG = "png"
    MD = "md"


_MACHINES: dict[Machine, type[LifecycleMachine]] = {Machine.INVITATION: InvitationMachine}


@app.command(
    rich_help_panel="Operations",
    epilog="Example: seatflow diagram invitation --format svg --output invitation.svg",
)
def diagram(
    context: typer.Context,
    machine: Annotated[Machine, typer.Argument(help="Which machine to draw.")] = Machine.INVITATION,
    format: Annotated[
        Format, typer.Option(help="svg and png need Graphviz; md is a table.")
    ] = Format.MERMAID,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, not on stdout.")
    ] = None,
) -> None:
    """Draw a state machine."""
    drawing = drawn(_MACHINES[machine], format)
    json = Answer.of(context).json
    if output:
        _write(output, drawing)
    elif not json:
        sys.stdout.buffer.write(drawing)
    if json:
        kept: JsonValue = str(output) if output else None
        text = None if output else _text(drawing, format)
        print_json({"machine": machine, "format": format, "drawing": text, "file": kept})


def drawn(machine: type[LifecycleMachine], format: Format) -> bytes:
    """The drawing of `machine`, from its declaration. Raises Unavailable without Graphviz."""
    if format in (Format.MERMAID, Format.MD):
        return f"{f'{machine:{format}}'.rstrip()}\n".encode()
    from statemachine.contrib.diagram.graphviz import GraphvizError, run_graphviz

    try:
        return run_graphviz(f"{machine:dot}", format)
    except GraphvizError as failure:
        raise Unavailable(f"Graphviz is needed for {format}: {failure}") from None


def _write(file: Path, drawing: bytes) -> None:
    try:
        file.write_bytes(drawing)
    except OSError as failure:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"{file} cannot be written: {failure.strerror}"
        ) from None


def _text(drawing: bytes, format: Format) -> str:
    if format is Format.PNG:
        raise Refused(ErrorCode.INVALID_INPUT, "A PNG is no JSON: name a file with --output.")
    return drawing.decode()
