"""Tests of the states of an invitation."""

import pytest

from domain.invitation import InvitationState
from states.invitation import InvitationMachine
from states.lifecycle import allowed
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
