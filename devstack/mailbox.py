"""Mail server of the embedded stack, and the mailbox in which it stores every letter."""

import asyncio
import mailbox
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import AwareDatetime

from adapters.private_file import FILE_MODE, make_private_folder
from domain.error import ErrorCode, Refused
from domain.model import Value

BOUNCE_PREFIX = "bounce"
"""Prefix of addresses that are refused with a 5xx, to demonstrate bounces (INV-4)."""

MAILDIR = ("tmp", "new", "cur")
"""Subfolders of a Maildir."""

_URL = re.compile(r"https?://[^\s<>\"]+")


class StoredLetter(Value):
    """An entry of the mailbox."""

    number: int
    """Position from 1, oldest first; new letters do not change it."""
    at: AwareDatetime
    """Real time at which the mail server accepted it."""
    to: str
    subject: str
    event: str | None
    """Value of the header `Seatflow-Event`."""
    language: str | None


class OpenedLetter(StoredLetter):
    """A letter with its headers and bodies."""

    headers: dict[str, str]
    text: str
    html: str
    link: str | None
    """First link in the text."""


class Mailbox:
    """The letters in a Maildir folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def letters(self) -> list[StoredLetter]:
        """Return all letters, oldest first."""
        return [_as_stored(number, at, message) for number, at, message in self._numbered()]

    def open(self, number: int) -> OpenedLetter:
        """Return the letter with that number. Raises `Refused(not_found)`."""
        for found, at, message in self._numbered():
            if found == number:
                return _as_opened(number, at, message)
        raise Refused(
            ErrorCode.NOT_FOUND, f"No letter {number} in the mailbox; `mail list` shows all."
        )

    def newest(self, to: str | None = None) -> OpenedLetter:
        """Return the newest letter, or the newest to an address. Raises `Refused(not_found)`."""
        for number, at, message in reversed(list(self._numbered())):
            if to is None or to.casefold() == str(message["To"]).casefold():
                return _as_opened(number, at, message)
        raise Refused(ErrorCode.NOT_FOUND, f"The mailbox has no letter{f' to {to}' if to else ''}.")

    def _numbered(self) -> Iterator[tuple[int, datetime, EmailMessage]]:
        if not all((self._folder / part).is_dir() for part in MAILDIR):
            return
        maildir = mailbox.Maildir(self._folder)
        dated = sorted((maildir.get_message(key).get_date(), key) for key in maildir.iterkeys())
        for number, (seconds, key) in enumerate(dated, start=1):
            message = BytesParser(EmailMessage, policy=modern).parsebytes(maildir.get_bytes(key))
            yield number, datetime.fromtimestamp(seconds, UTC), message


class MailSink:
    """SMTP server in this process's event loop, which stores letters in `folder`.

    It refuses addresses that begin with `bounce` and forwards nothing.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        for part in MAILDIR:
            make_private_folder(folder / part)
        self._folder = folder
        self._maildir = mailbox.Maildir(folder)
        self._host = host
        self._requested_port = port
        self._sessions: WeakSet[SMTP] = WeakSet()
        self._write_lock = asyncio.Lock()

    @property
    def port(self) -> int:
        """Return the port on which it listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self._host, self._requested_port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for session in self._sessions:
            if session.transport:
                session.transport.close()
        await self._server.wait_closed()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept every recipient except those that bounce."""
        if address.casefold().startswith(BOUNCE_PREFIX):
            return f"550 5.1.1 <{address}> is not known here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Store the letter on disk before replying 250."""
        content = envelope.original_content
        assert content is not None, "aiosmtpd calls this with the content"
        async with self._write_lock:
            await asyncio.to_thread(self._store, content)
        return "250 OK"

    def _store(self, content: bytes) -> None:
        message = mailbox.MaildirMessage(content)
        message.set_date(datetime.now(UTC).timestamp())
        key = self._maildir.add(message)
        (self._folder / message.get_subdir() / key).chmod(FILE_MODE)

    def _session(self) -> SMTP:
        session = SMTP(
            self,
            enable_SMTPUTF8=True,
            # By default aiosmtpd looks up this machine's name in the DNS, which can be slow.
            hostname="localhost",
            loop=asyncio.get_running_loop(),
        )
        self._sessions.add(session)
        return session


def _as_stored(number: int, at: datetime, message: EmailMessage) -> StoredLetter:
    return StoredLetter(
        number=number,
        at=at,
        to=message["To"] or "",
        subject=message["Subject"] or "",
        event=message["Seatflow-Event"],
        language=message["Content-Language"],
    )


def _as_opened(number: int, at: datetime, message: EmailMessage) -> OpenedLetter:
    text = _part(message, "plain")
    link = _URL.search(text)
    return OpenedLetter(
        **_as_stored(number, at, message).model_dump(),
        headers=dict(message.items()),
        text=text,
        html=_part(message, "html"),
        link=link[0].rstrip(".,;:!?)") if link else None,
    )


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return part.get_content() if part else ""
