"""Sign-in links and sessions."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.change import record_changes
from adapters.sql.database.schema import (
    AccountRow,
    MembershipRow,
    PersonRow,
    SessionRow,
    SignInLinkRow,
)
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import current_membership
from adapters.sql.outbox import queue_letters
from domain.account import Role
from domain.outbox import QueuedLetter
from domain.session import (
    LINK_LASTS,
    SESSION_LASTS,
    USE_RECORDED_EVERY,
    AdministeredAccount,
    Session,
    SignInLink,
)

KEPT: Final = timedelta(days=1)
"""The time after which an expired link or session is deleted."""

DELETED_AT_ONCE: Final = 100


class SqlSessions:
    """The sessions of people, and the links with which they sign in."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    # Links.

    async def request_link(
        self, link: SignInLink, letter: QueuedLetter, at: datetime, *, operator: bool
    ) -> None:
        """Insert a link and its letter, for every address the same.

        The reader is looked up when the letter is sent; then those who may not sign in get none.
        """
        async with writing(self._engine) as session:
            await _delete_old(session, at)
            session.add(
                SignInLinkRow(
                    link_id=link.id,
                    email=link.email,
                    operator=operator,
                    next=link.next,
                    created_at=at,
                    expires_at=at + LINK_LASTS,
                )
            )
            await session.flush()
            await queue_letters(
                session, [letter], workflow_id=f"sign-in/{link.id}", account="", at=at
            )

    async def link(self, link_id: str, at: datetime) -> SignInLink | None:
        """Return the link; None if it was used, has expired or never existed."""
        async with reading(self._engine) as session:
            row = await session.get(SignInLinkRow, link_id)
            if row is None or row.used_at is not None or row.expires_at <= at:
                return None
            return SignInLink(id=row.link_id, email=row.email, next=row.next)

    async def use_link(
        self, link_id: str, session_id: str, at: datetime, *, replaces: str | None = None
    ) -> SignInLink | None:
        """Open a session by the link, once; None if it was used, has expired or never existed."""
        row = SignInLinkRow
        use = (
            update(row)
            .where(row.link_id == link_id, row.used_at.is_(None), row.expires_at > at)
            .values(used_at=at)
            .returning(row.email, row.next)
        )
        async with writing(self._engine) as session:
            used = (await session.execute(use)).one_or_none()
            if used is None:
                return None
            await _open(session, session_id, used.email, at, replaces)
            return SignInLink(id=link_id, email=used.email, next=used.next)

    # Sessions.

    async def open(
        self, session_id: str, email: str, at: datetime, *, replaces: str | None = None
    ) -> None:
        """Open a session for somebody who has proven who they are; revoke the one it replaces."""
        async with writing(self._engine) as session:
            await _delete_old(session, at)
            await _open(session, session_id, email, at, replaces)

    async def find(self, session_id: str, at: datetime) -> Session | None:
        """Return the session and record its use; None if it was revoked or has expired."""
        async with reading(self._engine) as session:
            row = await session.get(SessionRow, session_id)
            if row is None or row.revoked_at is not None or row.expires_at <= at:
                return None
            found = _session(row)
        if found.last_used_at <= at - USE_RECORDED_EVERY:
            used = update(SessionRow).where(SessionRow.session_id == session_id)
            async with writing(self._engine) as session:
                await session.execute(used.values(last_used_at=at))
        return found

    async def listed(self, email: str, at: datetime) -> list[Session]:
        """Return the open sessions of a person, the latest first."""
        query = (
            select(SessionRow)
            .where(
                SessionRow.email == email,
                SessionRow.revoked_at.is_(None),
                SessionRow.expires_at > at,
            )
            .order_by(SessionRow.created_at.desc(), SessionRow.session_id)
        )
        async with reading(self._engine) as session:
            return [_session(row) for row in await session.scalars(query)]

    async def revoke(self, session_id: str, at: datetime, *, email: str | None = None) -> bool:
        """Revoke a session, with an address only of this person; return whether it was open."""
        async with writing(self._engine) as session:
            return await _revoke(session, session_id, at, email)

    async def revoke_all(self, email: str, at: datetime, *, by: str) -> int:
        """Revoke all open sessions of a person, and record who has done so; return their number."""
        open_now = (SessionRow.revoked_at.is_(None), SessionRow.expires_at > at)
        revoked = update(SessionRow).where(SessionRow.email == email, *open_now)
        async with writing(self._engine) as session:
            ids = await session.scalars(
                revoked.values(revoked_at=at).returning(SessionRow.session_id)
            )
            found = sorted(ids)
            await record_changes(session, "session revoke", found, by=by, at=at)
            return len(found)

    # Roles, read at every request.

    async def administered(self, email: str) -> str | None:
        """Return the account that the person is an owner or admin of, if any."""
        async with reading(self._engine) as session:
            membership = await current_membership(session, email)
            if membership and Role(membership.role).administers:
                return membership.account_id
            return None

    async def account(self, account: str, email: str) -> AdministeredAccount | None:
        """Return the account with the person's own role on it; None if it does not exist."""
        async with reading(self._engine) as session:
            row = await session.get(AccountRow, account)
            if row is None:
                return None
            own = await current_membership(session, email)
            owner = await session.scalar(
                select(MembershipRow.email).where(
                    MembershipRow.account_id == account,
                    MembershipRow.role == Role.OWNER,
                    MembershipRow.until.is_(None),
                )
            )
            person = await session.get(PersonRow, email)
            return AdministeredAccount(
                id=row.id,
                name=row.name,
                time_zone=row.time_zone,
                plan=row.plan,
                suspended=row.suspended,
                role=Role(own.role) if own and own.account_id == account else None,
                owner=owner,
                locale=person.locale if person else None,
            )


async def _open(
    session: AsyncSession, session_id: str, email: str, at: datetime, replaces: str | None
) -> None:
    if replaces:
        await _revoke(session, replaces, at)
    session.add(
        SessionRow(
            session_id=session_id,
            email=email,
            created_at=at,
            expires_at=at + SESSION_LASTS,
            last_used_at=at,
        )
    )


async def _revoke(
    session: AsyncSession, session_id: str, at: datetime, email: str | None = None
) -> bool:
    revoked = update(SessionRow).where(
        SessionRow.session_id == session_id, SessionRow.revoked_at.is_(None)
    )
    if email is not None:
        revoked = revoked.where(SessionRow.email == email)
    done = await session.execute(revoked.values(revoked_at=at))
    assert isinstance(done, CursorResult)
    return bool(done.rowcount)


async def _delete_old(session: AsyncSession, at: datetime) -> None:
    """Delete links and sessions that ended a day ago, except those that another request deletes."""
    tables: Any = ((SignInLinkRow, SignInLinkRow.link_id), (SessionRow, SessionRow.session_id))
    for row, key in tables:
        old = (
            select(key)
            .where(row.expires_at < at - KEPT)
            .limit(DELETED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        await session.execute(delete(row).where(key.in_(old)))


def _session(row: SessionRow) -> Session:
    return Session(
        id=row.session_id,
        email=row.email,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
