"""Reused SMTP connections to one mail server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from activities.letter import Undeliverable
from domain.address import mask_all
from domain.text import one_line

PORTS = {"smtp": 25, "smtps": 465}
PERMANENT = range(500, 600)
"""Reply codes of a permanent failure (RFC 5321)."""
MAX_REPLY_LENGTH = 500
"""Characters of a mail server's reply that are stored."""


class MailNotAccepted(Exception):
    """A failed attempt to deliver a letter; it can be retried (INV-4). The text names the step."""


@dataclass(frozen=True)
class SmtpServer:
    """Address and credentials of a mail server."""

    host: str
    port: int
    tls: bool = False
    """Implicit TLS (`smtps://`)."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse `smtp://[user:password@]host[:port]` or `smtps://…`.

        User and password are percent-decoded. Raises `ValueError`, which never contains them.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Its text may contain the password.
            raise ValueError("end the URL with a host and a port") from None
        if parts.scheme not in PORTS:
            raise ValueError("begin the URL with smtp:// or smtps://")
        if not parts.hostname:
            raise ValueError("name a host in the URL")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("end the URL with a host and a port")
        if bool(parts.username) != bool(parts.password):
            raise ValueError("name both user and password in the URL, or neither")
        return cls(
            host=parts.hostname,
            port=port or PORTS[parts.scheme],
            tls=parts.scheme == "smtps",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


QUIT_TIMEOUT = timedelta(seconds=1)
"""Limit for the reply to QUIT; nothing depends on that reply."""


@dataclass(frozen=True)
class SmtpConnections:
    """Connections on which EHLO, STARTTLS and AUTH have succeeded.

    After a letter a connection stays open for a moment, so that the next letter need not connect,
    negotiate TLS and log in again. With a password, or over `smtps://`, the server's certificate
    must be valid; `SSL_CERT_FILE` names other authorities. Otherwise STARTTLS is used where the
    server offers it, with any certificate: the alternative would be clear text.
    """

    server: SmtpServer
    local_hostname: str
    """Name sent in EHLO; it saves a DNS look-up and does not disclose this machine's name."""
    connect_timeout: timedelta = timedelta(seconds=10)
    reply_timeout: timedelta = timedelta(seconds=30)
    idle_timeout: timedelta = timedelta(seconds=2)
    """Long enough for the next letter of a batch, short enough for any server's own limit."""
    _idle: dict[SMTP, asyncio.Task[None]] = field(default_factory=dict, init=False, repr=False)
    """Open connections without a letter, the last used last, each with the task that closes it."""

    @asynccontextmanager
    async def session(self, begin: Callable[[SMTP], Awaitable[None]]) -> AsyncIterator[SMTP]:
        """Yield a connection on which `begin` has succeeded. Raises MailNotAccepted.

        An idle connection on which `begin` fails is replaced: the server may have closed it, or
        may have reached its limit of letters for one connection.
        """
        client = await self._reuse(begin) or await self._open(begin)
        async with self._closed_on_failure(client):
            yield client
        self._keep_open(client)

    async def aclose(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._quit(self._pop_idle())

    async def _reuse(self, begin: Callable[[SMTP], Awaitable[None]]) -> SMTP | None:
        while self._idle:
            client = self._pop_idle()
            with suppress(MailNotAccepted):
                async with self._closed_on_failure(client):
                    await begin(client)
                return client
        return None

    async def _open(self, begin: Callable[[SMTP], Awaitable[None]]) -> SMTP:
        client = SMTP(
            hostname=self.server.host,
            port=self.server.port,
            local_hostname=self.local_hostname,
            timeout=self.reply_timeout.total_seconds(),
            use_tls=self.server.tls,
            start_tls=False,
        )
        with smtp_step("connecting"):
            await client.connect(timeout=self.connect_timeout.total_seconds())
        async with self._closed_on_failure(client):
            await self._greet(client)
            await begin(client)
        return client

    async def _greet(self, client: SMTP) -> None:
        with smtp_step("EHLO"):
            await client.ehlo()
        password = self.server.password
        if not self.server.tls and (password or client.supports_extension("STARTTLS")):
            with smtp_step("STARTTLS"):
                await client.starttls(validate_certs=password is not None)
            with smtp_step("EHLO"):
                await client.ehlo()
        if self.server.user and password:
            with smtp_step("AUTH"):
                await client.login(self.server.user, password)

    def _keep_open(self, client: SMTP) -> None:
        async def quit_when_idle() -> None:
            await asyncio.sleep(self.idle_timeout.total_seconds())
            del self._idle[client]
            await self._quit(client)

        self._idle[client] = asyncio.create_task(quit_when_idle())

    def _pop_idle(self) -> SMTP:
        client, closing = self._idle.popitem()
        closing.cancel()
        return client

    @asynccontextmanager
    async def _closed_on_failure(self, client: SMTP) -> AsyncIterator[None]:
        # After a failure the state of the SMTP session is unknown, so it is never used again.
        try:
            yield
        except asyncio.CancelledError:
            # The caller has no time left to wait for the reply to QUIT.
            client.close()
            raise
        except BaseException:
            await self._quit(client)
            raise

    async def _quit(self, client: SMTP) -> None:
        with suppress(SMTPException, OSError):
            await client.quit(timeout=QUIT_TIMEOUT.total_seconds())
        client.close()


@contextmanager
def smtp_step(name: str, *, permanent: bool = False) -> Iterator[None]:
    """Translate failures of one SMTP step, naming the step (INV-4).

    Raises MailNotAccepted, or Undeliverable for a 5xx reply in a `permanent` step.
    """
    try:
        yield
    except SMTPResponseException as failure:
        reply = _masked(f"{failure.code} {failure.message}")
        if permanent and failure.code in PERMANENT:
            raise Undeliverable(reply) from None
        raise MailNotAccepted(f"{name}: {reply}") from None
    except (SMTPException, OSError) as failure:
        reason = _masked(str(failure) or type(failure).__name__)
        raise MailNotAccepted(f"{name}: {reason}") from failure


def _masked(text: str) -> str:
    # Bytes that are not UTF-8 arrive as surrogates, which a database cannot store.
    readable = text.encode(errors="replace").decode()
    return mask_all(one_line(readable))[:MAX_REPLY_LENGTH]
