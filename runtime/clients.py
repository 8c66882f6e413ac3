"""The typed clients, put together as the settings say: what commands and the portal need.

Whoever only asks need not load what a worker works with.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from temporalio.client import Client

from adapters.link import LinkSigner
from adapters.sql.store import SqlStore
from clients.assignment import LicenseClient
from clients.batch import BulkClient
from clients.invitation import SeatflowClient
from clients.order import OrderClient
from clients.refund import RefundClient
from clients.reminder import ReminderClient
from clients.workflow_call import asking_temporal
from runtime.settings import Settings
from runtime.store import open_store
from runtime.temporal import connect

AnyClient = TypeVar("AnyClient")


def open_client(settings: Settings) -> AbstractAsyncContextManager[SeatflowClient]:
    """The typed client; it connects to Temporal when it first has to.

    Raises Unavailable; `Refused(invalid_input)` with another id key than the database's.
    """
    return _opened(settings, seatflow_client)


def seatflow_client(
    settings: Settings, store: SqlStore, connect: Callable[[], Awaitable[Client]]
) -> SeatflowClient:
    """The typed client over backends that are open."""
    return SeatflowClient(
        connect=connect,
        invitations=store.invitations,
        signer=signer(settings),
        id_key=settings.id_key,
        policy=settings.policy,
        task_queue=settings.task_queue,
        wait_seconds=settings.wait_seconds,
    )


def open_bulk_client(settings: Settings) -> AbstractAsyncContextManager[BulkClient]:
    """The typed client of batches; it connects to Temporal when it first has to.

    Raises Unavailable; `Refused(invalid_input)` with another id key than the database's.
    """
    return _opened(settings, bulk_client)


def bulk_client(
    settings: Settings, store: SqlStore, connect: Callable[[], Awaitable[Client]]
) -> BulkClient:
    """The typed client of batches over backends that are open."""
    return BulkClient(
        connect=connect,
        batches=store.batches,
        invitations=store.invitations,
        signer=signer(settings),
        policy=settings.policy,
        task_queue=settings.task_queue,
        wait_seconds=settings.wait_seconds,
    )


def open_refund_client(settings: Settings) -> AbstractAsyncContextManager[RefundClient]:
    """The typed client of refunds; it connects to Temporal when it first has to.

    Raises Unavailable; `Refused(invalid_input)` with another id key than the database's.
    """
    return _opened(settings, refund_client)


def refund_client(
    settings: Settings, store: SqlStore, connect: Callable[[], Awaitable[Client]]
) -> RefundClient:
    """The typed client of refunds over backends that are open."""
    return RefundClient(
        connect=connect,
        refunds=store.refunds,
        task_queue=settings.task_queue,
        wait_seconds=settings.wait_seconds,
    )


def open_order_client(settings: Settings) -> AbstractAsyncContextManager[OrderClient]:
    """The typed client of purchases; it connects to Temporal when it first has to.

    Raises Unavailable; `Refused(invalid_input)` with another id key than the database's.
    """
    return _opened(settings, order_client)


def order_client(
    settings: Settings, store: SqlStore, connect: Callable[[], Awaitable[Client]]
) -> OrderClient:
    """The typed client of purchases over backends that are open."""
    return OrderClient(
        connect=connect,
        orders=store.orders,
        policy=settings.policy,
        task_queue=settings.task_queue,
        wait_seconds=settings.wait_seconds,
    )


def open_license_client(settings: Settings) -> AbstractAsyncContextManager[LicenseClient]:
    """The typed client of licenses; it connects to Temporal when it first has to.

    Raises Unavailable; `Refused(invalid_input)` with another id key than the database's.
    """
    return _opened(settings, license_client)


def license_client(
    settings: Settings, store: SqlStore, connect: Callable[[], Awaitable[Client]]
) -> LicenseClient:
    """The typed client of licenses over backends that are open."""
    return LicenseClient(
        connect=connect,
        assignments=store.assignments,
        task_queue=settings.task_queue,
        wait_seconds=settings.wait_seconds,
    )


def open_reminder_client(settings: Settings) -> AbstractAsyncContextManager[ReminderClient]:
    """The typed client of reminders.

    Raises Unavailable; `Refused(invalid_input)` with another id key than the database's.
    """
    return _opened(settings, reminder_client)


def reminder_client(
    settings: Settings, store: SqlStore, connect: Callable[[], Awaitable[Client]]
) -> ReminderClient:
    """The typed client of reminders over backends that are open."""
    return ReminderClient(
        connect=connect,
        reminders=store.reminders,
        policy=settings.policy,
        task_queue=settings.task_queue,
        wait_seconds=settings.wait_seconds,
    )


def signer(settings: Settings) -> LinkSigner:
    """Signs the links, and verifies them."""
    return LinkSigner(settings.public_url, settings.secret_keys)


@asynccontextmanager
async def _opened(
    settings: Settings,
    client: Callable[[Settings, SqlStore, Callable[[], Awaitable[Client]]], AnyClient],
) -> AsyncIterator[AnyClient]:
    async with open_store(settings) as store:
        await store.check_id_key(settings.id_key_fingerprint)
        with asking_temporal():
            yield client(settings, store, _Connection(settings))


class _Connection:
    """Connects on first use, and once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self) -> Client:
        async with self._one_at_a_time:
            if self._client is None:
                self._client = await connect(self._settings)
            return self._client
