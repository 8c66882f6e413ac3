"""Commands that clear what blocks an acceptance, or bring it about (BLK)."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.answer import Answer, as_json
from commands.call import Account, Email, ask_store
from commands.render import table, text
from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.remedy import Changed, Removal

if TYPE_CHECKING:
    from adapters.sql.accounts.remedy import SqlRemedies

app = typer.Typer()

_PANEL = "Remedies"


@app.command(
    rich_help_panel=_PANEL,
    epilog="Example: seatflow remove-user paula sam@studio.example --delete",
)
def remove_user(
    context: typer.Context,
    account: Account,
    email: Email,
    unlink: Annotated[
        bool,
        typer.Option(
            "--unlink", help="They keep what is theirs, on a free account of their own (default)."
        ),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="They are gone, and all that was theirs.")
    ] = False,
) -> None:
    """Take a user, who is not the owner, from an account."""
    if unlink and delete:
        raise Refused(ErrorCode.INVALID_INPUT, "Say --unlink or --delete, not both.")
    person, how = normalized(email), Removal.DELETE if delete else Removal.UNLINK
    _remedy(
        context,
        account,
        "Removing",
        lambda remedies, at: remedies.remove_user(account, person, how, at),
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow remove-room paula blue")
def remove_room(
    context: typer.Context,
    account: Account,
    room: Annotated[
        str, typer.Argument(metavar="ROOM", help="The id of the room.", show_default=False)
    ],
) -> None:
    """Delete a room of an account."""
    _remedy(
        context, account, "Removing", lambda remedies, at: remedies.remove_room(account, room, at)
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow pay-invoice paula inv-7")
def pay_invoice(
    context: typer.Context,
    account: Account,
    invoice: Annotated[
        str, typer.Argument(metavar="INVOICE", help="The id of the invoice.", show_default=False)
    ],
) -> None:
    """Pay an open invoice by the account's payment methods, in their order."""
    _remedy(
        context,
        account,
        "Charging",
        lambda remedies, at: remedies.pay_invoice(account, invoice, at),
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow reactivate paula")
def reactivate(context: typer.Context, account: Account) -> None:
    """Take a requested cancellation back."""
    _remedy(context, account, "Reactivating", lambda remedies, at: remedies.reactivate(account, at))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow cancel-plan paula")
def cancel_plan(context: typer.Context, account: Account) -> None:
    """Request that an account's plan ends with its period."""
    _remedy(context, account, "Cancelling", lambda remedies, at: remedies.cancel_plan(account, at))


def _remedy(
    context: typer.Context,
    account: str,
    doing: str,
    remedy: "Callable[[SqlRemedies, datetime], Awaitable[list[Changed]]]",
) -> None:
    at = datetime.now(UTC)
    changed = ask_store(context, doing, lambda store: remedy(store.remedies, at))
    Answer.of(context).give(
        {"account": account, "changed": [as_json(change) for change in changed]},
        lambda: _shown(changed),
    )


def _shown(changed: Sequence[Changed]) -> RenderableType:
    if not changed:
        return Text("Nothing had to be changed.", style="dim")
    rows = table("changed", "id", "is now on")
    for change in changed:
        rows.add_row(change.kind, text(change.id), change.to or "")
    return rows
