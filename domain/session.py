"""Signing in: the links in e-mails, the sessions, and what a signed-in person may open."""

from datetime import timedelta
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import AwareDatetime

from domain.account import Role
from domain.letter.base import Reader
from domain.model import Value

LINK_LASTS: Final = timedelta(minutes=15)
"""The time for which the link of a sign-in e-mail works."""

SESSION_LASTS: Final = timedelta(hours=12)

USE_RECORDED_EVERY: Final = timedelta(minutes=1)
"""The accuracy of `last_used_at`: not every request of a page writes."""

MAX_PATH_LENGTH: Final = 500


class SignInLink(Value):
    """The link of a sign-in e-mail, which has not been used."""

    id: str
    email: str
    next: str | None
    """The path that is opened after signing in, if one was."""


class RequestedSignIn(Value):
    """The reader of a sign-in e-mail: an owner, an admin or an operator."""

    reader: Reader
    account_name: str | None
    """None for an operator who administers no account."""


class Session(Value):
    """The session of a signed-in person; what they may do is read at each request."""

    id: str
    """The hash of the cookie's value."""
    email: str
    created_at: AwareDatetime
    expires_at: AwareDatetime
    last_used_at: AwareDatetime


class AdministeredAccount(Value):
    """An account as one person may open it."""

    id: str
    name: str
    time_zone: str
    plan: str
    suspended: bool
    role: Role | None
    """The person's own role on it; None if they are not one of its users."""
    owner: str | None
    """The owner's address; None on a closed account."""
    locale: str | None
    """The person's own locale."""


def local_path(path: str, *roots: str) -> str | None:
    r"""Return the path and query of a redirect if it leads to one of the roots, else None.

    An absolute URL, `//host` and `/\host`, which browsers read as another host, lead to none; nor
    do `..` and `%2e%2e`, which they resolve to a path above.
    """
    if len(path) > MAX_PATH_LENGTH or not path.isascii() or not path.isprintable():
        return None
    if "\\" in path or " " in path or ".." in unquote(path) or path.startswith("//"):
        return None
    parts = urlsplit(path)
    if parts.scheme or parts.netloc or parts.fragment:
        return None
    inside = any(parts.path == root or parts.path.startswith(f"{root}/") for root in roots)
    return path if inside else None
