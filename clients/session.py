"""The client of sign-in: links by e-mail, and sessions."""

import secrets
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from adapters.link import LinkSigner
from adapters.sql.session import SqlSessions
from domain.error import ErrorCode, Refused
from domain.letter.base import Reader
from domain.letter.sign_in import SignInLetter
from domain.outbox import QueuedLetter
from domain.session import AdministeredAccount, Session, SignInLink


@dataclass(frozen=True)
class OpenedSession:
    """A session that was opened, with the value of its cookie, which is not stored."""

    cookie: str
    email: str
    next: str | None = None


@dataclass(frozen=True)
class SessionClient:
    """Signs people in and out; what they may do is read from the store at each request."""

    sessions: SqlSessions
    signer: LinkSigner
    operators: Set[str]
    """The normalized addresses of the operators."""

    async def request_link(self, email: str, next: str | None = None) -> None:
        """Queue an e-mail with a link, the same for every normalized address.

        Those who may not sign in get none: it is decided when the e-mail is sent.
        """
        link = SignInLink(id=secrets.token_urlsafe(24), email=email, next=next)
        letter = SignInLetter(id=f"sign_in.{link.id}", reader=Reader(email=email))
        await self.sessions.request_link(
            link,
            QueuedLetter(letter=letter, sign_in=link.id),
            datetime.now(UTC),
            operator=self.is_operator(email),
        )

    async def read_link(self, token: str) -> SignInLink:
        """Return the link of a token, and consume nothing. Raises Refused: `not_found`."""
        link = await self.sessions.link(self.signer.read_sign_in(token), datetime.now(UTC))
        if link is None:
            raise _used()
        return link

    async def use_link(self, token: str, replaces: str | None = None) -> OpenedSession:
        """Open a session by a link, once; revoke the session of the cookie that it replaces.

        Raises Refused: `not_found` (used, expired, or never signed).
        """
        cookie = secrets.token_urlsafe(32)
        link = await self.sessions.use_link(
            self.signer.read_sign_in(token),
            hash_of(cookie),
            datetime.now(UTC),
            replaces=hash_of(replaces) if replaces else None,
        )
        if link is None:
            raise _used()
        return OpenedSession(cookie, link.email, link.next)

    async def open(
        self, email: str, replaces: str | None = None, next: str | None = None
    ) -> OpenedSession:
        """Open a session for somebody whom an identity provider has signed in."""
        cookie = secrets.token_urlsafe(32)
        await self.sessions.open(
            hash_of(cookie),
            email,
            datetime.now(UTC),
            replaces=hash_of(replaces) if replaces else None,
        )
        return OpenedSession(cookie, email, next)

    async def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None if it was revoked or has expired."""
        return await self.sessions.find(hash_of(cookie), datetime.now(UTC))

    async def listed(self, email: str) -> list[Session]:
        """Return the open sessions of a person, the latest first."""
        return await self.sessions.listed(email, datetime.now(UTC))

    async def revoke(self, session_id: str, email: str | None = None) -> bool:
        """Revoke a session, with an address only of this person; return whether it was open."""
        return await self.sessions.revoke(session_id, datetime.now(UTC), email=email)

    async def revoke_all(self, email: str) -> None:
        """Revoke every session of a person."""
        for session in await self.listed(email):
            await self.revoke(session.id, email)

    async def sign_out(self, cookie: str) -> None:
        """Revoke the session of a cookie."""
        await self.revoke(hash_of(cookie))

    async def account(self, account: str, email: str) -> AdministeredAccount:
        """Return an account that the person administers, or any for an operator.

        Raises Refused: `not_found`, also for an account that is not theirs.
        """
        found = await self.sessions.account(account, email)
        if found and (self.is_operator(email) or (found.role and found.role.administers)):
            return found
        raise Refused(ErrorCode.NOT_FOUND, f"The account {account} does not exist.")

    async def administered(self, email: str) -> str | None:
        """Return the account that the person is an owner or admin of, if any."""
        return await self.sessions.administered(email)

    def is_operator(self, email: str) -> bool:
        """Return whether the person is an operator."""
        return email in self.operators


def hash_of(cookie: str) -> str:
    """Return the id of the session of a cookie; the value is random, so it needs no salt."""
    return sha256(cookie.encode()).hexdigest()


def _used() -> Refused:
    return Refused(ErrorCode.NOT_FOUND, "This link was used, or has expired.")
