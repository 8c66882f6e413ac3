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
from domain.letter.invitation import DeclinedLetter, UnblockedLetter
from domain.outbox import QueuedLetter, RecordKind, RecordVersion, queued_letter
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
    return queued_letter(letter, VERSION, link_number=2)


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
    assert (queue.dropped, queue.failures) == ([], [])


async def test_a_letter_that_was_sent_before_is_not_sent_again() -> None:
    """OPS-1: its row is gone."""
    mailer = FakeMailer()
    await send(FakeLetterQueue(), mailer, DECLINED)
    assert mailer.sent == []


async def test_the_link_is_added_when_the_letter_is_sent() -> None:
    """BLK-4, INV-9: links are not stored."""
    queue, mailer = FakeLetterQueue(queued(UNBLOCKED)), FakeMailer()
    await send(queue, mailer, UNBLOCKED)
    [letter] = mailer.sent
    assert isinstance(letter, UnblockedLetter)
    assert letter.link == "https://seatflow.example/i/run-1.2"


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
    assert queue.dropped == ([] if operators else [ATTENTION.id])


class SlowMailer(FakeMailer):
    """A mail server that takes its time to take a letter."""

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        assert still_due
        assert await still_due()
        await asyncio.sleep(0.3)
        await super().send(letter)


async def test_a_letter_in_transfer_is_neither_cancelled_nor_sent_twice() -> None:
    """OPS-1: the relay sends the letters after it, and leaves this one alone."""
    queue, mailer = FakeLetterQueue(queued(DECLINED), queued(UNBLOCKED)), SlowMailer()
    short = timedelta(milliseconds=50)
    sender = LetterSender(queue, mailer, FakeLinks(), ready_within=short, taken_within=short)
    await sender.send_now([DECLINED.id, UNBLOCKED.id])
    assert (mailer.events, queue.released) == ([], [UNBLOCKED.id])
    await eventually(lambda: mailer.events, lambda events: events == ["declined"])


async def test_letters_that_are_not_sent_at_once_are_left_to_the_relay() -> None:
    """OPS-1: they do not wait for the time for which the relay would leave them alone."""
    queue, mailer = (
        FakeLetterQueue(queued(DECLINED), queued(UNBLOCKED)),
        FakeMailer(OSError("down")),
    )
    await LetterSender(queue, mailer, FakeLinks()).send_now([DECLINED.id, UNBLOCKED.id])
    assert queue.released == [DECLINED.id, UNBLOCKED.id]
