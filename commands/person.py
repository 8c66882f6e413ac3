"""Commands for one person's data (OPS-9)."""

from datetime import UTC, datetime

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.call import Email, with_clients
from commands.output import CommandOutput, as_json, print_json
from commands.render import table
from domain.address import normalized
from domain.person import Forgotten

app = typer.Typer()


@app.command(rich_help_panel="Accounts", epilog="Example: seatflow forget sam@studio.example")
def forget(context: typer.Context, email: Email) -> None:
    """Remove a person who has left from the store; a pseudonym takes their place.

    Refused while the person is on an account, invited, or owed money. It cannot be undone.
    """
    person, at = normalized(email), datetime.now(UTC)
    result = with_clients(
        context,
        "Forgetting",
        lambda clients: clients.store.people.forget(person, at, by=clients.author.name),
    )
    CommandOutput.of(context).print(as_json(result), lambda: _render(result))


def export_person(context: typer.Context, person: str) -> None:
    """Print everything that the store has about a person, as JSON."""
    email = normalized(person)
    data = with_clients(context, "Exporting", lambda clients: clients.store.people.export(email))
    print_json(as_json(data))


def _render(result: Forgotten) -> RenderableType:
    if not result.forgotten:
        return Text("The store has nothing about this person.", style="dim")
    rows = table("table", "rewritten or deleted", "kept")
    for name in sorted({*result.forgotten, *result.kept}):
        forgotten, kept = result.forgotten.get(name, 0), result.kept.get(name, 0)
        rows.add_row(name, str(forgotten), str(kept))
    return rows
