"""A real mail server with scripted answers."""

import asyncio
import ssl
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.eventually import eventually


class Misbehaviour(Enum):
    """A fault of the server instead of an answer."""

    SILENT = "silent"
    HANG_UP = "hang up"
    HESITATE = "hesitate"
    """Answers after `go_on()`."""


Answer = str | Misbehaviour
"""The line that the server answers, such as `550 no such user`, or a misbehaviour."""


@dataclass(frozen=True)
class ReceivedLetter:
    """A letter as received over the wire."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        """Return the parsed letter."""
        return message_from_bytes(self.content, EmailMessage, policy=modern)


@dataclass
class ScriptedSmtpServer:
    """A server that accepts every letter, except at the steps in `answers`.

    The steps are `CONNECT`, the commands (`EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`,
    `DATA`, `QUIT`, …) and `CONTENT`, the end of the letter itself.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    answer_once: dict[str, Answer] = field(default_factory=dict)
    """Answers that are given once."""
    unknown: set[str] = field(default_factory=set)
    """Recipients who get `550 … no such user` in answer to RCPT."""
    full: set[str] = field(default_factory=set)
    """Recipients who get `452 … mailbox full` in answer to RCPT."""
    slow: set[str] = field(default_factory=set)
    """Recipients for whom RCPT is answered after `go_on()`."""
    smtputf8: bool = True
    certificate: ssl.SSLContext | None = None
    """With a certificate the server offers STARTTLS, and AUTH after it."""
    tls_from_the_start: bool = False
    received: list[ReceivedLetter] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    """Commands of all clients, in order."""
    logins: list[tuple[str, str]] = field(default_factory=list)
    """User and password of each login."""
    hesitation: asyncio.Event = field(default_factory=asyncio.Event)
    wanted_port: int = 0
    """The port to listen on; 0 selects a free one."""

    @property
    def port(self) -> int:
        """Return the port on 127.0.0.1."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Return the `SEATFLOW_SMTP_URL` of the server."""
        return f"smtp://127.0.0.1:{self.port}"

    async def hesitates_at(self, step: str) -> None:
        """Wait until a client has sent `step` and waits for the answer."""
        await eventually(lambda: self.commands[-1:] == [step])

    def go_on(self) -> None:
        """Answer the waiting clients, and do not hesitate again."""
        self.answers = {
            step: answer
            for step, answer in self.answers.items()
            if answer is not Misbehaviour.HESITATE
        }
        self.hesitation.set()

    async def __aenter__(self) -> Self:
        self._sessions: list[_Session] = []
        self._server = await asyncio.get_running_loop().create_server(
            self._session,
            "127.0.0.1",
            self.wanted_port,
            ssl=self.certificate if self.tls_from_the_start else None,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for session in self._sessions:
            session.hang_up()
        await self._server.wait_closed()

    def _session(self) -> "_Session":
        session = _Session(self)
        self._sessions.append(session)
        return session

    def log_in(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        mechanism: str,
        login: LoginPassword,
    ) -> AuthResult:
        """Accept every user and password."""
        self.logins.append((login.login.decode(), login.password.decode()))
        return AuthResult(success=True)


class _Session(SMTP):
    def __init__(self, script: ScriptedSmtpServer) -> None:
        self._script = script
        super().__init__(
            self,
            enable_SMTPUTF8=script.smtputf8,
            hostname="localhost",
            tls_context=None if script.tls_from_the_start else script.certificate,
            auth_require_tls=not script.tls_from_the_start,
            auth_exclude_mechanism=["LOGIN"],
            authenticator=script.log_in,
            loop=asyncio.get_running_loop(),
        )
        self._smtp_methods = {
            command: partial(self._run_command, command, method)
            for command, method in self._smtp_methods.items()
        }

    def hang_up(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = await self._scripted_answer("CONTENT")
        if answer:
            return answer
        self._script.received.append(
            ReceivedLetter(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.original_content or b"",
                encrypted=session.ssl is not None or self._script.tls_from_the_start,
            )
        )
        return "250 OK"

    async def _handle_client(self) -> None:
        answer = await self._scripted_answer("CONNECT")
        if answer:
            await self.push(answer)
        else:
            await super()._handle_client()

    async def _run_command(self, command: str, method: Any, argument: str | None) -> None:
        self._script.commands.append(command)
        answer = await self._scripted_answer(command) or self._recipient_answer(
            command, argument or ""
        )
        if self._names(self._script.slow, command, argument or ""):
            await self._script.hesitation.wait()
        if answer:
            await self.push(answer)
        else:
            await method(argument)

    def _recipient_answer(self, command: str, argument: str) -> str | None:
        if recipient := self._names(self._script.unknown, command, argument):
            return f"550 5.1.1 <{recipient}>: no such user"
        if self._names(self._script.full, command, argument):
            return "452 4.2.2 mailbox full"
        return None

    def _names(self, recipients: set[str], command: str, argument: str) -> str | None:
        """Return the one of `recipients` that RCPT names, if any."""
        named = (each for each in recipients if command == "RCPT" and f"<{each}>" in argument)
        return next(named, None)

    async def _scripted_answer(self, step: str) -> str | None:
        """Return the scripted answer, if any; a misbehaviour waits for the connection to end."""
        answer = self._script.answer_once.pop(step, None) or self._script.answers.get(step)
        if not isinstance(answer, Misbehaviour):
            return answer
        if answer is Misbehaviour.HESITATE:
            await self._script.hesitation.wait()
            return None
        if answer is Misbehaviour.HANG_UP:
            self.hang_up()
        return await asyncio.Future()
