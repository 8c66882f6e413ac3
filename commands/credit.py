"""Commands about the credit of accounts (CRD)."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from commands.answer import Answer, as_json
from commands.call import Account, ask_store
from commands.render import facts, money, table, text, time
from domain.credit import Credit

app = typer.Typer(name="credit", help="Credit of accounts.", rich_markup_mode="markdown")


@app.command(epilog="Example: seatflow --json credit show acme")
def show(context: typer.Context, account: Account) -> None:
    """Show an account's credit, and every entry that made it."""
    _give(context, ask_store(context, "Looking", lambda store: store.credits.show(account)))


@app.command(epilog="Example: seatflow credit apply acme inv-7")
def apply(
    context: typer.Context,
    account: Account,
    invoice: Annotated[
        str | None,
        typer.Argument(metavar="INVOICE", help="An open invoice; the oldest without it."),
    ] = None,
) -> None:
    """Use an account's credit for an open invoice."""
    at = datetime.now(UTC)
    _give(
        context,
        ask_store(context, "Applying", lambda store: store.credits.apply(account, invoice, at)),
    )


def _give(context: typer.Context, credit: Credit) -> None:
    Answer.of(context).give(as_json(credit), lambda: _shown(credit))


def _shown(credit: Credit) -> RenderableType:
    known = facts(credit.account, ("credit", money(credit.balance)))
    rows = table("at", "kind", "amount", "other account", "invoice", "entry")
    for entry in credit.entries:
        rows.add_row(
            time(entry.at),
            entry.kind,
            money(entry.amount),
            text(entry.source or entry.to or ""),
            text(entry.invoice or ""),
            text(entry.id),
        )
    return Group(known, rows) if credit.entries else known
