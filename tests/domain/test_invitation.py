"""The order of an invitation's records, and e-mails that are no longer due."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.error import Refused
from domain.invitation import Invitation, Invite, checked_note
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after


@pytest.mark.parametrize(
    ("typed", "note"), [(None, None), (" \r\n ", None), ("n" * 500 + " \n", "n" * 500)]
)
def test_a_note_has_words_and_at_most_500_characters(typed: str | None, note: str | None) -> None:
    """TXT-3: blanks at its ends are not counted."""
    assert checked_note(typed) == note
    with pytest.raises(Refused, match="at most 500 characters; this one has 501"):
        checked_note("n" * 501)


AT = datetime(2026, 4, 21, 10, tzinfo=UTC)


def a_record(*events: str, heads_up_days: int = 0) -> Invitation:
    invite = Invite(
        invitation_id="i1",
        account="acme",
        key="k",
        email="ann@example.com",
        invited_by="adam@acme.example",
        heads_up_days=heads_up_days,
    )
    record = initial_record(invite, run_id="r1", at=AT)
    for number, event in enumerate(events, start=1):
        at = AT + timedelta(hours=number)
        record = after(InvitationMachine, record, event, at=at, by="seatflow")
        if event == "resend":
            record = record.model_copy(update={"sent_count": record.sent_count + 1})
    return record


SENT = a_record()
PENDING = a_record("deliver")
ACCEPTED = a_record("deliver", "accept")
COMPLETED = a_record("deliver", "accept", "complete")
EXPIRED = a_record("deliver", "expire")


@pytest.mark.parametrize(
    ("record", "kept", "follows"),
    [
        (PENDING, SENT, True),
        (PENDING, PENDING, True),
        (SENT, PENDING, False),
        (ACCEPTED, PENDING, False),
        (EXPIRED, PENDING, False),
        (PENDING, ACCEPTED, False),
        (COMPLETED, ACCEPTED, True),
        (COMPLETED, COMPLETED, False),
        (PENDING, EXPIRED, False),
    ],
)
def test_only_a_record_that_neither_accepts_nor_ends_follows_an_older_one(
    record: Invitation, kept: Invitation, follows: bool
) -> None:
    """INV-7, INV-11: acceptances and ends are written by their own transactions."""
    assert record.may_replace(kept) is follows


@pytest.mark.parametrize(
    ("kept", "mailed", "overtakes"),
    [
        (SENT, SENT, False),
        (PENDING, SENT, False),
        (a_record("deliver", "remind"), PENDING, False),
        (a_record("deliver", "resend"), PENDING, True),
        (ACCEPTED, PENDING, True),
        (EXPIRED, PENDING, True),
        (a_record(heads_up_days=2), a_record(heads_up_days=2), False),
        (a_record("invite", heads_up_days=2), a_record(heads_up_days=2), True),
    ],
)
def test_an_e_mail_is_not_due_after_an_answer_an_end_or_a_newer_e_mail(
    kept: Invitation, mailed: Invitation, overtakes: bool
) -> None:
    """OPS-2, INV-9, INV-17: each letter is checked again when it is sent."""
    assert kept.outdates_email_of(mailed) is overtakes
