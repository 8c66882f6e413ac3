"""A store with accounts, and the steps of invitations between them."""

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.invitation import (
    InvitationPreviewed,
    JoinAccount,
    KeptInvitation,
    PreviewInvitation,
)
from adapters.provider import LedgerProvider
from adapters.sql.database.schema import OutboxRow
from adapters.sql.database.transaction import reading
from adapters.sql.store import SqlStore
from clients.invoice import InvoiceClient
from domain.account import Account
from domain.invitation import Choice, Invitation, Invite, License
from domain.journal import OPERATOR
from domain.letter import Letter
from domain.outbox import FollowUp, FollowUpKind
from domain.quote import RecordedQuote
from domain.remedy import Changed
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after
from tests.builders.account import ACME, ADMIN, BLOCKED, NOON, OTHER, PAYING, SOLO, directory


@dataclass
class StoreScenario:
    """A store with five accounts, and the steps of an invitation as its workflow takes them."""

    engine: AsyncEngine
    store: SqlStore

    async def import_accounts(self) -> None:
        await self.store.directory.import_(directory(ACME, SOLO, BLOCKED, PAYING, OTHER))

    def new_invite(
        self,
        email: str,
        into: str = "acme",
        *,
        license: License = License.BASIC,
        by: str = ADMIN,
        locale: str | None = None,
        name: str | None = None,
        owner_invitation_id: str | None = None,
    ) -> Invite:
        return Invite(
            invitation_id=uuid4().hex,
            account=into,
            key=f"key-of-{email}",
            email=email,
            license=license,
            invited_by=by,
            locale=locale,
            name=name,
            owner_invitation_id=owner_invitation_id,
        )

    async def claim(self, invite: Invite, at: datetime = NOON) -> Invitation:
        """Claim the natural key, and return the initial record."""
        record = initial_record(invite, run_id="", at=at)
        assert await self.store.invitations.claim(invite, record, at) is None
        return record

    async def send(self, invite: Invite, at: datetime = NOON) -> Invitation:
        """Claim the invitation and record that its e-mail was accepted by the mail server."""
        record = delivered(await self.claim(invite, at), at)
        await self.store.invitations.bind(invite.invitation_id, f"run-{invite.invitation_id}")
        await self.store.invitations.record(invite.invitation_id, record)
        return record

    async def accept(
        self, invite: Invite, record: Invitation, choice: Choice | None = None
    ) -> Invitation:
        return (await self.join_account(invite, record, choice)).invitation

    async def join_account(
        self,
        invite: Invite,
        record: Invitation,
        choice: Choice | None = None,
        *,
        quote: RecordedQuote | None = None,
        at: datetime = NOON + timedelta(hours=1),
        carried_out_at: datetime | None = None,
    ) -> KeptInvitation:
        """Accept at `at`; the store carries it out then, or at `carried_out_at`."""
        request = JoinAccount(
            invite=invite, invitation=accepted(record, at), choice=choice, quote=quote
        )
        joined = await self.store.invitations.join(request, carried_out_at or at, timedelta())
        return joined.kept

    async def join_by_managed_domain(self, invite: Invite, record: Invitation) -> Invitation:
        """Join without an answer if a managed domain allows it (INV-18)."""
        command = JoinAccount(invite=invite, invitation=record, choice=None, by_managed_domain=True)
        at = record.journal[-1].at
        return (await self.store.invitations.join(command, at, timedelta())).kept.invitation

    async def preview(
        self, invite: Invite, at: datetime = NOON, recorded: RecordedQuote | None = None
    ) -> InvitationPreviewed:
        command = PreviewInvitation(invite=invite, at=at, recorded=recorded)
        return await self.store.invitations.preview(command)

    async def pay_invoice(self, account: str, invoice: str) -> list[Changed]:
        """Pay the invoice by the methods of the built-in provider."""
        provider = LedgerProvider(self.engine, 4, frozenset())
        client = InvoiceClient(self.store.invoices, lambda: nullcontext(provider))
        return await client.pay(account, invoice, by=OPERATOR, at=NOON)

    async def send_and_accept(self, invite: Invite) -> Invitation:
        return await self.accept(invite, await self.send(invite))

    async def take_signals(self) -> list[FollowUp]:
        """Return the signals since the last call, oldest first, and mark them done."""
        rows = await self.store.outbox.lease(1000, timedelta(minutes=1))
        for row in rows:
            await self.store.outbox.done(row)
        return [row for row in rows if row.kind is FollowUpKind.SIGNAL]

    async def take_letters(self) -> list[tuple[str, str]]:
        """Return recipient and event of the letters queued since the last call; drop them."""
        letters = await self.queued_letters()
        for row in await self.store.outbox.lease(1000, timedelta(minutes=1)):
            await self.store.outbox.done(row)
        return sorted((letter.reader.email, letter.event) for letter in letters)

    async def queued_letters(self) -> list[Letter]:
        """Return the letters that wait to be sent, the oldest first."""
        async with reading(self.engine) as session:
            rows = await session.scalars(select(OutboxRow).order_by(OutboxRow.number))
            return [row.letter.letter for row in rows if row.letter]

    async def account(self, name: str) -> Account:
        [found] = (await self.store.directory.export(name)).accounts
        return found

    async def users(self, name: str) -> set[str]:
        return {user.email for user in (await self.account(name)).users}


def delivered(record: Invitation, at: datetime = NOON) -> Invitation:
    return after(
        InvitationMachine,
        record,
        "deliver",
        at=at,
        by="seatflow",
        expires_at=at + timedelta(days=30),
    )


def accepted(record: Invitation, at: datetime = NOON + timedelta(hours=1)) -> Invitation:
    return after(InvitationMachine, record, "accept", at=at, by="invitee")


def ended(
    record: Invitation, event: str = "decline", at: datetime = NOON + timedelta(hours=1)
) -> Invitation:
    return after(InvitationMachine, record, event, at=at, by="invitee")
