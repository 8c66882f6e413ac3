"""Calls of the clients, and arguments that many commands share."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from commands.output import CommandOutput
from domain.author import UNKNOWN, Author, operator_name
from domain.error import Refused

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
            return await call(clients)

    with CommandOutput.of(context).spinner(progress):
        return asyncio.run(result())
