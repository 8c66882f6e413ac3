"""Commands that search the store for accounts, users and people."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from commands.call import Account, Email, with_clients
from commands.output import CommandOutput, as_json
from commands.refund import of_refunds
from commands.render import facts, money, state, table, text, time
from commands.render_invitation import of_invitations_of_person
from commands.whole_number import whole_number
from domain.address import normalized
from domain.license import Sku, license_name
from domain.search import (
    MAX_PAGE_SIZE,
    PAGE_SIZE,
    AccountPage,
    FoundAccount,
    FoundLicense,
    FoundMembership,
    FoundPerson,
    FoundUser,
    PageRequest,
    UserPage,
)

app = typer.Typer()

_PANEL = "Accounts"

Query = Annotated[
    str | None,
    typer.Argument(metavar="QUERY", help="A part of the id, name or address, in any case."),
]
Limit = Annotated[
    int,
    typer.Option(metavar="N", parser=whole_number(1, MAX_PAGE_SIZE), help="The rows on a page."),
]
Cursor = Annotated[
    str | None,
    typer.Option(metavar="CURSOR", help="Continue after this row: `next_cursor` of a page."),
]


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow accounts acme")
def accounts(
    context: typer.Context,
    query: Query = None,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> None:
    """List the accounts, or those whose id, name or owner contains QUERY."""
    part = PageRequest(limit=limit, after=cursor)
    page = with_clients(
        context, "Loading", lambda clients: clients.store.search.accounts(query, part)
    )
    CommandOutput.of(context).print(as_json(page), lambda: _accounts(page))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow users acme jane")
def users(
    context: typer.Context,
    account: Account,
    query: Query = None,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> None:
    """List the users of an account, with the licenses that they hold or wait for."""
    part = PageRequest(limit=limit, after=cursor)
    page = with_clients(
        context,
        "Loading",
        lambda clients: clients.store.search.users(account, query, part),
    )
    CommandOutput.of(context).print(as_json(page), lambda: _users(page))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow find jane@example.com")
def find(context: typer.Context, email: Email) -> None:
    """Show every account, invitation, refund and license of a person."""
    address = normalized(email)
    person = with_clients(context, "Loading", lambda clients: clients.store.search.find(address))
    CommandOutput.of(context).print(as_json(person), lambda: _person(person))


def _accounts(page: AccountPage) -> RenderableType:
    rows = table(
        "account",
        "name",
        "plan",
        "state",
        "owner",
        "users",
        "open invitations",
        "base licenses",
        "balance owed",
        "credit",
    )
    for account in page.accounts:
        rows.add_row(
            account.id,
            text(account.name),
            account.plan,
            _state(account),
            text(account.owner or ""),
            str(account.users),
            str(account.open_invitations),
            f"{account.base_licenses.bought}, {account.base_licenses.free} free",
            money(account.balance_owed),
            money(account.credit),
        )
    return _paged(rows, "accounts", len(page.accounts), page.total, page.next_cursor)


def _state(account: FoundAccount) -> Text:
    suspended = Text(", suspended", style="yellow") if account.suspended else Text()
    return state(account.state) + suspended


def _users(page: UserPage) -> RenderableType:
    rows = table("user", "name", "role", "holds", "waits for", "since")
    for user in page.users:
        rows.add_row(
            text(user.email),
            text(user.name or ""),
            user.role,
            ", ".join(_held(user)),
            ", ".join(license_name(each.sku, each.capacity) for each in user.waiting),
            time(user.since),
        )
    return _paged(rows, f"users of {page.account}", len(page.users), page.total, page.next_cursor)


def _held(user: FoundUser) -> Iterable[str]:
    if user.licensed:
        yield license_name(Sku.WORKPLACE, None)
    for addon in user.addons:
        yield license_name(Sku(addon.sku), addon.capacity)


def _paged(
    rows: RenderableType, noun: str, shown: int, total: int, next_cursor: str | None
) -> RenderableType:
    if not shown:
        return Text(f"No {noun} found.", style="dim")
    more = f" The next page: --cursor {next_cursor}" if next_cursor else ""
    return Group(rows, Text(f"{shown:,} of {total:,} {noun}.{more}", style="dim"))


def _person(person: FoundPerson) -> RenderableType:
    header = facts(person.email, ("name", person.name), ("locale", person.locale))
    parts: list[RenderableType] = [header]
    for title, found, rendered in (
        ("Accounts", person.accounts, _memberships(person.accounts)),
        ("Licenses", person.licenses, _licenses(person.licenses)),
        ("Invitations", person.invitations, of_invitations_of_person(person.invitations)),
        ("Refunds", person.refunds, of_refunds(person.refunds)),
    ):
        parts += [
            "",
            Text(title, style="bold"),
            rendered if found else Text("None.", style="dim"),
        ]
    return Group(*parts)


def _memberships(memberships: Iterable[FoundMembership]) -> RenderableType:
    rows = table("account", "name", "role", "since", "until", "left by")
    for each in memberships:
        rows.add_row(
            each.account,
            text(each.name),
            each.role,
            time(each.since),
            time(each.until) or Text("now", style="green"),
            each.left_by or "",
        )
    return rows


def _licenses(licenses: Iterable[FoundLicense]) -> RenderableType:
    rows = table("license", "account", "state", "since")
    for each in licenses:
        rows.add_row(
            license_name(each.sku, each.capacity), each.account, state(each.state), time(each.since)
        )
    return rows
