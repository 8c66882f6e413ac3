"""Delivery of letters over SMTP (INV-4, TXT-1, TXT-3)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from activities.letter import Undeliverable
from adapters.smtp import SmtpMailer, mailbox
from adapters.smtp_connection import MailNotAccepted, SmtpConnections, SmtpServer
from domain.invitation import License
from domain.letter import Letter
from domain.letter.base import Contact, Reader
from domain.letter.invitation import InvitationLetter
from tests.builders.letter import (
    LANGUAGES,
    UNSUBSCRIBE,
    a_reader,
    a_reminder,
    an_unblocked,
    every_letter,
)
from tests.eventually import eventually
from tests.smtp_server import Answer, Misbehaviour, ScriptedSmtpServer

SILENT, HANG_UP = Misbehaviour.SILENT, Misbehaviour.HANG_UP
LONG, SHORT = timedelta(seconds=10), timedelta(seconds=1)
HEADERS = {
    "Auto-Submitted",
    "Content-Language",
    "Content-Type",
    "Date",
    "From",
    "MIME-Version",
    "Message-ID",
    "Seatflow-Event",
    "Subject",
    "To",
}


class KnownLetters:
    """A record of sent letters in memory, with the contract of the store."""

    def __init__(self) -> None:
        self.letters: dict[str, datetime] = {}

    async def is_sent(self, letter_id: str) -> bool:
        return letter_id in self.letters

    async def record_sent(self, letter_id: str, at: datetime) -> None:
        self.letters.setdefault(letter_id, at)


def a_letter(
    *,
    id: str = "invitation.1.abc",
    to: str = "ann@example.com",
    account: str = "Acme",
    contact: Contact | None = None,
) -> InvitationLetter:
    return InvitationLetter(
        id=id,
        reader=Reader(email=to, name="Ann"),
        account_name=account,
        inviter="Eve",
        license=License.BASIC,
        link="https://seatflow.example/i/token",
        expires_at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
        contact=contact,
    )


def a_mailer(
    url: str,
    *,
    sender: str = "Seatflow <no-reply@seatflow.example>",
    timeout: timedelta = LONG,
    idle_timeout: timedelta = timedelta(minutes=1),
    reply_to: str | None = None,
    support_contact: str | None = None,
) -> SmtpMailer:
    address = mailbox(sender)
    connections = SmtpConnections(
        SmtpServer.parse(url),
        local_hostname=address.domain,
        connect_timeout=timeout,
        reply_timeout=timeout,
        idle_timeout=idle_timeout,
    )
    return SmtpMailer(
        connections=connections,
        sender=address,
        sent_letters=KnownLetters(),
        reply_to=mailbox(reply_to) if reply_to else None,
        support_contact=support_contact,
    )


def with_login(server: ScriptedSmtpServer) -> str:
    return server.url.replace("//", "//us%40er:p%3Aass%2F@")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedSmtpServer]:
    async with ScriptedSmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def certificate_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a self-signed certificate for 127.0.0.1 and its key; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(identifier, False)
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


@pytest.fixture
def certificate(certificate_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file)
    return context


@pytest.fixture
def trusted(certificate_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_file))


async def test_a_letter_arrives_as_html_and_as_plain_text_with_its_headers(
    server: ScriptedSmtpServer,
) -> None:
    """TXT-1: headers name language and event, and no personal data beyond the address."""
    await a_mailer(server.url).send(a_letter())
    [letter] = server.received
    message = letter.message
    headers = dict(message.items())
    assert letter.sender == "no-reply@seatflow.example"
    assert letter.recipients == ("ann@example.com",)
    assert headers.pop("Date")
    assert headers.pop("Content-Type").startswith("multipart/alternative")
    assert headers == {
        "From": "Seatflow <no-reply@seatflow.example>",
        "To": "ann@example.com",
        "Subject": "You are invited to join Acme",
        "Message-ID": "<invitation.1.abc@seatflow.example>",
        "Content-Language": "en",
        "Seatflow-Event": "invitation",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
    }
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    for part in message.iter_parts():
        assert "https://seatflow.example/i/token" in part.get_content()
        assert "Ann" in part.get_content()


async def test_a_letter_is_sent_once(server: ScriptedSmtpServer) -> None:
    """INV-4: a repeated id is not sent again."""
    mailer = a_mailer(server.url)
    await mailer.send(a_letter())
    await mailer.send(a_letter())
    await mailer.send(a_letter(id="invitation.2.abc"))
    assert [letter.message["Message-ID"] for letter in server.received] == [
        "<invitation.1.abc@seatflow.example>",
        "<invitation.2.abc@seatflow.example>",
    ]


INVITER = Contact(email="eve@acme.example", name="Eva Müller")
REPLIES = "Acme Licenses <licenses@acme.example>"


@pytest.mark.parametrize(
    ("letter", "reply_to", "expected"),
    [
        (a_letter(contact=INVITER), REPLIES, "Eva Müller <eve@acme.example>"),
        (
            a_reminder(a_reader()).model_copy(update={"contact": INVITER}),
            REPLIES,
            "Eva Müller <eve@acme.example>",
        ),
        (a_letter(contact=INVITER), None, "Eva Müller <eve@acme.example>"),
        (a_letter(contact=Contact(email="ève@acme.example")), REPLIES, REPLIES),
        (an_unblocked(a_reader()).model_copy(update={"contact": INVITER}), REPLIES, REPLIES),
        (an_unblocked(a_reader()).model_copy(update={"contact": INVITER}), None, None),
    ],
)
async def test_a_reply_goes_to_the_inviter_or_to_the_deployment(
    server: ScriptedSmtpServer, letter: Letter, reply_to: str | None, expected: str | None
) -> None:
    """SEATFLOW_MAIL_REPLY_TO: replies to invitations and reminders go to the inviter."""
    await a_mailer(server.url, reply_to=reply_to).send(letter)
    [arrived] = server.received
    assert arrived.message["Reply-To"] == expected


async def test_a_letter_names_the_support_contact(server: ScriptedSmtpServer) -> None:
    """SEATFLOW_SUPPORT_CONTACT: in both bodies."""
    await a_mailer(server.url, support_contact="help@acme.example").send(a_letter())
    [letter] = server.received
    for part in letter.message.iter_parts():
        assert "Help with Seatflow: help@acme.example" in part.get_content()


async def test_a_reminder_can_be_ended_with_one_click(server: ScriptedSmtpServer) -> None:
    """RFC 8058: only reminders, by a link of their own."""
    await a_mailer(server.url).send(a_letter())
    await a_mailer(server.url).send(a_reminder(a_reader()))
    invitation, reminder = server.received
    assert invitation.message["List-Unsubscribe"] is None
    assert reminder.message["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    assert reminder.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    body = reminder.message.get_body(("plain",))
    assert body and f"Stop reminders about this invitation: {UNSUBSCRIBE}" in body.get_content()


async def test_a_letter_has_the_same_message_id_at_each_attempt(
    server: ScriptedSmtpServer,
) -> None:
    """INV-4: mailboxes recognize the duplicate when the record of the first was lost."""
    for _ in range(2):
        await a_mailer(server.url).send(a_letter())
    first, second = (letter.message["Message-ID"] for letter in server.received)
    assert first == second


@pytest.mark.parametrize("answer", ["500 what?", SILENT, HANG_UP])
async def test_a_failed_quit_does_not_send_the_letter_again(
    server: ScriptedSmtpServer, answer: Answer
) -> None:
    """INV-4: the letter was accepted before."""
    server.answers["QUIT"] = answer
    mailer = a_mailer(server.url, timeout=SHORT)
    await mailer.send(a_letter())
    await mailer.connections.aclose()
    await mailer.send(a_letter())
    assert len(server.received) == 1
    assert server.commands[-1] == "QUIT"


async def test_consecutive_letters_share_a_connection(server: ScriptedSmtpServer) -> None:
    """INV-4: one EHLO and one QUIT for three letters."""
    mailer = a_mailer(server.url)
    for number in range(3):
        await mailer.send(a_letter(id=f"invitation.{number}.abc"))
    await mailer.connections.aclose()
    assert server.commands == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3, "QUIT"]


async def test_concurrent_letters_use_separate_connections(server: ScriptedSmtpServer) -> None:
    """INV-4: an SMTP session transmits one letter at a time."""
    mailer = a_mailer(server.url)
    await asyncio.gather(*(mailer.send(a_letter(id=f"invitation.{n}.abc")) for n in range(3)))
    assert len(server.received) == 3
    assert server.commands.count("EHLO") == 3


async def test_an_idle_connection_is_closed(server: ScriptedSmtpServer) -> None:
    """INV-4: the next letter opens a new one."""
    mailer = a_mailer(server.url, idle_timeout=timedelta())
    await mailer.send(a_letter())
    await eventually(lambda: server.commands[-1] == "QUIT")
    await mailer.send(a_letter(id="invitation.2.abc"))
    assert server.commands.count("EHLO") == 2


@pytest.mark.parametrize("answer", ["421 that was enough", "503 what?", SILENT, HANG_UP])
async def test_an_unusable_idle_connection_is_replaced(
    server: ScriptedSmtpServer, answer: Answer
) -> None:
    """INV-4: no retry is needed because a server limits letters per connection or closes it."""
    mailer = a_mailer(server.url, timeout=SHORT)
    await mailer.send(a_letter())
    server.answer_once["MAIL"] = answer
    await mailer.send(a_letter(id="invitation.2.abc"))
    assert len(server.received) == 2
    assert server.commands.count("EHLO") == 2


async def test_a_refused_recipient_does_not_affect_the_next_letter(
    server: ScriptedSmtpServer,
) -> None:
    """INV-4: the next letter starts a new SMTP transaction."""
    mailer = a_mailer(server.url)
    await mailer.send(a_letter())
    server.unknown.add("bo@example.com")
    with pytest.raises(Undeliverable):
        await mailer.send(a_letter(id="invitation.2.abc", to="bo@example.com"))
    await mailer.send(a_letter(id="invitation.3.abc"))
    assert [letter.recipients for letter in server.received] == [("ann@example.com",)] * 2


async def test_a_restarted_server_gets_the_next_letter() -> None:
    """INV-4: the idle connection to the stopped server is replaced."""
    async with ScriptedSmtpServer() as server:
        port = server.port
        mailer = a_mailer(server.url)
        await mailer.send(a_letter())
    async with ScriptedSmtpServer(wanted_port=port) as server:
        await mailer.send(a_letter(id="invitation.2.abc"))
    assert len(server.received) == 1


@pytest.mark.parametrize("step", ["RCPT", "DATA", "CONTENT"])
@pytest.mark.parametrize("code", [500, 550, 554, 599])
async def test_a_5xx_to_recipient_or_content_is_permanent(
    server: ScriptedSmtpServer, step: str, code: int
) -> None:
    """INV-4: the error has the server's reply, with addresses masked."""
    server.answers[step] = f"{code} <ann@example.com> is not known here"
    with pytest.raises(Undeliverable) as refused:
        await a_mailer(server.url).send(a_letter())
    assert str(refused.value) == f"{code} <a…@example.com> is not known here"


