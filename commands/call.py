"""Calls of the clients, and arguments that many commands share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from commands.output import CommandOutput

if TYPE_CHECKING:
    from runtime.clients import Clients

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
        async with open_clients(load_settings()) as clients:
            return await call(clients)

    with CommandOutput.of(context).spinner(progress):
        return asyncio.run(result())
