"""Refusals say what happened, when, and what is not possible."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.invitation import Choice, Invitation, Invite
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after, refusal
from tests.states.transition_table import TABLES, TransitionTable

MORNING = datetime(2026, 11, 28, 9, tzinfo=UTC)


def invitation_after(*events: str, **changes: object) -> Invitation:
    """Return the record after the events, each a day after the one before."""
    invite = Invite(
        invitation_id="1",
        account="acme",
        key="key",
        email="jane@example.com",
        invited_by="adam@acme.example",
    )
    record = initial_record(invite, run_id="run", at=MORNING - timedelta(days=1))
    for number, event in enumerate(events):
        at = MORNING + timedelta(days=number - 1)
        record = after(InvitationMachine, record, event, at=at, by="somebody")
    return record.model_copy(update=changes)


@pytest.mark.parametrize(
    ("events", "changes", "request_", "message"),
    [
        (
            ("deliver", "accept"),
            {"choice": Choice.REFUND},
            "decline",
            "Accepted on 28 Nov 2026 with a refund; it can no longer be declined.",
        ),
        # The day is that of the acceptance, not of what followed.
        (
            ("deliver", "accept", "transfer", "complete"),
            {"choice": Choice.TRANSFER},
            "revoke",
            "Accepted on 28 Nov 2026 with a transfer; it can no longer be revoked.",
        ),
        (
            ("deliver", "accept", "complete"),
            {},
            "resend",
            "Accepted on 28 Nov 2026; it can no longer be sent again.",
        ),
        (
            ("deliver", "expire"),
            {},
            "accept",
            "Expired on 28 Nov 2026; it can no longer be accepted.",
        ),
        (
            ("deliver", "supersede"),
            {},
            "accept",
            "Superseded by the acceptance of another invitation on 28 Nov 2026; "
            "it can no longer be accepted.",
        ),
        (
            (),
            {},
            "accept",
            "Sent on 27 Nov 2026; it cannot be accepted now, "
            "because it waits for the mail server to accept the invitation e-mail.",
        ),
    ],
)
def test_a_refused_request_names_the_day_and_the_reason(
    events: tuple[str, ...], changes: dict[str, object], request_: str, message: str
) -> None:
    """INV-7, INV-9, INV-10: people read why, and whether it may be possible later."""
    record = invitation_after(*events, **changes)
    assert refusal(InvitationMachine, record, request_).message == message


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.machine.__name__)
def test_each_machine_has_words_for_its_states_and_requests(table: TransitionTable) -> None:
    """A machine without requests refuses none."""
    machine = table.machine
    requests = {*machine.updates, *machine.other_updates}
    assert requests <= set(machine.participles)
    if requests:
        assert set(machine.happened) == set(type(next(iter(machine.refusals))))
