"""The command that draws a machine from its declaration."""

import inspect
import sys
from base64 import b64encode
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from commands.output import CommandOutput, print_json
from domain.error import ErrorCode, Refused, Unavailable
from states.assignment import AssignmentMachine
from states.invitation import InvitationMachine
from states.lifecycle import LifecycleMachine, allowed, transitions
from states.order import OrderMachine
from states.refund import RefundMachine

app = typer.Typer()


class Machine(StrEnum):
    """The machines."""

    INVITATION = "invitation"
    REFUND = "refund"
    ORDER = "addon"
    ASSIGNMENT = "assignment"


class Format(StrEnum):
    """The formats of a drawing."""

    MERMAID = "mermaid"
    SVG = "svg"
    PNG = "png"
    MD = "md"


MACHINES: dict[Machine, type[LifecycleMachine]] = {
    Machine.INVITATION: InvitationMachine,
    Machine.REFUND: RefundMachine,
    Machine.ORDER: OrderMachine,
    Machine.ASSIGNMENT: AssignmentMachine,
}

_PAGE = """\
# {name}

<!-- Generated from {source} by `make diagrams`. -->

{about}

```mermaid
{drawing}
```

## States
A request that the state does not allow is refused with the code in the last column.

{states}

## Transitions

{transitions}
"""


@app.command(
    rich_help_panel="Operations",
    epilog="Example: seatflow diagram invitation --format svg --output invitation.svg",
)
def diagram(
    context: typer.Context,
    machine: Annotated[
        Machine, typer.Argument(help="The state machine to draw.")
    ] = Machine.INVITATION,
    format: Annotated[
        Format,
        typer.Option(
            help="svg and png need Graphviz; md is a page with tables. With --json a png is base64."
        ),
    ] = Format.MERMAID,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file instead of stdout.")
    ] = None,
) -> None:
    """Draw a state machine."""
    drawing = drawn(MACHINES[machine], format)
    json = CommandOutput.of(context).json
    if output:
        _write(output, drawing)
    elif not json:
        sys.stdout.buffer.write(drawing)
    if json:
        file: JsonValue = str(output) if output else None
        text = None if output else _text(drawing, format)
        print_json({"machine": machine, "format": format, "drawing": text, "file": file})


def drawn(machine: type[LifecycleMachine], format: Format) -> bytes:
    """Draw `machine` from its declaration. Raises Unavailable without Graphviz."""
    if format is Format.MERMAID:
        return f"{_mermaid(machine)}\n".encode()
    if format is Format.MD:
        return _page(machine).encode()
    from statemachine.contrib.diagram.graphviz import GraphvizError, run_graphviz

    try:
        return run_graphviz(f"{machine:dot}", format)
    except GraphvizError as failure:
        raise Unavailable(f"Graphviz is needed for {format}: {failure}") from None


def _mermaid(machine: type[LifecycleMachine]) -> str:
    return f"{machine:mermaid}".rstrip()


def _page(machine: type[LifecycleMachine]) -> str:
    """Return the page with the diagram, the states and the transitions of `machine`."""
    return _PAGE.format(
        name=machine.__name__.removesuffix("Machine"),
        source=f"{machine.__module__.replace('.', '/')}.py",
        about=inspect.getdoc(machine),
        drawing=_mermaid(machine),
        states=_table(
            ("state", "waits for", "allowed", "refusal"),
            (
                (
                    _code(state.value),
                    machine.waits_for.get(state.value, "nothing: it has ended"),
                    ", ".join(map(_code, allowed(machine, state.value))),
                    _code(machine.refusals[state.value]),
                )
                for state in machine.states
            ),
        ),
        transitions=_table(
            ("state", "event", "next state", "moved by"),
            (
                (_code(state), _code(event), _code(target), machine.moved_by[event])
                for (state, event), target in transitions(machine).items()
            ),
        ),
    )


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rule = ("---",) * len(columns)
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))


def _code(name: str) -> str:
    return f"`{name}`"


def _write(file: Path, drawing: bytes) -> None:
    try:
        file.write_bytes(drawing)
    except OSError as failure:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"{file} cannot be written: {failure.strerror}"
        ) from None


def _text(drawing: bytes, format: Format) -> str:
    return b64encode(drawing).decode() if format is Format.PNG else drawing.decode()