@pytest.mark.parametrize(
    ("step", "named", "answer"),
    [
        ("CONNECT", "connecting", "554 go away"),
        ("CONNECT", "connecting", "421 later"),
        ("EHLO", "EHLO", "550 who?"),
        ("EHLO", "EHLO", "421 later"),
        ("MAIL", "MAIL FROM", "550 not you"),
        ("MAIL", "MAIL FROM", "451 later"),
        ("RCPT", "RCPT TO", "450 greylisted"),
        ("RCPT", "RCPT TO", "421 later"),
        ("DATA", "DATA", "451 later"),
        ("DATA", "DATA", "gibberish"),
        ("CONTENT", "DATA", "452 full"),
        *((step, "", no) for no in (SILENT, HANG_UP) for step in ("CONNECT", "EHLO", "MAIL")),
        *((step, "", no) for no in (SILENT, HANG_UP) for step in ("RCPT", "DATA", "CONTENT")),
    ],
)
async def test_every_other_failure_is_temporary_and_names_the_step(
    server: ScriptedSmtpServer, step: str, named: str, answer: Answer
) -> None:
    """INV-4: 4xx, no reply, and a 5xx that is a fault on our side."""
    server.answers[step] = answer
    mailer = a_mailer(server.url, timeout=SHORT)
    with pytest.raises(MailNotAccepted, match=f"^{named}"):
        await mailer.send(a_letter())
    server.answers.clear()
    await mailer.send(a_letter())
    assert len(server.received) == 1


