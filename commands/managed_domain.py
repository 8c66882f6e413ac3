"""Commands for managed domains (INV-18)."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.text import Text

from commands.call import Account, with_clients
from commands.output import CommandOutput, as_json
from commands.render import facts, state, table, text, time
from domain.managed_domain import ManagedDomain, ManagedDomainState

app = typer.Typer(
    name="domain",
    help="Managed domains: people with an address in a verified one may join at once.",
    rich_markup_mode="markdown",
)

Domain = Annotated[
    str,
    typer.Argument(metavar="DOMAIN", help="A domain, such as acme.example.", show_default=False),
]


@app.command(epilog="Example: seatflow domain add acme acme.example")
def add(context: typer.Context, account: Account, domain: Domain) -> None:
    """Add a domain to an account, and print the TXT record that proves control of it.

    Publish the record in DNS, and run `domain verify`. Until then the domain admits nobody.
    Repeating the command prints the same record. Public mail domains are refused.
    """
    at = datetime.now(UTC)
    added = with_clients(
        context, "Adding", lambda clients: clients.managed_domains.add(account, domain, at)
    )
    _print(context, added)


@app.command(epilog="Example: seatflow domain verify acme acme.example")
def verify(context: typer.Context, account: Account, domain: Domain) -> None:
    """Verify that DNS has the record that `domain add` printed.

    A domain has one verified account: `conflict` names another one that has verified it.
    """
    at = datetime.now(UTC)
    verified = with_clients(
        context,
        "Reading DNS",
        lambda clients: clients.managed_domains.verify(account, domain, at),
    )
    _print(context, verified)


@app.command("list", epilog="Example: seatflow --json domain list acme")
def list_(context: typer.Context, account: Account) -> None:
    """List an account's domains, pending and verified, with their records."""
    domains = with_clients(
        context, "Loading", lambda clients: clients.managed_domains.list(account)
    )
    documents: list[JsonValue] = [as_json(domain) for domain in domains]
    CommandOutput.of(context).print({"domains": documents}, lambda: _render_list(domains))


def _print(context: typer.Context, domain: ManagedDomain) -> None:
    CommandOutput.of(context).print(as_json(domain), lambda: _render(domain))


def _render(domain: ManagedDomain) -> RenderableType:
    record = domain.record
    shown = facts(
        domain.domain,
        ("account", domain.account),
        ("state", state(domain.state)),
        ("verified", time(domain.verified_at)),
        ("record", record.type),
        ("name", record.name),
        ("value", record.value),
    )
    if domain.state is ManagedDomainState.VERIFIED:
        return shown
    command = f"seatflow domain verify {domain.account} {domain.domain}"
    return Group(shown, Text(f"Publish the record in DNS, then run `{command}`.", no_wrap=True))


def _render_list(domains: list[ManagedDomain]) -> RenderableType:
    if not domains:
        return Text("No managed domains.", style="dim")
    rows = table("domain", "state", "verified", "TXT record", "value")
    for domain in domains:
        rows.add_row(
            text(domain.domain),
            state(domain.state),
            time(domain.verified_at),
            text(domain.record.name),
            text(domain.record.value),
        )
    return rows
