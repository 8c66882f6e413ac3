"""Conversations with a mail server, each of them for as many letters as come soon enough."""

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
FOR_GOOD = range(500, 600)
LONGEST_ANSWER = 500
"""Characters of a mail server's answer that are worth keeping."""


class MailNotTaken(Exception):
    """The mail server did not take the letter; the text names the step. Try again (INV-4)."""


@dataclass(frozen=True)
class SmtpServer:
    """Where letters are handed in, and as whom."""

    host: str
    port: int
    tls: bool = False
    """Encrypted from the first byte (`smtps://`)."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `smtp://[user:password@]host[:port]` or `smtps://…`.

        User and password are percent-decoded. Raises `ValueError`, which never shows them.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Its text may hold the password.
            raise ValueError("a mail server's URL ends with a host and a port") from None
        if parts.scheme not in PORTS:
            raise ValueError("a mail server's URL begins with smtp:// or smtps://")
        if not parts.hostname:
            raise ValueError("a mail server's URL names a host")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("a mail server's URL ends with a host and a port")
        if bool(parts.username) != bool(parts.password):
            raise ValueError("a mail server's URL names both user and password, or neither")
        return cls(
            host=parts.hostname,
            port=port or PORTS[parts.scheme],
            tls=parts.scheme == "smtps",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


QUIT_PATIENCE = timedelta(seconds=1)
"""How long a server may take to say goodbye: nothing depends on it."""


@dataclass(frozen=True)
class SmtpConnections:
    """Connections to a mail server, on which it knows who we are.

    One that has served a letter well is kept a moment for the next one, which saves connecting,
    encrypting and logging in. With a password, or over `smtps://`, the server's certificate must
    be good; `SSL_CERT_FILE` names other authorities. Without, STARTTLS is used where it is
    offered, whatever the certificate: the alternative would be clear text.
    """

    server: SmtpServer
    local_hostname: str
    """Who we say we are: saves asking the DNS, and does not tell the name of this machine."""
    connect_patience: timedelta = timedelta(seconds=10)
    answer_patience: timedelta = timedelta(seconds=30)
    kept_for: timedelta = timedelta(seconds=2)
    """Without a letter: long enough for the next of many, and no server minds."""
    _kept: dict[SMTP, asyncio.Task[None]] = field(default_factory=dict, init=False, repr=False)
    """Those without a letter, the last one used last, each with its end that is near."""

    @asynccontextmanager
    async def ready(self, begin: Callable[[SMTP], Awaitable[None]]) -> AsyncIterator[SMTP]:
        """A connection on which `begin` has gone well. Raises MailNotTaken.

        A kept one may have become useless meanwhile, or have served as many letters as
        the server allows: then another one takes its place.
        """
        client = await self._kept_and_ready(begin) or await self._opened_and_ready(begin)
        async with self._left_on_failure(client):
            yield client
        self._keep(client)

    async def aclose(self) -> None:
        """Leave those that are kept."""
        while self._kept:
            await self._leave(self._taken())

    async def _kept_and_ready(self, begin: Callable[[SMTP], Awaitable[None]]) -> SMTP | None:
        while self._kept:
            client = self._taken()
            with suppress(MailNotTaken):
                async with self._left_on_failure(client):
                    await begin(client)
                return client
        return None

    async def _opened_and_ready(self, begin: Callable[[SMTP], Awaitable[None]]) -> SMTP:
        client = SMTP(
            hostname=self.server.host,
            port=self.server.port,
            local_hostname=self.local_hostname,
            timeout=self.answer_patience.total_seconds(),
            use_tls=self.server.tls,
            start_tls=False,
        )
        with step("connecting"):
            await client.connect(timeout=self.connect_patience.total_seconds())
        async with self._left_on_failure(client):
            await self._introduce(client)
            await begin(client)
        return client

    async def _introduce(self, client: SMTP) -> None:
        with step("EHLO"):
            await client.ehlo()
        password = self.server.password
        if not self.server.tls and (password or client.supports_extension("STARTTLS")):
            with step("STARTTLS"):
                await client.starttls(validate_certs=password is not None)
            with step("EHLO"):
                await client.ehlo()
        if self.server.user and password:
            with step("AUTH"):
                await client.login(self.server.user, password)

    def _keep(self, client: SMTP) -> None:
        async def leave_in_a_while() -> None:
            await asyncio.sleep(self.kept_for.total_seconds())
            del self._kept[client]
            await self._leave(client)

        self._kept[client] = asyncio.create_task(leave_in_a_while())

    def _taken(self) -> SMTP:
        client, end = self._kept.popitem()
        end.cancel()
        return client

    @asynccontextmanager
    async def _left_on_failure(self, client: SMTP) -> AsyncIterator[None]:
        # What the server waits for after a failure need not be found out.
        try:
            yield
        except asyncio.CancelledError:
            # Whoever gave up the server's answer does not wait for the one to QUIT.
            client.close()
            raise
        except BaseException:
            await self._leave(client)
            raise

    async def _leave(self, client: SMTP) -> None:
        with suppress(SMTPException, OSError):
            await client.quit(timeout=QUIT_PATIENCE.total_seconds())
        client.close()


@contextmanager
def step(name: str, *, final: bool = False) -> Iterator[None]:
    """Say in which step a failure happened; in a `final` one a 5xx is for good (INV-4)."""
    try:
        yield
    except SMTPResponseException as refusal:
        answer = _answer(f"{refusal.code} {refusal.message}")
        if final and refusal.code in FOR_GOOD:
            raise Undeliverable(answer) from None
        raise MailNotTaken(f"{name}: {answer}") from None
    except (SMTPException, OSError) as failure:
        reason = _answer(str(failure) or type(failure).__name__)
        raise MailNotTaken(f"{name}: {reason}") from failure


def _answer(text: str) -> str:
    # Bytes that are no UTF-8 arrive as surrogates, which cannot be stored.
    readable = text.encode(errors="replace").decode()
    return mask_all(one_line(readable))[:LONGEST_ANSWER]
