"""How a command asks: the backends are opened for one question and closed again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from commands.answer import Answer

if TYPE_CHECKING:
    from adapters.sql.store import SqlStore
    from clients.assignment import LicenseClient
    from clients.batch import BulkClient
    from clients.invitation import SeatflowClient
    from clients.order import OrderClient
    from clients.refund import RefundClient
    from clients.reminder import ReminderClient
    from runtime.settings import Settings

Asked = TypeVar("Asked")
Found = TypeVar("Found")

Account = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="The id of the account.", show_default=False)
]
Email = Annotated[
    str, typer.Argument(metavar="EMAIL", help="The person's address.", show_default=False)
]
By = Annotated[
    str,
    typer.Option("--by", metavar="ADMIN", help="The owner or admin who asks.", show_default=False),
]


def ask(
    context: typer.Context,
    doing: str,
    question: "Callable[[SeatflowClient], Awaitable[Found]]",
) -> Found:
    """Put `question` to the client; a person sees that it is `doing` something."""
    from runtime.clients import open_client

    return _answered(context, doing, open_client, question)


def ask_bulk(
    question: "Callable[[BulkClient], Awaitable[Found]]",
) -> Found:
    """Put `question` to the client of batches, which shows by itself how far it has come."""
    from runtime.clients import open_bulk_client
    from runtime.settings import load_settings

    async def answered() -> Found:
        async with open_bulk_client(load_settings()) as bulk:
            return await question(bulk)

    return asyncio.run(answered())


def ask_refunds(
    context: typer.Context,
    doing: str,
    question: "Callable[[RefundClient], Awaitable[Found]]",
) -> Found:
    """Put `question` to the client of refunds."""
    from runtime.clients import open_refund_client

    return _answered(context, doing, open_refund_client, question)


def ask_orders(
    context: typer.Context,
    doing: str,
    question: "Callable[[OrderClient], Awaitable[Found]]",
) -> Found:
    """Put `question` to the client of purchases."""
    from runtime.clients import open_order_client

    return _answered(context, doing, open_order_client, question)


def ask_licenses(
    context: typer.Context,
    doing: str,
    question: "Callable[[LicenseClient], Awaitable[Found]]",
) -> Found:
    """Put `question` to the client of licenses."""
    from runtime.clients import open_license_client

    return _answered(context, doing, open_license_client, question)


def ask_reminders(
    context: typer.Context,
    doing: str,
    question: "Callable[[ReminderClient], Awaitable[Found]]",
) -> Found:
    """Put `question` to the client of reminders."""
    from runtime.clients import open_reminder_client

    return _answered(context, doing, open_reminder_client, question)


def ask_store(
    context: typer.Context, doing: str, question: "Callable[[SqlStore], Awaitable[Found]]"
) -> Found:
    """Put `question` to the store alone; Temporal is not needed."""
    from runtime.store import open_store

    return _answered(context, doing, open_store, question)


def _answered(
    context: typer.Context,
    doing: str,
    opened: "Callable[[Settings], AbstractAsyncContextManager[Asked]]",
    question: Callable[[Asked], Awaitable[Found]],
) -> Found:
    """The answer of whom `opened` opens; a person sees that something is being done."""
    from runtime.settings import load_settings

    async def answered() -> Found:
        async with opened(load_settings()) as asked:
            return await question(asked)

    with Answer.of(context).working(doing):
        return asyncio.run(answered())
