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
from domain.letter.base import Reader
from domain.letter.invitation import InvitationLetter
from tests.adapters.test_letter import LANGUAGES, a_reader, every_letter
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
    """Remembers letters as the store does, until the process ends."""

    def __init__(self) -> None:
        self.letters: dict[str, datetime] = {}

    async def taken(self, letter_id: str) -> bool:
        return letter_id in self.letters

    async def remember(self, letter_id: str, at: datetime) -> None:
        self.letters.setdefault(letter_id, at)


def a_letter(
    *, id: str = "invitation.1.abc", to: str = "ann@example.com", account: str = "Acme"
) -> InvitationLetter:
    return InvitationLetter(
        id=id,
        reader=Reader(email=to, name="Ann"),
        account_name=account,
        inviter="Eve",
        license=License.BASIC,
        link="https://seatflow.example/i/token",
        expires_at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
    )


def a_mailer(
    url: str,
    *,
    sender: str = "Seatflow <no-reply@seatflow.example>",
    timeout: timedelta = LONG,
    idle_timeout: timedelta = timedelta(minutes=1),
) -> SmtpMailer:
    address = mailbox(sender)
    connections = SmtpConnections(
        SmtpServer.parse(url),
        local_hostname=address.domain,
        connect_timeout=timeout,
        reply_timeout=timeout,
        idle_timeout=idle_timeout,
    )
    return SmtpMailer(connections=connections, sender=address, sent_letters=KnownLetters())


def with_login(server: ScriptedSmtpServer) -> str:
    return server.url.replace("//", "//us%40er:p%3Aass%2F@")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedSmtpServer]:
    async with ScriptedSmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def certificate_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody but itself vouches for, with its key."""
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
    """TXT-1: language and event in headers, and no personal data beyond the address."""
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
    mailer = a_mailer(server.url)
    await mailer.send(a_letter())
    await mailer.send(a_letter())
    await mailer.send(a_letter(id="invitation.2.abc"))
    assert [letter.message["Message-ID"] for letter in server.received] == [
        "<invitation.1.abc@seatflow.example>",
        "<invitation.2.abc@seatflow.example>",
    ]


@pytest.mark.parametrize("answer", ["500 what?", SILENT, HANG_UP])
async def test_a_server_that_ends_badly_has_taken_the_letter_all_the_same(
    server: ScriptedSmtpServer, answer: Answer
) -> None:
    server.answers["QUIT"] = answer
    mailer = a_mailer(server.url, timeout=SHORT)
    await mailer.send(a_letter())
    await mailer.connections.aclose()
    await mailer.send(a_letter())
    assert len(server.received) == 1
    assert server.commands[-1] == "QUIT"


async def test_many_letters_share_a_connection(server: ScriptedSmtpServer) -> None:
    mailer = a_mailer(server.url)
    for number in range(3):
        await mailer.send(a_letter(id=f"invitation.{number}.abc"))
    await mailer.connections.aclose()
    assert server.commands == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3, "QUIT"]


async def test_letters_at_the_same_time_do_not_share_one(server: ScriptedSmtpServer) -> None:
    mailer = a_mailer(server.url)
    await asyncio.gather(*(mailer.send(a_letter(id=f"invitation.{n}.abc")) for n in range(3)))
    assert len(server.received) == 3
    assert server.commands.count("EHLO") == 3


async def test_a_connection_without_a_letter_is_left(server: ScriptedSmtpServer) -> None:
    mailer = a_mailer(server.url, idle_timeout=timedelta())
    await mailer.send(a_letter())
    while server.commands[-1] != "QUIT":
        await asyncio.sleep(0.01)
    await mailer.send(a_letter(id="invitation.2.abc"))
    assert server.commands.count("EHLO") == 2


@pytest.mark.parametrize("answer", ["421 that was enough", "503 what?", SILENT, HANG_UP])
async def test_a_kept_connection_that_has_become_useless_is_replaced(
    server: ScriptedSmtpServer, answer: Answer
) -> None:
    """Nothing has to be tried again later because a server counts letters or hangs up."""
    mailer = a_mailer(server.url, timeout=SHORT)
    await mailer.send(a_letter())
    server.answer_once["MAIL"] = answer
    await mailer.send(a_letter(id="invitation.2.abc"))
    assert len(server.received) == 2
    assert server.commands.count("EHLO") == 2


async def test_after_a_refusal_nothing_is_left_of_a_letter(server: ScriptedSmtpServer) -> None:
    mailer = a_mailer(server.url)
    await mailer.send(a_letter())
    server.unknown.add("bo@example.com")
    with pytest.raises(Undeliverable):
        await mailer.send(a_letter(id="invitation.2.abc", to="bo@example.com"))
    await mailer.send(a_letter(id="invitation.3.abc"))
    assert [letter.recipients for letter in server.received] == [("ann@example.com",)] * 2


async def test_a_server_that_was_away_gets_the_next_letter() -> None:
    async with ScriptedSmtpServer() as server:
        port = server.port
        mailer = a_mailer(server.url)
        await mailer.send(a_letter())
    async with ScriptedSmtpServer(wanted_port=port) as server:
        await mailer.send(a_letter(id="invitation.2.abc"))
    assert len(server.received) == 1


@pytest.mark.parametrize("step", ["RCPT", "DATA", "CONTENT"])
@pytest.mark.parametrize("code", [500, 550, 554, 599])
async def test_a_5xx_to_recipient_or_content_is_for_good(
    server: ScriptedSmtpServer, step: str, code: int
) -> None:
    """INV-4: the server's answer is told, with addresses masked."""
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
async def test_everything_else_is_tried_again_and_names_the_step(
    server: ScriptedSmtpServer, step: str, named: str, answer: Answer
) -> None:
    """INV-4: 4xx, no answer, and a 5xx that is our own fault."""
    server.answers[step] = answer
    mailer = a_mailer(server.url, timeout=SHORT)
    with pytest.raises(MailNotAccepted, match=f"^{named}"):
        await mailer.send(a_letter())
    server.answers.clear()
    await mailer.send(a_letter())
    assert len(server.received) == 1


