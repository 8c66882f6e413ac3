"""The person of a request, and the forms that only they can have sent."""

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from clients.session import OpenedSession, SessionClient
from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.session import SESSION_LASTS
from portal.request import Form, Proxies

COOKIE: Final = "seatflow_session"
CSRF_FIELD: Final = "csrf_token"


class SignInRequired(Exception):
    """A request for a page that needs to know the person, from somebody who is not signed in."""

    def __init__(self, back: str | None = None) -> None:
        super().__init__("nobody is signed in")
        self.back = back
        """The path to open after signing in; None: that of the request, if it was a GET."""


class SignInBy(StrEnum):
    """The way in which people sign in."""

    LINK = "link"
    OIDC = "oidc"
    PROXY = "proxy"


class StaleForm(Exception):
    """A form without the token of the session that sends it."""


@dataclass(frozen=True)
class Person:
    """The person who is signed in."""

    email: str
    csrf_token: str
    is_operator: bool
    has_session: bool
    """False if a trusted proxy signs people in: there is nothing to sign out of here."""


@dataclass(frozen=True)
class SignedIn:
    """The people who are signed in: by a session's cookie, or by the header of a trusted proxy."""

    client: SessionClient
    by: SignInBy
    header: str | None
    """The header in which trusted proxies name the person."""
    proxies: Proxies
    key: bytes
    """The key of CSRF tokens."""

    async def find(self, request: Request) -> Person | None:
        """Return the person of a request, if somebody is signed in."""
        if self.by is SignInBy.PROXY:
            email = self._named(request)
            return self._person(email, f"header\n{email}", has_session=False) if email else None
        cookie = request.cookies.get(COOKIE)
        session = await self.client.find(cookie) if cookie else None
        if session is None:
            return None
        return self._person(session.email, f"session\n{session.id}", has_session=True)

    async def require(self, request: Request) -> Person:
        """Return the person of a request. Raises SignInRequired."""
        person = await self.find(request)
        if person is None:
            raise SignInRequired
        return person

    async def require_invitee(self, request: Request, email: str, path: str) -> None:
        """Require that the invitee is signed in, where people do not sign in by links (INV-13).

        Raises SignInRequired; `Refused(recipient_mismatch)` for anybody else.
        """
        if self.by is SignInBy.LINK:
            return
        person = await self.find(request)
        if person is None and self.by is SignInBy.OIDC:
            raise SignInRequired(path)
        if person is None or person.email != email:
            raise Refused(ErrorCode.RECIPIENT_MISMATCH, "The invitation is for another person.")

    def _named(self, request: Request) -> str | None:
        if self.header is None or not self.proxies.trusts_peer(request):
            return None
        # Of several, some may be the sender's own that the proxy has not removed.
        named = request.headers.getlist(self.header)
        try:
            return normalized(named[0]) if len(named) == 1 else None
        except Refused:
            return None

    def _person(self, email: str, subject: str, *, has_session: bool) -> Person:
        return Person(
            email=email,
            csrf_token=_token(self.key, subject),
            is_operator=self.client.is_operator(email),
            has_session=has_session,
        )


def require_own_form(person: Person, form: Form) -> None:
    """Raise StaleForm unless the form has the token of the person's session."""
    given = form.get(CSRF_FIELD, "").encode()
    if not hmac.compare_digest(given, person.csrf_token.encode()):
        raise StaleForm


def _token(key: bytes, subject: str) -> str:
    return hmac.digest(key, f"csrf\n{subject}".encode(), sha256).hex()


@dataclass(frozen=True)
class SessionCookie:
    """The cookie of sessions."""

    root: str
    secure: bool
    """True where the portal is reached by https."""

    def give(self, response: Response, session: OpenedSession) -> None:
        """Add the cookie of a session to a response."""
        response.set_cookie(
            COOKIE,
            session.cookie,
            max_age=int(SESSION_LASTS.total_seconds()),
            path=self.root or "/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )

    def take(self, response: Response) -> None:
        """Remove the cookie."""
        response.delete_cookie(
            COOKIE,
            path=self.root or "/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )
