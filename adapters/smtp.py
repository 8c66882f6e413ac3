"""Letters handed to a mail server."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as ASCII_HEADERS
from email.policy import SMTPUTF8 as UNICODE_HEADERS
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPException, SMTPResponseException
from email_validator import validate_email

from activities.letter import Undeliverable, Unwanted, Wanted
from adapters.letter.writing import written
from domain.address import mask_all
from domain.letter import Letter
from domain.text import one_line

PORTS = {"smtp": 25, "smtps": 465}
FOR_GOOD = range(500, 600)
LONGEST_ANSWER = 500
"""Characters of a mail server's answer that are worth keeping."""

_MAILBOX = re.compile(r"(?P<name>[^<>]*)<(?P<boxed>[^<>]+)>|(?P<bare>[^<>]+)")


class MailNotTaken(Exception):
    """The mail server did not take the letter; the text names the step. Try again (INV-4)."""


class Memory(Protocol):
    """What is known of the letters that a mail server has taken."""

    async def taken(self, letter_id: str) -> bool:
        """Whether a mail server has taken that letter."""

    async def remember(self, letter_id: str, at: datetime) -> None:
        """Keep that a mail server took the letter at `at`; on repeat the first one stays."""


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


def mailbox(text: str) -> Address:
    """Read `Seatflow <no-reply@example.com>` or a bare address, the domain IDN-encoded.

    Raises `ValueError`.
    """
    found = _MAILBOX.fullmatch(_header(text))
    if not found:
        raise ValueError(f"not a mailbox such as Seatflow <no-reply@example.com>: {text!r}")
    address = validate_email(
        (found["boxed"] or found["bare"]).strip(),
        check_deliverability=False,
        globally_deliverable=False,
    )
    return Address(
        display_name=(found["name"] or "").strip().strip('"'),
        username=address.local_part,
        domain=address.ascii_domain,
    )


@dataclass(frozen=True)
class SmtpPost:
    """Hands each letter to the mail server once (INV-4).

    With a password, or over `smtps://`, the server's certificate must be good;
    `SSL_CERT_FILE` names other authorities. Without, STARTTLS is used where it is
    offered, whatever the certificate: the alternative would be clear text.

    A server that takes a letter, but whose answer is lost, gets it again under the
    same Message-ID.
    """

    server: SmtpServer
    sender: Address
    memory: Memory
    connect_patience: timedelta = timedelta(seconds=10)
    answer_patience: timedelta = timedelta(seconds=30)

    async def send(self, letter: Letter, wanted: Wanted | None = None) -> None:
        """Send once per `letter.id`; a repeated id is not sent again.

        Raises `Undeliverable` for a 5xx in answer to RCPT or DATA, `Unwanted` when it is not
        `wanted` between the two, `MailNotTaken` for everything else.
        """
        if await self.memory.taken(letter.id):
            return
        message = self._message(letter)
        async with self._connection() as client:
            await self._introduce(client)
            await self._hand_in(client, message, letter.reader.email, wanted)
            # Before saying goodbye, which may fail and must not send it again.
            await self.memory.remember(letter.id, datetime.now(UTC))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[SMTP]:
        client = SMTP(
            hostname=self.server.host,
            port=self.server.port,
            # Saves asking the DNS who we are, and does not tell the name of this machine.
            local_hostname=self.sender.domain,
            timeout=self.answer_patience.total_seconds(),
            use_tls=self.server.tls,
            start_tls=False,
        )
        patience = self.connect_patience.total_seconds()
        with _step("connecting"):
            await client.connect(timeout=patience)
        try:
            yield client
        finally:
            with suppress(SMTPException, OSError):
                await client.quit(timeout=patience)
            client.close()

    async def _introduce(self, client: SMTP) -> None:
        with _step("EHLO"):
            await client.ehlo()
        password = self.server.password
        if not self.server.tls and (password or client.supports_extension("STARTTLS")):
            with _step("STARTTLS"):
                await client.starttls(validate_certs=password is not None)
            with _step("EHLO"):
                await client.ehlo()
        if self.server.user and password:
            with _step("AUTH"):
                await client.login(self.server.user, password)

    async def _hand_in(
        self, client: SMTP, message: EmailMessage, recipient: str, wanted: Wanted | None
    ) -> None:
        sender = self.sender.addr_spec
        unicode = not (sender + recipient).isascii()
        if unicode and not client.supports_extension("SMTPUTF8"):
            answer = "The mail server takes ASCII addresses only."
            raise MailNotTaken(answer) if recipient.isascii() else Undeliverable(answer)
        encoding = "utf-8" if unicode else "ascii"
        with _step("MAIL FROM"):
            options = ["SMTPUTF8", "BODY=8BITMIME"] if unicode else []
            await client.mail(sender, options=options, encoding=encoding)
        with _step("RCPT TO", final=True):
            await client.rcpt(recipient, encoding=encoding)
        # A slow server may have taken half a minute to come this far.
        if wanted and not await wanted():
            raise Unwanted
        with _step("DATA", final=True):
            headers = UNICODE_HEADERS if unicode else ASCII_HEADERS
            await client.data(message.as_bytes(policy=headers))

    def _message(self, letter: Letter) -> EmailMessage:
        words = written(letter)
        local, _, domain = letter.reader.email.rpartition("@")
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = Address(username=local, domain=domain)
        message["Subject"] = _header(words.subject)
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = f"<{letter.id}@{self.sender.domain}>"
        message["Seatflow-Event"] = letter.event
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(words.text, cte="quoted-printable")
        message.add_alternative(words.html, subtype="html", cte="quoted-printable")
        # Set earlier, it would have become a header of the first alternative alone.
        message["Content-Language"] = words.language
        return message


@contextmanager
def _step(name: str, *, final: bool = False) -> Iterator[None]:
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


def _header(text: str) -> str:
    # The e-mail package would decode "=?…?=" found in a name, line breaks and all (TXT-3).
    return one_line(text).replace("=?", "= ?")
