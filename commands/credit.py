"""Commands for the credit of accounts (CRD)."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from commands.call import Account, with_clients
from commands.output import CommandOutput, as_json
from commands.render import facts, money, table, text, time
from domain.credit import Credit

app = typer.Typer(name="credit", help="Credit of accounts.", rich_markup_mode="markdown")


@app.command(epilog="Example: seatflow --json credit show acme")
def show(context: typer.Context, account: Account) -> None:
    """Show an account's credit and its entries."""
    credit = with_clients(context, "Loading", lambda clients: clients.store.credits.show(account))
    _print(context, credit)


@app.command(epilog="Example: seatflow credit apply acme inv-7")
def apply(
    context: typer.Context,
    account: Account,
    invoice: Annotated[
        str | None,
        typer.Argument(
            metavar="INVOICE", help="The id of an open invoice. Default: the one due first."
        ),
    ] = None,
) -> None:
    """Apply an account's credit to an open invoice."""
    at = datetime.now(UTC)
    applied = with_clients(
        context,
        "Applying",
        lambda clients: clients.store.credits.apply(account, invoice, at, by=clients.author.name),
    )
    _print(context, applied)


def _print(context: typer.Context, credit: Credit) -> None:
    CommandOutput.of(context).print(as_json(credit), lambda: _render(credit))


def _render(credit: Credit) -> RenderableType:
    header = facts(
        credit.account,
        ("credit", money(credit.balance)),
        ("balance owed", f"{money(credit.balance_owed)} of open invoices"),
    )
    rows = table("at", "kind", "amount", "other account", "invoice", "by", "entry")
    for entry in credit.entries:
        rows.add_row(
            time(entry.at),
            entry.kind,
            money(entry.amount),
            text(entry.source or entry.to or ""),
            text(entry.invoice or ""),
            text(entry.by or ""),
            text(entry.id),
        )
    return Group(header, rows) if credit.entries else header
