"""Mail server and mailbox of the embedded stack."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiosmtplib import SMTP, SMTPRecipientRefused

from devstack.mailbox import Mailbox, MailSink
from domain.error import ErrorCode, Refused

LETTER = """\
From: Seatflow <no-reply@localhost>
To: {to}
Subject: {subject}
Content-Language: de
Seatflow-Event: invitation
Content-Type: multipart/alternative; boundary=x

--x
Content-Type: text/plain; charset=utf-8

Grüße! Einladung öffnen (http://localhost:8080/i/token.signature),
oder http://localhost:8080/other

--x
Content-Type: text/html; charset=utf-8

<p>Grüße!</p>

--x--
"""


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[MailSink]:
    async with MailSink(tmp_path / "mail") as sink:
        yield sink


async def send(sink: MailSink, to: str = "ann@example.com", subject: str = "Hello") -> None:
    letter = LETTER.format(to=to, subject=subject).encode()
    async with SMTP(hostname="127.0.0.1", port=sink.port, local_hostname="localhost") as client:
        await client.sendmail("no-reply@localhost", [to], letter, mail_options=["SMTPUTF8"])


async def test_letters_are_listed_oldest_first(sink: MailSink, tmp_path: Path) -> None:
    """`mail list`: numbers stay the same when more letters arrive."""
    mailbox = Mailbox(tmp_path / "mail")
    before = datetime.now(UTC)
    await send(sink, subject="first")
    first = mailbox.letters()
    for subject in ("second", "third"):
        await send(sink, subject=subject)
    letters = mailbox.letters()
    assert letters[:1] == first
    assert [(letter.number, letter.subject) for letter in letters] == [
        (1, "first"),
        (2, "second"),
        (3, "third"),
    ]
    assert before <= letters[0].at <= letters[1].at <= letters[2].at <= datetime.now(UTC)
    assert (letters[0].to, letters[0].event, letters[0].language) == (
        "ann@example.com",
        "invitation",
        "de",
    )


async def test_a_letter_is_opened_by_its_number(sink: MailSink, tmp_path: Path) -> None:
    """`mail show`: headers, both bodies and the first link."""
    await send(sink)
    letter = Mailbox(tmp_path / "mail").open(1)
    assert letter.headers["Seatflow-Event"] == "invitation"
    assert letter.text.startswith("Grüße!")
    assert letter.html.strip() == "<p>Grüße!</p>"
    assert letter.link == "http://localhost:8080/i/token.signature"


async def test_the_newest_letter_is_found_by_its_address(sink: MailSink, tmp_path: Path) -> None:
    """`mail show --to`: the link of a sign-in, while a batch sends letters to others."""
    for subject in ("first", "second"):
        await send(sink, subject=subject)
    await send(sink, to="bea@example.com", subject="third")
    mailbox = Mailbox(tmp_path / "mail")
    assert mailbox.newest().subject == "third"
    assert mailbox.newest("Ann@example.com").subject == "second"
    with pytest.raises(Refused):
        mailbox.newest("carl@example.com")


async def test_an_international_address_is_accepted(sink: MailSink, tmp_path: Path) -> None:
    """INV-3: the mail server supports SMTPUTF8."""
    await send(sink, to="jürgen@example.com")
    assert Mailbox(tmp_path / "mail").letters()[0].to == "jürgen@example.com"


async def test_an_address_that_bounces_is_refused_with_a_5xx(
    sink: MailSink, tmp_path: Path
) -> None:
    """INV-4: the demo shows the consequences of a 5xx reply to RCPT."""
    async with SMTP(hostname="127.0.0.1", port=sink.port, local_hostname="localhost") as client:
        await client.mail("no-reply@localhost")
        with pytest.raises(SMTPRecipientRefused) as refused:
            await client.rcpt("Bounce.me@example.com")
    assert refused.value.code == 550
    assert Mailbox(tmp_path / "mail").letters() == []


async def test_letters_outlive_the_server(tmp_path: Path) -> None:
    """`mail list`: a restarted stack shows the earlier letters."""
    (tmp_path / "mail").mkdir()
    for _ in range(2):
        async with MailSink(tmp_path / "mail") as sink:
            await send(sink)
    assert [letter.number for letter in Mailbox(tmp_path / "mail").letters()] == [1, 2]


async def test_an_open_connection_does_not_delay_the_stop(tmp_path: Path) -> None:
    """`up`: the mail server stops although a worker keeps its connection open."""
    async with MailSink(tmp_path / "mail") as sink:
        client = SMTP(hostname="127.0.0.1", port=sink.port, local_hostname="localhost")
        await client.connect()
    client.close()


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_mailbox_without_letters_is_empty(tmp_path: Path, folder: str) -> None:
    """`mail list` works before the first letter; `mail show` answers `not_found`."""
    mailbox = Mailbox(tmp_path / folder)
    assert mailbox.letters() == []
    with pytest.raises(Refused) as refused:
        mailbox.open(1)
    assert refused.value.code is ErrorCode.NOT_FOUND
