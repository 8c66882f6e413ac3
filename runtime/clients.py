"""All clients, built from the settings, for commands, portal and worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from adapters.link import LinkSigner
from adapters.sql.store import SqlStore
from domain.author import THEMSELVES, Author
from runtime.settings import Settings
from runtime.store import open_store

if TYPE_CHECKING:
    from temporalio.client import Client

    from clients.assignment import AssignmentClient
    from clients.batch import BatchClient
    from clients.invitation import InvitationClient
    from clients.invitation_list import InvitationListClient
    from clients.invitation_start import InvitationStarter
    from clients.invitee import InviteeClient
    from clients.invoice import InvoiceClient
    from clients.managed_domain import ManagedDomainClient
    from clients.order import OrderClient
    from clients.reconciliation import ReconciliationClient
    from clients.refund import RefundClient
    from clients.reminder import ReminderClient
    from clients.session import SessionClient
    from clients.timeline import TimelineClient
    from clients.workflow_call import TemporalAccess


@dataclass
class Clients:
    """All clients over one store and one connection to Temporal, each built on first use.

    A caller that only reads the store neither loads the Temporal SDK nor needs its server.
    """

    settings: Settings
    store: SqlStore
    connect: "Callable[[], Awaitable[Client]]"
    author: Author = THEMSELVES
    """The operator of a command; on the web people act for themselves (OPS-8)."""

    @classmethod
    def connected(cls, settings: Settings, store: SqlStore, client: "Client") -> Self:
        """Build the clients over an open connection."""

        async def connect() -> "Client":
            return client

        return cls(settings, store, connect)

    @cached_property
    def invitations(self) -> "InvitationClient":
        """The client of invitations."""
        from clients.invitation import InvitationClient

        return InvitationClient(
            starter=self.invitation_starter,
            policy=self.settings.policy,
            changes=self.store.changes,
            author=self.author,
        )

    @cached_property
    def invitation_lists(self) -> "InvitationListClient":
        """The client of the admins' lists of invitations."""
        from clients.invitation_list import InvitationListClient

        return InvitationListClient(
            lists=self.store.pages.invitations,
            policy=self.settings.policy,
        )

    @cached_property
    def invitee(self) -> "InviteeClient":
        """The client of the invitees' pages."""
        from clients.invitee import InviteeClient

        return InviteeClient(
            invitations=self.invitations,
            refunds=self.refunds,
            pages=self.store.pages.invitee,
            meeting_domain=self.settings.meeting_domain,
        )

    @cached_property
    def invoices(self) -> "InvoiceClient":
        """The client of invoices."""
        from clients.invoice import InvoiceClient
        from runtime.provider import open_provider

        return InvoiceClient(self.store.invoices, lambda: open_provider(self.settings, self.store))

    @cached_property
    def refunds(self) -> "RefundClient":
        """The client of refunds."""
        from clients.refund import RefundClient

        return RefundClient(temporal=self.temporal, refunds=self.store.refunds, author=self.author)

    @cached_property
    def orders(self) -> "OrderClient":
        """The client of orders."""
        from clients.order import OrderClient

        return OrderClient(
            temporal=self.temporal,
            orders=self.store.orders,
            policy=self.settings.policy,
            author=self.author,
        )

    @cached_property
    def assignments(self) -> "AssignmentClient":
        """The client of assignments."""
        from clients.assignment import AssignmentClient

        return AssignmentClient(
            temporal=self.temporal, assignments=self.store.assignments, author=self.author
        )

    @cached_property
    def batches(self) -> "BatchClient":
        """The client of batches."""
        from clients.batch import BatchClient

        return BatchClient(
            temporal=self.temporal,
            batches=self.store.batches,
            invitations=self.store.invitations,
            signer=self.signer,
            policy=self.settings.policy,
            author=self.author,
        )

    @cached_property
    def reminders(self) -> "ReminderClient":
        """The client of reminders."""
        from clients.reminder import ReminderClient

        return ReminderClient(
            temporal=self.temporal,
            reminders=self.store.reminders,
            policy=self.settings.policy,
            changes=self.store.changes,
            author=self.author,
        )

    @cached_property
    def managed_domains(self) -> "ManagedDomainClient":
        """The client of managed domains."""
        from adapters.dns import DnsResolver
        from clients.managed_domain import ManagedDomainClient

        return ManagedDomainClient(
            domains=self.store.managed_domains,
            resolver=DnsResolver(self.settings.dns_servers),
            author=self.author,
        )

    @cached_property
    def invitation_starter(self) -> "InvitationStarter":
        """The starter of invitations, single ones and those of a batch."""
        from clients.invitation_start import InvitationStarter

        return InvitationStarter(
            temporal=self.temporal,
            invitations=self.store.invitations,
            outbox=self.store.outbox,
            signer=self.signer,
            id_key=self.settings.id_key,
        )

    @asynccontextmanager
    async def reconciliation(self) -> "AsyncIterator[ReconciliationClient]":
        """Open the client that compares store, Temporal and payment provider."""
        from clients.reconciliation import ReconciliationClient
        from clients.repair import Repair
        from runtime.provider import reading_provider
        from runtime.recovery import Recovery

        async with reading_provider(self.settings, self.store) as provider:
            repair = Repair(
                temporal=self.temporal,
                store=self.store,
                provider=provider,
                invitations=self.invitations,
                restart=Recovery(self).start,
            )
            yield ReconciliationClient(repair, self.author)

    @cached_property
    def sessions(self) -> "SessionClient":
        """The client of sign-in."""
        from clients.session import SessionClient

        return SessionClient(
            sessions=self.store.sessions,
            signer=self.signer,
            operators=frozenset(self.settings.operators),
        )

    def by_operator(self, address: str) -> "Clients":
        """Return the same clients for an operator who acts on the web (OPS-8)."""
        author = Author(operator=address)
        return type(self)(self.settings, self.store, self.connect, author)

    @cached_property
    def timelines(self) -> "TimelineClient":
        """The client of the pages that follow one invitation."""
        from clients.timeline import TimelineClient

        return TimelineClient(self.invitations, self.store.pages.timelines)

    @cached_property
    def signer(self) -> LinkSigner:
        """The signer of the links in e-mails."""
        return LinkSigner(self.settings.public_url, self.settings.secret_keys)

    @cached_property
    def temporal(self) -> "TemporalAccess":
        """The connection, task queue and wait time of all clients."""
        from clients.workflow_call import TemporalAccess

        return TemporalAccess(self.connect, self.settings.task_queue, self.settings.wait_seconds)


@asynccontextmanager
async def open_clients(settings: Settings, author: Author = THEMSELVES) -> AsyncIterator[Clients]:
    """Open the store for all clients; connect to Temporal when a client first needs it.

    Raises Unavailable; `Refused(invalid_input)` with another id key than the database's.
    """
    async with open_store(settings) as store:
        await store.check_id_key(settings.id_key_fingerprint)
        yield Clients(settings, store, _Connection(settings), author)


class _Connection:
    """A connection to Temporal that is made on first use, once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> "Client":
        from runtime.temporal import connect

        async with self._lock:
            if self._client is None:
                self._client = await connect(self._settings)
            return self._client
