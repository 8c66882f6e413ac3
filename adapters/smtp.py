"""Letters handed to a mail server."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as ASCII_HEADERS
from email.policy import SMTPUTF8 as UNICODE_HEADERS
from typing import Protocol

from aiosmtplib import SMTP
from email_validator import validate_email

from activities.letter import NoLongerDue, StillDue, Undeliverable
from adapters.letter.writing import written
from adapters.smtp_connection import MailNotTaken, SmtpConnections, step
from domain.letter import Letter
from domain.text import one_line

_MAILBOX = re.compile(r"(?P<name>[^<>]*)<(?P<boxed>[^<>]+)>|(?P<bare>[^<>]+)")


class Memory(Protocol):
    """What is known of the letters that a mail server has taken."""

    async def taken(self, letter_id: str) -> bool:
        """Whether a mail server has taken that letter."""

    async def remember(self, letter_id: str, at: datetime) -> None:
        """Keep that a mail server took the letter at `at`; on repeat the first one stays."""


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

    A server that takes a letter, but whose answer is lost, gets it again under the
    same Message-ID.
    """

    connections: SmtpConnections
    sender: Address
    memory: Memory
    patience: timedelta = timedelta(seconds=35)
    """How long the server may take over one letter, however soon it answers each step."""

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        """Send once per `letter.id`; a repeated id is not sent again.

        Raises `Undeliverable` for a 5xx in answer to RCPT or DATA, `NoLongerDue` when it is not
        `still_due` between the two, `MailNotTaken` for everything else.
        """
        if await self.memory.taken(letter.id):
            return
        message, recipient = self._message(letter), letter.reader.email
        unicode = not (self.sender.addr_spec + recipient).isascii()

        async def begin(client: SMTP) -> None:
            await self._begin(client, recipient, unicode=unicode)

        async with self._patient() as limit, self.connections.ready(begin) as client:
            with step("RCPT TO", final=True):
                await client.rcpt(recipient, encoding="utf-8" if unicode else "ascii")
            # A slow server may have taken half a minute to come this far.
            if still_due and not await still_due():
                raise NoLongerDue
            with step("DATA", final=True):
                headers = UNICODE_HEADERS if unicode else ASCII_HEADERS
                await client.data(message.as_bytes(policy=headers))
            # It has the letter: what is left is ours to do.
            limit.reschedule(None)
            # Before anything else is said, which may fail and must not send it again.
            await self.memory.remember(letter.id, datetime.now(UTC))

    @asynccontextmanager
    async def _patient(self) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(self.patience.total_seconds()) as limit:
                yield limit
        except TimeoutError:
            seconds = self.patience.total_seconds()
            raise MailNotTaken(f"the conversation: not over after {seconds:g} seconds") from None

    async def _begin(self, client: SMTP, recipient: str, *, unicode: bool) -> None:
        if unicode and not client.supports_extension("SMTPUTF8"):
            answer = "The mail server takes ASCII addresses only."
            raise MailNotTaken(answer) if recipient.isascii() else Undeliverable(answer)
        with step("MAIL FROM"):
            options = ["SMTPUTF8", "BODY=8BITMIME"] if unicode else []
            encoding = "utf-8" if unicode else "ascii"
            await client.mail(self.sender.addr_spec, options=options, encoding=encoding)

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


def _header(text: str) -> str:
    # The e-mail package would decode "=?…?=" found in a name, line breaks and all (TXT-3).
    return one_line(text).replace("=?", "= ?")
