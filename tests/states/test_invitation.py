"""Tests of the states of an invitation."""

from datetime import UTC, datetime

import pytest

from domain.error import ErrorCode
from domain.invitation import InvitationState, Invite, License
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after, allowed, refusal
from tests.states.transition_table import INVITATION


@pytest.mark.parametrize(
    ("state", "updates"),
    [
        ("announced", ("revoke", "quote")),
        ("sent", ("revoke", "quote")),
        ("pending", ("accept", "decline", "revoke", "resend", "recheck", "quote")),
        ("blocked", ("accept", "decline", "revoke", "resend", "recheck", "quote")),
        ("accepted", ("retry_move",)),
        ("completed", ()),
        ("expired", ()),
    ],
)
def test_a_record_lists_the_updates_that_callers_may_send(
    state: str, updates: tuple[str, ...]
) -> None:
    """INV-7, INV-9: `allowed` has no update that the state refuses."""
    assert allowed(InvitationMachine, state) == updates


def test_a_state_is_exactly_one_of_unanswered_accepted_and_ended_without_acceptance() -> None:
    """INV-11: no state is both unanswered and accepted."""
    final = {state for state in InvitationState if state not in INVITATION.moves}
    assert final == {state for state in InvitationState if state.final}
    assert not any(state.unanswered and state.accepted for state in InvitationState)


def test_a_refusal_says_what_happened_and_since_when() -> None:
    """INV-9: the code is that of the state; the text has its day and the refused request."""
    invite = Invite(
        invitation_id="1",
        account="acme",
        key="key",
        email="jane@example.com",
        license=License.BASIC,
        invited_by="admin@acme.example",
    )
    record = initial_record(invite, run_id="", at=datetime(2026, 11, 27, tzinfo=UTC))
    revoked = after(
        InvitationMachine, record, "revoke", at=datetime(2026, 11, 28, tzinfo=UTC), by="admin"
    )
    refused = refusal(InvitationMachine, revoked, "resend")
    assert refused.code is ErrorCode.REVOKED
    assert refused.message == "Revoked on 28 Nov 2026; it can no longer be sent again."
