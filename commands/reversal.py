"""Commands for disputed payments and returned refunds (OPS-5)."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput, as_json
from domain.error import ErrorCode, Refused
from domain.reversal import Reversal
from domain.text import one_line

if TYPE_CHECKING:
    from runtime.clients import Clients

app = typer.Typer(
    name="reversal",
    help="Disputed payments, and refunds that came back; `attention` lists them.",
    rich_markup_mode="markdown",
)


@app.command(epilog='Example: seatflow reversal close dp_1 --reason "paid by bank transfer"')
def close(
    context: typer.Context,
    reversal_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The payment provider's id of the dispute or refund.",
            show_default=False,
        ),
    ],
    reason: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The reason, which is kept.", show_default=False),
    ],
) -> None:
    """Remove a reversal from the operators' list, until its status changes."""
    kept = one_line(reason)
    if not kept:
        raise Refused(ErrorCode.INVALID_INPUT, "--reason is empty; give the reason.")

    async def closed(clients: "Clients") -> Reversal:
        by = clients.author.name
        return await clients.store.reversals.close(reversal_id, by, kept, datetime.now(UTC))

    reversal = with_clients(context, "Closing", closed)
    CommandOutput.of(context).print(
        as_json(reversal), lambda: Text(f"{reversal_id} is closed.", style="green")
    )
