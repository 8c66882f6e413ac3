"""Commands that clear blockers, and one that creates one (BLK)."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.call import Account, Email, with_clients
from commands.output import CommandOutput, as_json
from commands.render import table, text
from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.remedy import Changed, Removal

if TYPE_CHECKING:
    from adapters.sql.accounts.remedy import SqlRemedies
    from runtime.clients import Clients

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
            "--unlink",
            help="Move the user and their data to a free account of their own (default).",
        ),
    ] = False,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete",
            help="Delete the user and their data. On a terminal, this asks for confirmation.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete without asking for confirmation.")
    ] = False,
) -> None:
    """Remove a user other than the owner from an account."""
    if unlink and delete:
        raise Refused(ErrorCode.INVALID_INPUT, "Use either --unlink or --delete.")
    user, removal = normalized(email), Removal.DELETE if delete else Removal.UNLINK
    if delete and not yes:
        CommandOutput.of(context).confirm(
            f"Delete {user} from {account}, with all meetings, recordings, chats and settings? "
            "This cannot be undone."
        )
    _remedy(
        context,
        account,
        "Removing",
        lambda remedies, at, by: remedies.remove_user(account, user, removal, at, by=by),
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
        context,
        account,
        "Removing",
        lambda remedies, at, by: remedies.remove_room(account, room, at, by=by),
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow pay-invoice paula inv-7")
def pay_invoice(
    context: typer.Context,
    account: Account,
    invoice: Annotated[
        str, typer.Argument(metavar="INVOICE", help="The id of the invoice.", show_default=False)
    ],
    paid_outside: Annotated[
        str | None,
        typer.Option(
            "--paid-outside",
            metavar="REFERENCE",
            help="Charge nothing: record that it was paid elsewhere, with the reference of that "
            "payment.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Pay an open invoice by the account's payment methods, in their order."""

    async def paid(clients: "Clients", at: datetime) -> list[Changed]:
        by = clients.author.name
        if paid_outside is None:
            return await clients.invoices.pay(account, invoice, by=by, at=at)
        return await clients.invoices.record_paid_outside(
            account, invoice, paid_outside, by=by, at=at
        )

    _changed(context, account, "Charging" if paid_outside is None else "Recording", paid)


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow reactivate paula")
def reactivate(context: typer.Context, account: Account) -> None:
    """Withdraw the cancellation of an account's plan."""
    _remedy(
        context,
        account,
        "Reactivating",
        lambda remedies, at, by: remedies.reactivate(account, at, by=by),
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow cancel-plan paula")
def cancel_plan(context: typer.Context, account: Account) -> None:
    """Cancel an account's plan at the end of its period."""
    _remedy(
        context,
        account,
        "Cancelling",
        lambda remedies, at, by: remedies.cancel_plan(account, at, by=by),
    )


def _remedy(
    context: typer.Context,
    account: str,
    progress: str,
    remedy: "Callable[[SqlRemedies, datetime, str], Awaitable[list[Changed]]]",
) -> None:
    _changed(
        context,
        account,
        progress,
        lambda clients, at: remedy(clients.store.remedies, at, clients.author.name),
    )


def _changed(
    context: typer.Context,
    account: str,
    progress: str,
    change: "Callable[[Clients, datetime], Awaitable[list[Changed]]]",
) -> None:
    at = datetime.now(UTC)
    changed = with_clients(context, progress, lambda clients: change(clients, at))
    CommandOutput.of(context).print(
        {"account": account, "changed": [as_json(change) for change in changed]},
        lambda: _render(changed),
    )


def _render(changed: Sequence[Changed]) -> RenderableType:
    if not changed:
        return Text("No change was needed.", style="dim")
    rows = table("changed", "id", "moved to")
    for change in changed:
        rows.add_row(change.kind, text(change.id), change.to or "")
    return rows
