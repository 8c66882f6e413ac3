"""The command for cases that need an operator."""

from collections.abc import Sequence

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput, as_json
from commands.render import table, text, time
from domain.attention import AttentionCase

app = typer.Typer()


@app.command(rich_help_panel="Operations", epilog="Example: seatflow --json attention")
def attention(context: typer.Context) -> None:
    """List the open cases that need an operator, the oldest first."""
    cases = with_clients(context, "Loading", lambda clients: clients.store.attention.cases())
    CommandOutput.of(context).print(
        {"attention": [as_json(case) for case in cases]}, lambda: _render_list(cases)
    )


def _render_list(cases: Sequence[AttentionCase]) -> RenderableType:
    rows = table("since", "kind", "account", "id", "message")
    for case in cases:
        rows.add_row(time(case.since), case.kind, text(case.account), case.id, text(case.message))
    return rows if cases else Text("No case needs an operator.", style="green")
