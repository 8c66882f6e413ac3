"""The embedded stack's mail server: takes every letter and keeps it to be looked at."""

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

from domain.error import ErrorCode, Refused
from domain.model import Value

BOUNCING = "bounce"
"""Addresses that begin so are refused for good, to show what then happens (INV-4)."""

MAILDIR = ("tmp", "new", "cur")
"""The folders of a Maildir."""

_URL = re.compile(r"https?://[^\s<>\"]+")


class StoredLetter(Value):
    """One line of the mailbox."""

    number: int
    """From 1, the oldest; it stays when more arrive."""
    at: AwareDatetime
    """When the mail server took it, in real time."""
    to: str
    subject: str
    event: str | None
    """Its `Seatflow-Event`."""
    language: str | None


class OpenedLetter(StoredLetter):
    """A letter with what is in it."""

    headers: dict[str, str]
    text: str
    html: str
    link: str | None
    """The first link in the text."""


class Mailbox:
    """The letters kept in a Maildir folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def letters(self) -> list[StoredLetter]:
        """All letters, the oldest first."""
        return [_listed(number, at, message) for number, at, message in self._numbered()]

    def open(self, number: int) -> OpenedLetter:
        """The letter of that number. Raises `Refused(not_found)`."""
        for found, at, message in self._numbered():
            if found == number:
                return _opened(number, at, message)
        raise Refused(ErrorCode.NOT_FOUND, f"There is no letter {number} in the mailbox.")

    def _numbered(self) -> Iterator[tuple[int, datetime, EmailMessage]]:
        if not all((self._folder / part).is_dir() for part in MAILDIR):
            return
        kept = mailbox.Maildir(self._folder)
        dated = sorted((kept.get_message(key).get_date(), key) for key in kept.iterkeys())
        for number, (seconds, key) in enumerate(dated, start=1):
            message = BytesParser(EmailMessage, policy=modern).parsebytes(kept.get_bytes(key))
            yield number, datetime.fromtimestamp(seconds, UTC), message


class MailSink:
    """A mail server in this process's event loop, which keeps what it takes in `folder`.

    Refuses addresses that begin with `bounce`, and delivers nothing to anybody.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        for part in MAILDIR:
            (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._kept = mailbox.Maildir(folder)
        self._host = host
        self._wanted_port = port
        self._sessions: WeakSet[SMTP] = WeakSet()
        self._one_at_a_time = asyncio.Lock()

    @property
    def port(self) -> int:
        """Where it listens; a free port when 0 was asked for."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self._host, self._wanted_port)
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
        """Take every recipient but those that bounce."""
        if address.casefold().startswith(BOUNCING):
            return f"550 5.1.1 <{address}> is not known here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the letter; what was answered with 250 is on the disk."""
        content = envelope.original_content
        assert content is not None, "the session calls this with the content"
        async with self._one_at_a_time:
            await asyncio.to_thread(self._keep, content)
        return "250 OK"

    def _keep(self, content: bytes) -> None:
        message = mailbox.MaildirMessage(content)
        message.set_date(datetime.now(UTC).timestamp())
        self._kept.add(message)

    def _session(self) -> SMTP:
        session = SMTP(
            self,
            enable_SMTPUTF8=True,
            # Else it asks the DNS for the name of this machine.
            hostname="localhost",
            loop=asyncio.get_running_loop(),
        )
        self._sessions.add(session)
        return session


def _listed(number: int, at: datetime, message: EmailMessage) -> StoredLetter:
    return StoredLetter(
        number=number,
        at=at,
        to=message["To"] or "",
        subject=message["Subject"] or "",
        event=message["Seatflow-Event"],
        language=message["Content-Language"],
    )


def _opened(number: int, at: datetime, message: EmailMessage) -> OpenedLetter:
    text = _part(message, "plain")
    link = _URL.search(text)
    return OpenedLetter(
        **_listed(number, at, message).model_dump(),
        headers=dict(message.items()),
        text=text,
        html=_part(message, "html"),
        link=link[0].rstrip(".,;:!?)") if link else None,
    )


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return part.get_content() if part else ""