@pytest.mark.parametrize("answer", ["554 no TLS today", "454 later", SILENT, HANG_UP])
async def test_a_failed_starttls_is_temporary(certificate: ssl.SSLContext, answer: Answer) -> None:
    """INV-4: a fault on our side."""
    async with ScriptedSmtpServer(certificate=certificate) as server:
        server.answers["STARTTLS"] = answer
        with pytest.raises(MailNotAccepted, match=r"^STARTTLS"):
            await a_mailer(server.url, timeout=SHORT).send(a_letter())


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("answer", ["535 wrong", "454 later", SILENT, HANG_UP])
async def test_a_failed_login_is_temporary(certificate: ssl.SSLContext, answer: Answer) -> None:
    """INV-4: a fault on our side; the error does not contain the password."""
    async with ScriptedSmtpServer(certificate=certificate) as server:
        server.answers["AUTH"] = answer
        with pytest.raises(MailNotAccepted, match=r"^AUTH") as failure:
            await a_mailer(with_login(server), timeout=SHORT).send(a_letter())
    assert "p:ass/" not in str(failure.value)


async def test_an_unreachable_server_is_temporary() -> None:
    """INV-4: no connection."""
    async with ScriptedSmtpServer() as server:
        url = server.url
    with pytest.raises(MailNotAccepted, match=r"^connecting"):
        await a_mailer(url).send(a_letter())


