"""What the states of an invitation mean."""

import pytest

from domain.invitation import InvitationState
from states.invitation import InvitationMachine
from states.lifecycle import allowed
from tests.states.drawing import INVITATION


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
def test_an_outsider_is_told_which_updates_may_be_sent(
    state: str, updates: tuple[str, ...]
) -> None:
    assert allowed(InvitationMachine, state) == updates


def test_a_state_is_unanswered_accepted_or_a_refused_end_and_never_two_of_them() -> None:
    final = {state for state in InvitationState if state not in INVITATION.moves}
    assert final == {state for state in InvitationState if state.final}
    assert not any(state.unanswered and state.accepted for state in InvitationState)
