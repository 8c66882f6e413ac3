"""Requests to the portal: their client, their origin, their form, and the limits."""

import asyncio
import hmac
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from adapters.sql.request_count import WINDOW, SqlRequestCounts
from runtime.settings import Network

MAX_FORM_BYTES: Final = 64 * 1024
"""Ten times the longest reason of a decline, URL-encoded."""
MAX_FIELDS: Final = 50
READ_SECONDS: Final = 10.0
_MOST_DIGITS: Final = 15

LINK_LIMITS: Final = {"read": 300, "write": 30}
"""Requests a minute for one link."""
CLIENT_LIMITS: Final = {"read": 1000, "write": 300}
"""Requests a minute for one client address."""

SIGN_IN_LIMITS: Final = {"address": 5, "client": 60}
"""Sign-ins an hour for one address, and from one client."""
SIGN_IN_WINDOW: Final = timedelta(hours=1)

_TOKEN = re.compile(r"(/(?:i|unsubscribe|sign-in)/)[^/?\s\"']+")
_PRIVATE = re.compile(r"([?&](?:code|state|next|q)=)[^&\s\"']+")
"""The parameters that may be an answer of an identity provider, a link or a person's address."""


class TooManyRequests(Exception):
    """A request beyond a limit; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


class CrossSite(Exception):
    """A request from another site that would change something."""


@dataclass(frozen=True)
class Proxies:
    """The proxies whose headers about the client count."""

    networks: tuple[Network, ...]

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ip_address(address.strip())
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)

    def trusts_peer(self, request: Request) -> bool:
        """Return whether the request comes from a trusted proxy."""
        return request.client is not None and self._trusts(request.client.host)

    def client_of(self, request: Request) -> str:
        """Return the address of the client: the last one that no trusted proxy has."""
        peer = request.client.host if request.client else "unknown"
        if not self._trusts(peer):
            return peer
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        others = (each.strip() for each in reversed(forwarded) if each.strip())
        return next((each for each in others if not self._trusts(each)), peer)


@dataclass(frozen=True)
class RequestLimits:
    """The limits for a link and for a client address, counted in the database."""

    counts: SqlRequestCounts
    proxies: Proxies
    key: bytes
    """The key of the hashes under which requests are counted."""

    async def require(self, request: Request, link: str | None = None) -> None:
        """Count the request. Raises TooManyRequests."""
        kind = "write" if request.method == "POST" else "read"
        limits = {self._subject(kind, "client", self.proxies.client_of(request)): CLIENT_LIMITS}
        if link:
            limits[self._subject(kind, "link", link)] = LINK_LIMITS
        await self._count({subject: limit[kind] for subject, limit in limits.items()}, WINDOW)

    async def require_sign_in(self, request: Request, address: str) -> None:
        """Count a sign-in with this address. Raises TooManyRequests."""
        client = self.proxies.client_of(request)
        limits = {
            self._subject("sign-in", "client", client): SIGN_IN_LIMITS["client"],
            self._subject("sign-in", "address", address): SIGN_IN_LIMITS["address"],
        }
        await self._count(limits, SIGN_IN_WINDOW)

    async def _count(self, limits: Mapping[str, int], window: timedelta) -> None:
        now = datetime.now(UTC)
        counted = await self.counts.count(tuple(limits), now, window)
        for subject, count in counted.items():
            if count.requests > limits[subject]:
                raise TooManyRequests(max(1, round((count.ends_at - now).total_seconds())))

    def _subject(self, *parts: str) -> str:
        return hmac.digest(self.key, "\n".join(parts).encode(), sha256).hex()[:32]


def require_same_site(request: Request, public_url: str) -> None:
    """Raise CrossSite for a request that another site's page has caused."""
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise CrossSite
    origin = request.headers.get("origin")
    if origin is None:
        return
    own = {urlsplit(public_url).netloc, request.headers.get("host", "")}
    try:
        sender = urlsplit(origin).netloc
    except ValueError:
        raise CrossSite from None
    # A page without an origin sends `null`, which has no host.
    if not sender or sender not in own:
        raise CrossSite


class Form(dict[str, str]):
    """The fields of a posted form, each with its last value."""

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        super().__init__({name: values[-1] for name, values in fields.items()})
        self._fields = fields

    def all(self, name: str) -> list[str]:
        """Return all values of a field, such as those of check boxes."""
        return self._fields.get(name, [])


async def form_of(
    request: Request, *, max_bytes: int = MAX_FORM_BYTES, max_fields: int = MAX_FIELDS
) -> Form:
    """Return the fields of a posted form. Raises HTTPException for a body that is none."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > _MOST_DIGITS or int(length) > max_bytes:
        raise HTTPException(413)
    body = b""
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise HTTPException(413)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(400) from None
    try:
        fields = parse_qs(
            body.decode(),
            keep_blank_values=True,
            max_num_fields=max_fields,
            encoding="utf-8",
            errors="strict",
        )
    except ValueError:
        raise HTTPException(400) from None
    return Form({name: [without_nul(text) for text in values] for name, values in fields.items()})


def without_nul(text: str) -> str:
    """Return `text` with a space for each NUL (TXT-3): PostgreSQL has no text with NUL."""
    return text.replace("\0", " ")


class TokenFilter(logging.Filter):
    """Filter that masks the tokens of links in the log of the web server."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the entry; return True."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                mask_tokens(each) if isinstance(each, str) else each for each in record.args
            )
        record.msg = mask_tokens(str(record.msg))
        return True


def mask_tokens(text: str) -> str:
    """Return `text` with the token of every link masked, and what was searched for."""
    return _PRIVATE.sub(r"\1…", _TOKEN.sub(r"\1…", text))