async def test_a_conversation_that_takes_too_long_is_temporary(
    server: ScriptedSmtpServer,
) -> None:
    """INV-4: the limit is the mailer's, so that its retry delays apply and not Temporal's."""
    server.answers["RCPT"] = SILENT
    mailer = replace(a_mailer(server.url), letter_timeout=timedelta(seconds=0.3))
    with pytest.raises(MailNotAccepted, match=r"no end of the conversation within 0\.3 s"):
        await mailer.send(a_letter())


async def test_a_cancelled_delivery_does_not_wait_for_quit(server: ScriptedSmtpServer) -> None:
    """INV-4: a worker that stops has no time for a silent server."""
    server.answers |= {"RCPT": SILENT, "QUIT": SILENT}
    mailer = a_mailer(server.url, timeout=timedelta(minutes=1))
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await mailer.send(a_letter())
    assert "QUIT" not in server.commands


async def test_an_accepted_letter_is_recorded_though_its_delivery_is_cancelled(
    server: ScriptedSmtpServer,
) -> None:
    """INV-4: without the record it would be sent again."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    class SlowRecord(KnownLetters):
        async def record_sent(self, letter_id: str, at: datetime) -> None:
            begun.set()
            await go_on.wait()
            await super().record_sent(letter_id, at)

    mailer = replace(a_mailer(server.url), sent_letters=SlowRecord())
    sending = asyncio.create_task(mailer.send(a_letter()))
    await begun.wait()
    sending.cancel()
    asyncio.get_running_loop().call_later(0.1, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await sending
    await mailer.send(a_letter())
    assert len(server.received) == 1


async def test_a_reply_that_is_not_utf_8_can_be_stored() -> None:
    """INV-4: the journal holds the reply."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 M\xfcll\tab \xff\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(MailNotAccepted) as failure:
            await a_mailer(f"smtp://127.0.0.1:{port}").send(a_letter())
    assert str(failure.value) == "connecting: 554 M?ll ab ?"


@pytest.mark.usefixtures("trusted")
async def test_a_password_is_sent_after_starttls_only(certificate: ssl.SSLContext) -> None:
    """SEATFLOW_SMTP_URL: a password requires STARTTLS."""
    async with ScriptedSmtpServer(certificate=certificate) as server:
        await a_mailer(with_login(server)).send(a_letter())
    assert server.logins == [("us@er", "p:ass/")]
    assert server.commands.index("STARTTLS") < server.commands.index("AUTH")
    assert [letter.encrypted for letter in server.received] == [True]


async def test_a_password_is_not_sent_in_clear_text(server: ScriptedSmtpServer) -> None:
    """SEATFLOW_SMTP_URL: without STARTTLS there is no login."""
    with pytest.raises(MailNotAccepted, match=r"^STARTTLS"):
        await a_mailer(with_login(server)).send(a_letter())
    assert "AUTH" not in server.commands


async def test_a_password_is_not_sent_to_a_server_with_an_untrusted_certificate(
    certificate: ssl.SSLContext,
) -> None:
    """SEATFLOW_SMTP_URL: a password requires a valid certificate."""
    async with ScriptedSmtpServer(certificate=certificate) as server:
        with pytest.raises(MailNotAccepted, match=r"^STARTTLS"):
            await a_mailer(with_login(server)).send(a_letter())
    assert server.logins == []


