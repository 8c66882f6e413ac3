"""Calls of the clients, and arguments that many commands share."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from pydantic import JsonValue

from commands.output import CommandOutput
from domain.author import UNKNOWN, Author, operator_name
from domain.error import ErrorCode, Refused
from domain.search import did_you_mean

if TYPE_CHECKING:
    from runtime.clients import Clients
    from runtime.settings import Settings

Result = TypeVar("Result")

Account = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="The id of the account.", show_default=False)
]
Email = Annotated[
    str, typer.Argument(metavar="EMAIL", help="The person's address.", show_default=False)
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="ADMIN",
        help="The address of the owner or admin who requests it.",
        show_default=False,
    ),
]


def author_of(context: typer.Context, settings: "Settings") -> Author:
    """Return the operator of a command: `--operator`, the setting, or the system's user (OPS-8)."""
    name = CommandOutput.of(context).operator or settings.operator or system_user()
    return Author(operator=name)


def system_user() -> str:
    """Return the name of the system's user; `unknown` if the system has none."""
    try:
        return operator_name(getpass.getuser())
    except (OSError, KeyError, ImportError, Refused):
        # A container may run as a user id without an entry in the user database.
        return UNKNOWN


def with_clients(
    context: typer.Context,
    progress: str | None,
    call: "Callable[[Clients], Awaitable[Result]]",
) -> Result:
    """Open the clients, and return the result of `call`.

    A person sees `progress` meanwhile; None if the call shows its own progress.
    """
    from runtime.clients import open_clients
    from runtime.settings import load_settings

    async def result() -> Result:
        settings = load_settings()
        author = author_of(context, settings)
        async with open_clients(settings, author) as clients:
            try:
                return await call(clients)
            except Refused as refused:
                raise await _with_near_accounts(clients, refused) from None

    with CommandOutput.of(context).spinner(progress):
        return asyncio.run(result())


async def _with_near_accounts(clients: "Clients", refused: Refused) -> Refused:
    """Return the refusal; if the account does not exist, with the ids that may have been meant.

    Only operators see them: the web tells nobody which accounts exist.
    """
    account = refused.details.get("account")
    if refused.code is not ErrorCode.NOT_FOUND or not isinstance(account, str):
        return refused
    near = await clients.store.search.near_accounts(account)
    details: dict[str, JsonValue] = {**refused.details, "near_matches": [*near]}
    return Refused(refused.code, f"{refused.message}{did_you_mean(near)}", **details)
