"""A small town of accounts, and what happens between them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from activities.invitation import (
    AccountJoined,
    InvitationPreviewed,
    JoinAccount,
    PreviewInvitation,
)
from adapters.sql.store import SqlStore
from domain.account import Account, Directory
from domain.announcement import Announcement
from domain.invitation import Choice, Invitation, Invite, License
from domain.quote import RecordedQuote
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OWNER = "olga@acme.example"
ADMIN = "adam@acme.example"
ZOE = "zoe@zeta.example"


def user(email: str, role: str = "member", **more: object) -> dict[str, object]:
    return {"email": email, "role": role, **more}


def account(name: str, *users: object, plan: str = "free", **more: object) -> dict[str, object]:
    return {
        "id": name,
        "name": name.title(),
        "plan": plan,
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "collection": "autopay",
        "users": list(users),
        **more,
    }


def directory(*accounts: object, **more: object) -> Directory:
    return Directory.model_validate({"accounts": list(accounts), **more})


ACME = account(
    "acme",
    user(OWNER, "owner", licensed=True, locale="de"),
    user(ADMIN, "admin", name="Adam"),
    plan="business",
    licenses=6,
)
SOLO = account("solo", user("sue@solo.example", "owner", licensed=True))
BLOCKED = account(
    "crowd",
    user("kim@crowd.example", "owner"),
    user("lee@crowd.example"),
    rooms=[{"id": "blue"}],
    invoices=[{"id": "i1", "amount_due": "9.90", "due_on": "2026-01-31"}],
)
PAYING = account("rich", user("rita@rich.example", "owner"), user("max@rich.example"), plan="pro")
OTHER = account("zeta", user(ZOE, "owner", licensed=True), plan="pro", licenses=3)


@dataclass
class Town:
    """A store with accounts in it, and the steps of an invitation."""

    engine: AsyncEngine
    store: SqlStore

    async def build(self) -> None:
        await self.store.directory.import_(directory(ACME, SOLO, BLOCKED, PAYING, OTHER))

    def invite(
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

    async def claimed(self, invite: Invite, at: datetime = NOON) -> Invitation:
        """The record of an invitation that has just been claimed."""
        record = initial_record(invite, run_id="", at=at)
        assert await self.store.invitations.claim(invite, record, at) is None
        return record

    async def pending(self, invite: Invite, at: datetime = NOON) -> Invitation:
        """The record of an invitation that has gone out."""
        record = delivered(await self.claimed(invite, at), at)
        await self.store.invitations.bind(invite.invitation_id, f"run-{invite.invitation_id}")
        await self.store.invitations.record(invite.invitation_id, record)
        return record

    async def join(
        self, invite: Invite, record: Invitation, choice: Choice | None = None
    ) -> Invitation:
        return (await self.settle(invite, record, choice)).invitation

    async def settle(
        self,
        invite: Invite,
        record: Invitation,
        choice: Choice | None = None,
        *,
        quote: RecordedQuote | None = None,
        at: datetime = NOON + timedelta(hours=1),
    ) -> AccountJoined:
        return await self.store.invitations.join(
            JoinAccount(invite=invite, invitation=accepted(record, at), choice=choice, quote=quote)
        )

    async def joined_unasked(self, invite: Invite, record: Invitation) -> Invitation:
        """The record once a managed domain has let the person in, if it does."""
        order = JoinAccount(invite=invite, invitation=record, choice=None, by_managed_domain=True)
        return (await self.store.invitations.join(order)).invitation

    async def previewed(
        self, invite: Invite, at: datetime = NOON, recorded: RecordedQuote | None = None
    ) -> InvitationPreviewed:
        order = PreviewInvitation(invite=invite, at=at, recorded=recorded)
        return await self.store.invitations.preview(order)

    async def joined(self, invite: Invite) -> Invitation:
        return await self.join(invite, await self.pending(invite))

    async def announced(self) -> list[Announcement]:
        """What has been announced since this was asked last, oldest first."""
        found = await self.store.announcements.oldest(1000)
        for announcement in found:
            await self.store.announcements.done(announcement.number)
        return found

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
