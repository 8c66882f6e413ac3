"""The command that lists changes to things without a journal (OPS-8)."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput, as_json
from commands.render import table, text, time
from domain.change import Change

app = typer.Typer()


@app.command(rich_help_panel="Operations", epilog="Example: seatflow changes acme")
def changes(
    context: typer.Context,
    account: Annotated[
        str | None,
        typer.Argument(metavar="ACCOUNT", help="The id of an account. Default: all changes."),
    ] = None,
) -> None:
    """List changes with their authors, the oldest first.

    Invitations, refunds and orders have journals of their own, and entries of credit their author.
    """
    found = with_clients(context, "Loading", lambda clients: clients.store.changes.listed(account))
    CommandOutput.of(context).print(
        {"changes": [as_json(change) for change in found]}, lambda: _render(found)
    )


def _render(found: list[Change]) -> RenderableType:
    rows = table("at", "by", "action", "account", "subject")
    for change in found:
        rows.add_row(
            time(change.at),
            text(change.by),
            change.action,
            text(change.account or ""),
            text(change.subject),
        )
    return rows if found else Text("No changes.", style="dim")
