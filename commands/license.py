"""The command that shows an account's pools of licenses (ASG)."""

from collections.abc import Iterable, Sequence

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from commands.call import Account, with_clients
from commands.output import CommandOutput, as_json
from commands.render import state, table, text
from domain.license import LicensePool

app = typer.Typer()


@app.command(rich_help_panel="Licenses", epilog="Example: seatflow licenses acme")
def licenses(context: typer.Context, account: Account) -> None:
    """Show an account's licenses, their holders, and the users who wait."""
    pools = with_clients(context, "Loading", lambda clients: clients.assignments.licenses(account))
    CommandOutput.of(context).print(
        {"pools": [as_json(pool) for pool in pools]}, lambda: of_pools(pools)
    )


def of_pools(pools: Sequence[LicensePool]) -> RenderableType:
    """Render the pools, and below them each holder and each user who waits."""
    rows = table("license", "bought", "assigned", "reserved", "free", "waiting")
    users = table("license", "user", "")
    for pool in pools:
        rows.add_row(
            _name(pool),
            *(str(count) for count in (pool.bought, pool.assigned, pool.reserved, pool.free)),
            str(len(pool.waiting)),
        )
        _add_users(users, pool, "assigned", pool.holders)
        _add_users(users, pool, "waiting", pool.waiting)
    if not pools:
        return Text("No licenses.", style="dim")
    return Group(rows, "", users) if users.row_count else rows


def _add_users(users: Table, pool: LicensePool, status: str, emails: Iterable[str]) -> None:
    for email in emails:
        users.add_row(_name(pool), text(email), state(status))


def _name(pool: LicensePool) -> str:
    return f"{pool.sku} {pool.capacity}" if pool.capacity else pool.sku.value