async def test_without_a_password_any_certificate_is_accepted(
    certificate: ssl.SSLContext,
) -> None:
    """SEATFLOW_SMTP_URL: the alternative would be clear text."""
    async with ScriptedSmtpServer(certificate=certificate) as server:
        await a_mailer(server.url).send(a_letter())
    assert [letter.encrypted for letter in server.received] == [True]


@pytest.mark.usefixtures("trusted")
async def test_smtps_uses_implicit_tls(certificate: ssl.SSLContext) -> None:
    """SEATFLOW_SMTP_URL: `smtps://` never sends clear text."""
    async with ScriptedSmtpServer(certificate=certificate, tls_from_the_start=True) as server:
        await a_mailer(with_login(server).replace("smtp:", "smtps:")).send(a_letter())
    assert server.logins == [("us@er", "p:ass/")]
    assert [letter.encrypted for letter in server.received] == [True]


async def test_smtps_requires_a_trusted_certificate(
    certificate: ssl.SSLContext,
) -> None:
    """SEATFLOW_SMTP_URL: `smtps://` verifies the certificate also without a password."""
    async with ScriptedSmtpServer(certificate=certificate, tls_from_the_start=True) as server:
        with pytest.raises(MailNotAccepted, match=r"^connecting"):
            await a_mailer(server.url.replace("smtp:", "smtps:")).send(a_letter())
    assert server.received == []


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("A\r\nBcc: x@y.example", "A Bcc: x@y.example"),
        ("A\x00\x0b\x85\u2028B", "A B"),
        ("=?utf-8?q?A=0D=0ABcc:_x=40y.example?=", "=?utf-8?q?A=0D=0ABcc:_x=40y.example?="),
        ("Müller, Söhne & Co. <x@y.example>; 日本", "Müller, Söhne & Co. <x@y.example>; 日本"),
        ("Long " * 60 + "name", "Long " * 60 + "name"),
    ],
)
async def test_a_name_stays_in_its_header(
    server: ScriptedSmtpServer, name: str, subject: str
) -> None:
    """TXT-3: any character; control characters become one space."""
    await a_mailer(server.url, sender=f'"{name[:5]}" <no-reply@seatflow.example>').send(
        a_letter(account=name)
    )
    [letter] = server.received
    assert letter.message["Subject"] == f"You are invited to join {subject}"
    assert letter.message["Bcc"] is None
    assert letter.recipients == ("ann@example.com",)
    assert letter.message["From"].addresses[0].addr_spec == "no-reply@seatflow.example"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_letter_names_its_event_and_no_name_adds_a_header(
    server: ScriptedSmtpServer, language: str
) -> None:
    """TXT-1, TXT-3: for every event and language."""
    letters = every_letter(a_reader(language))
    for letter in letters:
        odd = {"account_name": "A\r\nBcc: x@y.example\r\n\r\n"}
        await a_mailer(server.url).send(letter.model_validate(letter.model_dump() | odd))
    assert [arrived.message["Seatflow-Event"] for arrived in server.received] == [
        letter.event for letter in letters
    ]
    for arrived in server.received:
        fields = set(arrived.message.keys()) - {"List-Unsubscribe", "List-Unsubscribe-Post"}
        assert fields == HEADERS
        assert arrived.message["Content-Language"] == language
        assert arrived.message["Bcc"] is None
        assert arrived.recipients == ("ann@example.com",)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("Seatflow <no-reply@localhost>", "Seatflow", "no-reply@localhost"),
        ("no-reply@localhost", "", "no-reply@localhost"),
        ('"Seats, flowing" <a@b.example>', "Seats, flowing", "a@b.example"),
        ("A\r\nBcc: x@y.example <a@b.example>", "A Bcc: x@y.example", "a@b.example"),
        ("=?utf-8?q?A=0D=0AB?= <a@b.example>", "=?utf-8?q?A=0D=0AB?=", "a@b.example"),
        ("Bücher <post@bücher.example>", "Bücher", "post@xn--bcher-kva.example"),
    ],
)
def test_a_sender_is_a_name_and_an_address(text: str, name: str, address: str) -> None:
    """SEATFLOW_MAIL_FROM: a display name is optional; control characters are removed."""
    sender = mailbox(text)
    assert (sender.display_name, sender.addr_spec) == (name, address)