@pytest.mark.parametrize("answer", ["554 no TLS today", "454 later", SILENT, HANG_UP])
async def test_a_failed_starttls_is_tried_again(
    certificate: ssl.SSLContext, answer: Answer
) -> None:
    async with ScriptedSmtpServer(certificate=certificate) as server:
        server.answers["STARTTLS"] = answer
        with pytest.raises(MailNotAccepted, match=r"^STARTTLS"):
            await a_mailer(server.url, timeout=SHORT).send(a_letter())


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("answer", ["535 wrong", "454 later", SILENT, HANG_UP])
async def test_a_failed_login_is_tried_again(certificate: ssl.SSLContext, answer: Answer) -> None:
    async with ScriptedSmtpServer(certificate=certificate) as server:
        server.answers["AUTH"] = answer
        with pytest.raises(MailNotAccepted, match=r"^AUTH") as failure:
            await a_mailer(with_login(server), timeout=SHORT).send(a_letter())
    assert "p:ass/" not in str(failure.value)


async def test_a_server_that_is_down_is_tried_again() -> None:
    async with ScriptedSmtpServer() as server:
        url = server.url
    with pytest.raises(MailNotAccepted, match=r"^connecting"):
        await a_mailer(url).send(a_letter())


async def test_a_server_that_takes_too_long_over_all_of_a_letter_is_tried_again(
    server: ScriptedSmtpServer,
) -> None:
    """INV-4: our own limit, so that the pauses are ours too and not Temporal's."""
    server.answers["RCPT"] = SILENT
    mailer = replace(a_mailer(server.url), letter_timeout=timedelta(seconds=0.3))
    with pytest.raises(MailNotAccepted, match=r"no end of the conversation within 0\.3 s"):
        await mailer.send(a_letter())


async def test_whoever_gives_up_does_not_wait_for_a_goodbye(server: ScriptedSmtpServer) -> None:
    server.answers |= {"RCPT": SILENT, "QUIT": SILENT}
    mailer = a_mailer(server.url, timeout=timedelta(minutes=1))
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await mailer.send(a_letter())
    assert "QUIT" not in server.commands


async def test_an_answer_in_no_encoding_at_all_can_be_kept() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 M\xfcll\tab \xff\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(MailNotAccepted) as failure:
            await a_mailer(f"smtp://127.0.0.1:{port}").send(a_letter())
    assert str(failure.value) == "connecting: 554 M?ll ab ?"


@pytest.mark.usefixtures("trusted")
async def test_a_password_is_told_only_behind_starttls(certificate: ssl.SSLContext) -> None:
    async with ScriptedSmtpServer(certificate=certificate) as server:
        await a_mailer(with_login(server)).send(a_letter())
    assert server.logins == [("us@er", "p:ass/")]
    assert server.commands.index("STARTTLS") < server.commands.index("AUTH")
    assert [letter.encrypted for letter in server.received] == [True]


async def test_a_password_is_never_told_in_clear_text(server: ScriptedSmtpServer) -> None:
    with pytest.raises(MailNotAccepted, match=r"^STARTTLS"):
        await a_mailer(with_login(server)).send(a_letter())
    assert "AUTH" not in server.commands


async def test_a_password_is_never_told_to_a_server_that_nobody_vouches_for(
    certificate: ssl.SSLContext,
) -> None:
    async with ScriptedSmtpServer(certificate=certificate) as server:
        with pytest.raises(MailNotAccepted, match=r"^STARTTLS"):
            await a_mailer(with_login(server)).send(a_letter())
    assert server.logins == []


async def test_without_a_password_any_certificate_is_better_than_clear_text(
    certificate: ssl.SSLContext,
) -> None:
    async with ScriptedSmtpServer(certificate=certificate) as server:
        await a_mailer(server.url).send(a_letter())
    assert [letter.encrypted for letter in server.received] == [True]


