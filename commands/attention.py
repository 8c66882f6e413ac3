"""The command for cases that need an operator."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput, as_json
from commands.render import facts, time
from domain.attention import AttentionCase

if TYPE_CHECKING:
    from runtime.clients import Clients

app = typer.Typer()


@app.command(rich_help_panel="Operations", epilog="Example: seatflow --json attention")
def attention(context: typer.Context) -> None:
    """List the open cases that need an operator, the oldest first."""
    cases = with_clients(context, "Loading", _cases)
    CommandOutput.of(context).print(
        {"attention": [as_json(case) for case in cases]}, lambda: _render_list(cases)
    )


async def _cases(clients: "Clients") -> list[AttentionCase]:
    from runtime.attention import Attention

    return await Attention(clients).cases()


def _render_list(cases: Sequence[AttentionCase]) -> RenderableType:
    if not cases:
        return Text("No case needs an operator.", style="green")
    return Group(*(_render(case) for case in cases))


def _render(case: AttentionCase) -> Text:
    return facts(
        f"{case.kind} {case.id}",
        ("since", time(case.since)),
        ("account", case.account),
        ("message", case.message),
        ("remedy", case.remedy),
    )
