"""Commands for the sessions of people who have signed in on the web."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput
from commands.render import table, time
from domain.address import normalized
from domain.session import Session

if TYPE_CHECKING:
    from runtime.clients import Clients

app = typer.Typer(
    name="session",
    help="Sessions of people who have signed in on the web.",
    rich_markup_mode="markdown",
)

Email = Annotated[
    str, typer.Argument(metavar="EMAIL", help="The person's address.", show_default=False)
]


@app.command("list", epilog="Example: seatflow session list ada@example.com")
def list_(context: typer.Context, email: Email) -> None:
    """List the open sessions of a person, the latest first."""
    address = normalized(email)
    found = with_clients(
        context,
        "Loading",
        lambda clients: clients.store.sessions.listed(address, datetime.now(UTC)),
    )
    CommandOutput.of(context).print(
        {"sessions": [each.model_dump(mode="json") for each in found]}, lambda: _render_list(found)
    )


@app.command(epilog="Example: seatflow session revoke ada@example.com")
def revoke(context: typer.Context, email: Email) -> None:
    """End all sessions of a person, for example after the loss of a computer."""
    address = normalized(email)

    async def revoked(clients: "Clients") -> int:
        at = datetime.now(UTC)
        return await clients.store.sessions.revoke_all(address, at, by=clients.author.name)

    number = with_clients(context, "Revoking", revoked)
    CommandOutput.of(context).print(
        {"revoked": number}, lambda: Text(f"Sessions revoked: {number}.", style="green")
    )


def _render_list(sessions: Sequence[Session]) -> RenderableType:
    if not sessions:
        return Text("No session is open.", style="green")
    listed = table("signed in", "last use", "ends")
    for each in sessions:
        listed.add_row(time(each.created_at), time(each.last_used_at), time(each.expires_at))
    return listed