@pytest.mark.parametrize("text", ["", "Seatflow", "a@b.example, c@d.example", "A <a@b> <c@d>"])
def test_an_invalid_sender_is_refused(text: str) -> None:
    """SEATFLOW_MAIL_FROM: one address and no list."""
    with pytest.raises(ValueError):
        mailbox(text)


async def test_a_sender_may_have_any_name(server: ScriptedSmtpServer) -> None:
    """TXT-3: its name cannot add a header."""
    sender = "Bü\r\nBcc: x@y.example, =?utf-8?q?A=0D=0AB?= <post@bücher.example>"
    await a_mailer(server.url, sender=sender).send(a_letter())
    [letter] = server.received
    assert letter.sender == "post@xn--bcher-kva.example"
    assert letter.message["Bcc"] is None
    assert letter.message["Message-ID"] == "<invitation.1.abc@xn--bcher-kva.example>"
    [author] = letter.message["From"].addresses
    assert author.display_name == "Bü Bcc: x@y.example, =?utf-8?q?A=0D=0AB?="


async def test_an_international_address_is_reached_with_smtputf8(
    server: ScriptedSmtpServer,
) -> None:
    """INV-3: non-ASCII local parts are valid addresses."""
    await a_mailer(server.url).send(a_letter(to="jürgen@xn--bcher-kva.example"))
    [letter] = server.received
    assert letter.recipients == ("jürgen@xn--bcher-kva.example",)
    assert letter.message["To"] == "jürgen@xn--bcher-kva.example"


async def test_an_international_recipient_is_undeliverable_without_smtputf8() -> None:
    """INV-4: a permanent failure."""
    async with ScriptedSmtpServer(smtputf8=False) as server:
        with pytest.raises(Undeliverable, match="SMTPUTF8"):
            await a_mailer(server.url).send(a_letter(to="jürgen@example.com"))


async def test_an_international_sender_is_a_temporary_failure_without_smtputf8() -> None:
    """INV-4: a fault on our side."""
    async with ScriptedSmtpServer(smtputf8=False) as server:
        with pytest.raises(MailNotAccepted, match="SMTPUTF8"):
            await a_mailer(server.url, sender="jürgen@example.com").send(a_letter())


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://localhost:1025", SmtpServer("localhost", 1025)),
        ("smtp://mail.example", SmtpServer("mail.example", 25)),
        ("smtps://mail.example", SmtpServer("mail.example", 465, tls=True)),
        ("smtp://[::1]:1025/", SmtpServer("::1", 1025)),
        (
            "smtp://a%40b:c%3Ad%2Fe@mail.example:587",
            SmtpServer("mail.example", 587, user="a@b", password="c:d/e"),
        ),
    ],
)
def test_a_url_names_the_server(url: str, server: SmtpServer) -> None:
    """SEATFLOW_SMTP_URL: host, optional port and credentials."""
    assert SmtpServer.parse(url) == server


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:1025", "begin the URL with smtp://"),
        ("http://localhost:1025", "begin the URL with smtp://"),
        ("smtp://", "name a host"),
        ("smtp://:1025", "name a host"),
        ("smtp://localhost:port", "a host and a port"),
        ("smtp://localhost:70000", "a host and a port"),
        ("smtp://[::1", "a host and a port"),
        ("smtp://localhost:25/path", "a host and a port"),
        ("smtp://localhost:25?tls=1", "a host and a port"),
        ("smtp://user@localhost:25", "both user and password"),
        ("smtp://:secret@localhost:25", "both user and password"),
        ("smtp://user:secret@local℀host:25", "a host and a port"),
    ],
)
def test_an_invalid_url_is_refused_without_showing_the_password(url: str, reason: str) -> None:
    """SEATFLOW_SMTP_URL: the error never contains the password."""
    with pytest.raises(ValueError, match=reason) as refused:
        SmtpServer.parse(url)
    assert "secret" not in str(refused.value)


def test_the_representation_of_a_server_hides_the_password() -> None:
    """SEATFLOW_SMTP_URL: logs may contain it."""
    assert "secret" not in repr(SmtpServer.parse("smtp://user:secret@localhost:25"))
