"""Delivery of letters to a mail server (INV-4)."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as CRLF_LINES
from email.utils import format_datetime
from typing import Protocol

from aiosmtplib import SMTP
from email_validator import validate_email

from activities.letter import NoLongerDue, StillDue, Undeliverable
from adapters.letter.rendering import Help, RenderedLetter, render_letter
from adapters.mail_header import address_field, text_field
from adapters.smtp_connection import MailNotAccepted, SmtpConnections, smtp_step
from domain.letter import Letter
from domain.letter.reminder import ReminderLetter
from domain.text import one_line

_MAILBOX = re.compile(r"(?P<name>[^<>]*)<(?P<boxed>[^<>]+)>|(?P<bare>[^<>]+)")


class SentLetters(Protocol):
    """The record of the letters that a mail server has accepted."""

    async def is_sent(self, letter_id: str) -> bool:
        """Return whether a mail server has accepted that letter."""

    async def record_sent(self, letter_id: str, at: datetime) -> None:
        """Record that a mail server accepted the letter at `at`; a repetition changes nothing."""


def mailbox(text: str) -> Address:
    """Parse `Seatflow <no-reply@example.com>` or a bare address; the domain is IDN-encoded.

    Raises `ValueError`.
    """
    found = _MAILBOX.fullmatch(one_line(text))
    if not found:
        raise ValueError(
            f"{text!r} is not a mailbox; write one such as Seatflow <no-reply@example.com>"
        )
    address = validate_email(
        (found["boxed"] or found["bare"]).strip(),
        check_deliverability=False,
        # `localhost` is the default sender's domain.
        globally_deliverable=False,
    )
    return Address(
        display_name=(found["name"] or "").strip().strip('"'),
        username=address.local_part,
        domain=address.ascii_domain,
    )


@dataclass(frozen=True)
class SmtpMailer:
    """`Mailer` that sends each letter once (INV-4).

    When the server accepts a letter but its reply is lost, the letter is sent again with the same
    Message-ID, so that mailboxes can recognize the duplicate.
    """

    connections: SmtpConnections
    sender: Address
    sent_letters: SentLetters
    reply_to: Address | None = None
    """The address for replies to letters that name no person to reply to."""
    support_contact: str | None = None
    """The contact of the deployment that letters name."""
    operators: str | None = None
    """The operators' address, for letters that name no other contact."""
    public_url: str | None = None
    """The address of the portal, whose guides letters link."""
    letter_timeout: timedelta = timedelta(seconds=35)
    """Limit for the whole conversation about one letter, however fast each reply is.

    It ends before the activity's timeout does, so that the retry delay of INV-4 applies and not
    Temporal's.
    """

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        """Send once per `letter.id`; a repeated id is not sent again.

        `still_due` is called between RCPT and DATA, immediately before the letter is transmitted.
        Raises `Undeliverable` for a 5xx reply to RCPT or DATA, `NoLongerDue` when `still_due`
        returns False, `MailNotAccepted` for every other failure.
        """
        if await self.sent_letters.is_sent(letter.id):
            return
        message, recipient = self._message(letter), letter.reader.email
        unicode = not (self.sender.addr_spec + recipient).isascii()

        async def mail_from(client: SMTP) -> None:
            await self._mail_from(client, recipient, unicode=unicode)

        async with self._limited() as limit, self.connections.session(mail_from) as client:
            with smtp_step("RCPT TO", permanent=True):
                await client.rcpt(recipient, encoding="utf-8" if unicode else "ascii")
            # A slow server may have taken half a minute until here; the state may have changed.
            if still_due and not await still_due():
                raise NoLongerDue
            with smtp_step("DATA", permanent=True):
                await client.data(message)
            # The server has accepted the letter. A timeout from now on would send it twice.
            limit.reschedule(None)
            # Record it before any other command, whose failure would send the letter again.
            # A caller who does not wait longer cancels this; the record must not be lost by that.
            await _uncancelled(self.sent_letters.record_sent(letter.id, datetime.now(UTC)))

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[asyncio.Timeout]:
        seconds = self.letter_timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds) as limit:
                yield limit
        except TimeoutError:
            raise MailNotAccepted(f"no end of the conversation within {seconds:g} s") from None

    async def _mail_from(self, client: SMTP, recipient: str, *, unicode: bool) -> None:
        if unicode and not client.supports_extension("SMTPUTF8"):
            reason = "The mail server does not support SMTPUTF8: it accepts ASCII addresses only."
            # A recipient that cannot be reached is permanent; our own sender can be reconfigured.
            raise MailNotAccepted(reason) if recipient.isascii() else Undeliverable(reason)
        with smtp_step("MAIL FROM"):
            options = ["SMTPUTF8", "BODY=8BITMIME"] if unicode else []
            encoding = "utf-8" if unicode else "ascii"
            await client.mail(self.sender.addr_spec, options=options, encoding=encoding)

    def _message(self, letter: Letter) -> bytes:
        help = Help(
            support_contact=self.support_contact,
            reads_replies=self.reply_to is not None,
            operators=self.operators,
            public_url=self.public_url,
        )
        rendered = render_letter(letter, help)
        reply_to = self._reply_to(letter)
        headers = [
            address_field("From", self.sender),
            *([address_field("Reply-To", reply_to)] if reply_to else []),
            address_field("To", _address(letter.reader.email)),
            text_field("Subject", rendered.subject),
            f"Date: {format_datetime(datetime.now(UTC))}",
            # The same for each attempt, so that mailboxes can recognize a duplicate.
            f"Message-ID: <{letter.id}@{self.sender.domain}>",
            f"Seatflow-Event: {letter.event}",
            "Auto-Submitted: auto-generated",
            f"Content-Language: {rendered.language}",
            *_unsubscribe_fields(letter),
        ]
        return "".join(f"{header}\r\n" for header in headers).encode() + _body(rendered)

    def _reply_to(self, letter: Letter) -> Address | None:
        """Return the address for replies to the letter, if any."""
        if contact := letter.replies_to:
            return _address(contact.email, contact.name or "")
        return self.reply_to


def _unsubscribe_fields(letter: Letter) -> list[str]:
    """Return the header fields with which mail programs end reminders with one click (RFC 8058)."""
    if not isinstance(letter, ReminderLetter) or letter.unsubscribe_link is None:
        return []
    return [
        f"List-Unsubscribe: <{letter.unsubscribe_link}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    ]


def _address(email: str, name: str = "") -> Address:
    local, _, domain = email.rpartition("@")
    return Address(display_name=name, username=local, domain=domain)


def _body(rendered: RenderedLetter) -> bytes:
    """Return both bodies with the header fields of MIME, all ASCII."""
    body = EmailMessage(policy=CRLF_LINES)
    body.set_content(rendered.text, cte="quoted-printable")
    body.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    return body.as_bytes()


async def _uncancelled(step: Coroutine[None, None, None]) -> None:
    """Finish `step` before a cancellation takes effect."""
    running = asyncio.create_task(step)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise
