"""Commands for the work that follows a commit (OPS-1)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue, TypeAdapter
from rich.console import RenderableType
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput
from commands.render import table, text, time
from commands.whole_number import whole_number
from domain.address import mask_all
from domain.error import ErrorCode, Refused
from domain.outbox import FollowUp

if TYPE_CHECKING:
    from runtime.clients import Clients

app = typer.Typer(
    name="outbox",
    help="Letters, signals and starts of workflows that follow a change.",
    rich_markup_mode="markdown",
)

Number = Annotated[
    int,
    typer.Argument(
        metavar="NUMBER", help="The number of the row.", show_default=False, parser=whole_number()
    ),
]

_JSON: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


@app.command("list", epilog="Example: seatflow --json outbox list")
def list_(context: typer.Context) -> None:
    """List the rows that have not been carried out, the oldest first."""
    rows = with_clients(context, "Loading", lambda clients: clients.store.outbox.listed())
    CommandOutput.of(context).print(
        {"outbox": [_document(row) for row in rows]}, lambda: _render_list(rows)
    )


@app.command(epilog="Example: seatflow outbox retry 7")
def retry(context: typer.Context, number: Number) -> None:
    """Make a row due now, also one that was given up; a worker carries it out."""

    async def retried(clients: "Clients") -> bool:
        return await clients.store.outbox.retry(number, by=clients.author.name)

    _require(number, found=with_clients(context, "Retrying", retried))
    _print(context, {"retried": number}, f"Row {number} is due now.")


@app.command(epilog="Example: seatflow outbox discard 7")
def discard(context: typer.Context, number: Number) -> None:
    """Delete a row, so that it is never carried out."""

    async def discarded(clients: "Clients") -> bool:
        return await clients.store.outbox.discard(number, by=clients.author.name)

    _require(number, found=with_clients(context, "Discarding", discarded))
    _print(context, {"discarded": number}, f"Row {number} is discarded.")


def _require(number: int, *, found: bool) -> None:
    if not found:
        raise Refused(
            ErrorCode.NOT_FOUND, f"No row {number} is waiting; it may have been carried out."
        )


def _print(context: typer.Context, document: dict[str, JsonValue], shown: str) -> None:
    CommandOutput.of(context).print(document, lambda: Text(shown, style="green"))


def _document(row: FollowUp) -> dict[str, JsonValue]:
    """Return the facts of a row, without the content of its letter."""
    facts = row.model_dump(
        mode="json",
        include={
            *("number", "kind", "workflow_id", "account", "since"),
            *("attempts", "due_at", "given_up", "failure"),
        },
    )
    return _JSON.validate_python(facts | {"failure": _failure(row)})


def _failure(row: FollowUp) -> str | None:
    return mask_all(row.failure) if row.failure else None


def _render_list(rows: Sequence[FollowUp]) -> RenderableType:
    if not rows:
        return Text("Nothing is waiting.", style="green")
    listed = table("number", "kind", "workflow", "since", "attempts", "due", "failure")
    for row in rows:
        listed.add_row(
            str(row.number),
            row.kind,
            text(row.workflow_id),
            time(row.since),
            str(row.attempts),
            "given up" if row.given_up else time(row.due_at),
            text(_failure(row) or ""),
        )
    return listed