@pytest.mark.usefixtures("trusted")
async def test_smtps_is_encrypted_from_the_first_byte(certificate: ssl.SSLContext) -> None:
    async with ScriptedSmtpServer(certificate=certificate, tls_from_the_start=True) as server:
        await a_mailer(with_login(server).replace("smtp:", "smtps:")).send(a_letter())
    assert server.logins == [("us@er", "p:ass/")]
    assert [letter.encrypted for letter in server.received] == [True]


async def test_smtps_wants_a_certificate_that_somebody_vouches_for(
    certificate: ssl.SSLContext,
) -> None:
    async with ScriptedSmtpServer(certificate=certificate, tls_from_the_start=True) as server:
        with pytest.raises(MailNotAccepted, match=r"^connecting"):
            await a_mailer(server.url.replace("smtp:", "smtps:")).send(a_letter())
    assert server.received == []


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("A\r\nBcc: x@y.example", "A Bcc: x@y.example"),
        ("A\x00\x0b\x85\u2028B", "A B"),
        ("=?utf-8?q?A=0D=0ABcc:_x=40y.example?=", "= ?utf-8?q?A=0D=0ABcc:_x=40y.example?="),
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
async def test_every_letter_says_its_event_and_keeps_names_out_of_other_headers(
    server: ScriptedSmtpServer, language: str
) -> None:
    """TXT-1, TXT-3."""
    letters = every_letter(a_reader(language))
    for letter in letters:
        odd = {"account_name": "A\r\nBcc: x@y.example\r\n\r\n"}
        await a_mailer(server.url).send(letter.model_validate(letter.model_dump() | odd))
    assert [arrived.message["Seatflow-Event"] for arrived in server.received] == [
        letter.event for letter in letters
    ]
    for arrived in server.received:
        assert set(arrived.message.keys()) == HEADERS
        assert arrived.message["Content-Language"] == language
        assert "A Bcc: x@y.example" in arrived.message["Subject"]
        assert arrived.recipients == ("ann@example.com",)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("Seatflow <no-reply@localhost>", "Seatflow", "no-reply@localhost"),
        ("no-reply@localhost", "", "no-reply@localhost"),
        ('"Seats, flowing" <a@b.example>', "Seats, flowing", "a@b.example"),
        ("A\r\nBcc: x@y.example <a@b.example>", "A Bcc: x@y.example", "a@b.example"),
        ("=?utf-8?q?A=0D=0AB?= <a@b.example>", "= ?utf-8?q?A=0D=0AB?=", "a@b.example"),
        ("Bücher <post@bücher.example>", "Bücher", "post@xn--bcher-kva.example"),
    ],
)
def test_a_sender_is_a_name_and_an_address(text: str, name: str, address: str) -> None:
    sender = mailbox(text)
    assert (sender.display_name, sender.addr_spec) == (name, address)


@pytest.mark.parametrize("text", ["", "Seatflow", "a@b.example, c@d.example", "A <a@b> <c@d>"])
def test_what_is_no_sender_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        mailbox(text)


async def test_a_sender_with_any_name_can_send(server: ScriptedSmtpServer) -> None:
    sender = "Bü\r\nBcc: x@y.example, =?utf-8?q?A=0D=0AB?= <post@bücher.example>"
    await a_mailer(server.url, sender=sender).send(a_letter())
    [letter] = server.received
    assert letter.sender == "post@xn--bcher-kva.example"
    assert letter.message["Bcc"] is None
    assert letter.message["Message-ID"] == "<invitation.1.abc@xn--bcher-kva.example>"
    [author] = letter.message["From"].addresses
    assert author.display_name == "Bü Bcc: x@y.example, = ?utf-8?q?A=0D=0AB?="


async def test_an_international_address_is_reached_where_the_server_can(
    server: ScriptedSmtpServer,
) -> None:
    await a_mailer(server.url).send(a_letter(to="jürgen@xn--bcher-kva.example"))
    [letter] = server.received
    assert letter.recipients == ("jürgen@xn--bcher-kva.example",)
    assert letter.message["To"] == "jürgen@xn--bcher-kva.example"


async def test_an_international_address_is_undeliverable_where_the_server_cannot() -> None:
    async with ScriptedSmtpServer(smtputf8=False) as server:
        with pytest.raises(Undeliverable, match="ASCII"):
            await a_mailer(server.url).send(a_letter(to="jürgen@example.com"))


async def test_an_international_sender_is_our_own_fault_where_the_server_cannot() -> None:
    async with ScriptedSmtpServer(smtputf8=False) as server:
        with pytest.raises(MailNotAccepted, match="ASCII"):
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
def test_a_bad_url_is_refused_without_showing_the_password(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        SmtpServer.parse(url)
    assert "secret" not in str(refused.value)


def test_a_server_never_shows_its_password() -> None:
    assert "secret" not in repr(SmtpServer.parse("smtp://user:secret@localhost:25"))
