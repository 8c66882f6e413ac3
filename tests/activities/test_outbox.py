"""Tests of the standalone activity that sends letters of the outbox."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.letter import StillDue, Undeliverable
from activities.outbox import LetterSender, OutboxActivities, SendLetter
from domain.attention import AttentionCase, AttentionKind
from domain.letter import Letter
from domain.letter.attention import AttentionLetter
from domain.letter.base import Reader
from domain.letter.invitation import BlockedLetter, DeclinedLetter, UnblockedLetter
from domain.letter.sign_in import SignInLetter
from domain.outbox import PageLink, QueuedLetter, RecordKind, RecordVersion, queued_letter
from domain.session import RequestedSignIn
from tests.activities.mailer import FakeLetterQueue, FakeLinks, FakeMailer
from tests.eventually import eventually

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
VERSION = RecordVersion(kind=RecordKind.INVITATION, id="run-1", entries=4)
DECLINED = DeclinedLetter(
    id="declined.run-1",
    reader=Reader(email="eve@acme.example"),
    account_name="Acme",
    invitee="jane@example.com",
)
UNBLOCKED = UnblockedLetter(
    id="unblocked.4.run-1",
    reader=Reader(email="jane@example.com"),
    account_name="Acme",
    expires_at=NOON,
)
BLOCKED = BlockedLetter(
    id="blocked.4.run-1",
    reader=Reader(email="jane@example.com"),
    account_name="Acme",
    blockers=(),
    expires_at=NOON,
)
ATTENTION = AttentionLetter(
    id="attention.1",
    reader=Reader(email=""),
    account_name="Acme",
    case=AttentionCase(
        kind=AttentionKind.MOVE_FAILED,
        since=NOON,
        account="acme",
        id="x",
        message="Not moved.",
        remedy="seatflow retry-move acme x",
    ),
)


def queued(letter: Letter) -> QueuedLetter:
    return queued_letter(letter, VERSION, PageLink(invitation_id=VERSION.id, number=2))


async def send(
    queue: FakeLetterQueue, mailer: FakeMailer, letter: Letter, operators: str | None = None
) -> None:
    activities = OutboxActivities(LetterSender(queue, mailer, FakeLinks(), operators))
    await ActivityEnvironment().run(activities.send_letter, SendLetter(letter_id=letter.id))


async def test_a_letter_is_sent_to_its_recipient() -> None:
    """OPS-2."""
    queue, mailer = FakeLetterQueue(queued(DECLINED)), FakeMailer()
    await send(queue, mailer, DECLINED)
    assert mailer.sent == [DECLINED]
    assert (queue.dropped, queue.failures) == ([DECLINED.id], [])


async def test_a_letter_that_was_sent_before_is_not_sent_again() -> None:
    """OPS-1: its row is gone."""
    mailer = FakeMailer()
    await send(FakeLetterQueue(), mailer, DECLINED)
    assert mailer.sent == []


@pytest.mark.parametrize("about", [UNBLOCKED, BLOCKED])
async def test_the_link_is_added_when_the_letter_is_sent(
    about: UnblockedLetter | BlockedLetter,
) -> None:
    """BLK-4, INV-9: links are not stored."""
    queue, mailer = FakeLetterQueue(queued(about)), FakeMailer()
    await send(queue, mailer, about)
    [letter] = mailer.sent
    assert isinstance(letter, UnblockedLetter | BlockedLetter)
    assert letter.link == "https://seatflow.example/i/run-1.2"


SIGN_IN = SignInLetter(id="sign_in.link-1", reader=Reader(email="eve@acme.example"))


async def test_a_sign_in_link_goes_to_those_who_may_sign_in() -> None:
    """The reader and the link are added when it is sent."""
    queue = FakeLetterQueue(QueuedLetter(letter=SIGN_IN, sign_in="link-1"))
    reader = Reader(email="eve@acme.example", name="Eve", locale="fr")
    queue.sign_ins["link-1"] = RequestedSignIn(reader=reader, account_name="Acme")
    mailer = FakeMailer()
    await send(queue, mailer, SIGN_IN)
    [letter] = mailer.sent
    assert isinstance(letter, SignInLetter)
    assert (letter.reader, letter.account_name) == (reader, "Acme")
    assert letter.link == "https://seatflow.example/sign-in/link-1"


async def test_nobody_else_gets_a_sign_in_link() -> None:
    """The letter of a member, of a stranger or of an expired link is dropped."""
    queue, mailer = FakeLetterQueue(QueuedLetter(letter=SIGN_IN, sign_in="link-1")), FakeMailer()
    await send(queue, mailer, SIGN_IN)
    assert mailer.sent == []
    assert queue.dropped == [SIGN_IN.id]


async def test_a_letter_that_is_no_longer_true_is_dropped() -> None:
    """OPS-2: letters that were delayed are checked again before they are sent."""
    queue, mailer = FakeLetterQueue(queued(UNBLOCKED), current=False), FakeMailer()
    await send(queue, mailer, UNBLOCKED)
    assert mailer.sent == []
    assert queue.dropped == [UNBLOCKED.id]


async def test_a_letter_about_an_end_stays_true() -> None:
    """OPS-2: an end is not undone."""
    queue, mailer = FakeLetterQueue(queued(DECLINED), current=False), FakeMailer()
    await send(queue, mailer, DECLINED)
    assert mailer.sent == [DECLINED]


async def test_a_refused_letter_waits_for_an_operator() -> None:
    """OPS-5: a 5xx reply to RCPT or DATA is permanent."""
    queue = FakeLetterQueue(queued(DECLINED))
    await send(queue, FakeMailer(Undeliverable("550 unknown")), DECLINED)
    assert queue.failures == [("550 unknown", True)]


async def test_a_letter_that_was_not_taken_is_retried() -> None:
    """INV-4: Temporal makes the next attempt, and the row has the reason."""
    queue = FakeLetterQueue(queued(DECLINED))
    with pytest.raises(ApplicationError) as failure:
        await send(queue, FakeMailer(OSError("452 mailbox full")), DECLINED)
    assert failure.value.type == "mail_not_taken"
    [(reason, final)] = queue.failures
    assert "452 mailbox full" in reason
    assert not final


@pytest.mark.parametrize("operators", ["ops@example.com", None])
async def test_operators_are_notified_if_they_have_an_address(operators: str | None) -> None:
    """TRF-1, REF-3: their address is a setting, and is added when the letter is sent."""
    queue, mailer = FakeLetterQueue(queued(ATTENTION)), FakeMailer()
    await send(queue, mailer, ATTENTION, operators)
    assert mailer.recipients == ([operators] if operators else [])


class SlowMailer(FakeMailer):
    """A mail server that takes some time to take each letter."""

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        assert still_due is not None
        assert await still_due()
        await asyncio.sleep(0.3)
        await super().send(letter)


async def test_a_slow_mail_server_delays_the_answer_for_a_limited_time() -> None:
    """OPS-2: the letter in transfer is finished, and the relay sends the others."""
    queue, mailer = FakeLetterQueue(queued(DECLINED), queued(UNBLOCKED)), SlowMailer()
    limit = timedelta(milliseconds=100)
    sender = LetterSender(queue, mailer, FakeLinks(), ready_within=limit, answer_within=limit)
    await sender.send_now([DECLINED.id, UNBLOCKED.id])
    assert mailer.sent == []
    await eventually(lambda: queue.released)
    assert mailer.sent == [DECLINED]
    assert queue.released == [UNBLOCKED.id]


async def test_letters_that_cannot_be_sent_at_once_are_released() -> None:
    """OPS-1: the relay does not wait for a mail server that is down."""
    queue = FakeLetterQueue(queued(DECLINED), queued(UNBLOCKED))
    await LetterSender(queue, FakeMailer(OSError("down")), FakeLinks()).send_now(
        [DECLINED.id, UNBLOCKED.id]
    )
    assert queue.released == [DECLINED.id, UNBLOCKED.id]
