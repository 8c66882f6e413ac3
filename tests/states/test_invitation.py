"""The drawing of the invitation, event by event."""

from datetime import UTC, datetime

import pytest
from statemachine.exceptions import TransitionNotAllowed

from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, Invite
from states.invitation import InvitationMachine, opening
from states.lifecycle import after, allowed, transitions

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

# INV: the lifecycle as domain rules tell it. What is not here is refused.
DRAWING = {
    "announced": {
        "invite": "sent",
        "bounce": "undeliverable",
        "revoke": "revoked",
        "supersede": "superseded",
    },
    "sent": {
        "deliver": "pending",
        "join": "accepted",
        "bounce": "undeliverable",
        "revoke": "revoked",
        "supersede": "superseded",
    },
    "pending": {
        "accept": "accepted",
        "block": "blocked",
        "resend": "pending",
        "remind": "pending",
        "decline": "declined",
        "expire": "expired",
        "bounce": "undeliverable",
        "revoke": "revoked",
        "supersede": "superseded",
    },
    "blocked": {
        "accept": "accepted",
        "block": "blocked",
        "unblock": "pending",
        "resend": "blocked",
        "remind": "blocked",
        "decline": "declined",
        "expire": "expired",
        "bounce": "undeliverable",
        "revoke": "revoked",
        "supersede": "superseded",
    },
    "accepted": {"refund": "refunding", "transfer": "transferring", "complete": "completed"},
    "refunding": {"complete": "completed"},
    "transferring": {"complete": "completed"},
}
EVENTS = sorted({event for moves in DRAWING.values() for event in moves})
EVERYWHERE = [(state, event) for state in InvitationState for event in EVENTS]

CODES = {
    "announced": ErrorCode.NOT_PENDING,
    "sent": ErrorCode.NOT_PENDING,
    "pending": ErrorCode.CONFLICT,
    "blocked": ErrorCode.BLOCKED,
    "accepted": ErrorCode.ALREADY_ACCEPTED,
    "refunding": ErrorCode.ALREADY_ACCEPTED,
    "transferring": ErrorCode.ALREADY_ACCEPTED,
    "completed": ErrorCode.ALREADY_ACCEPTED,
    "declined": ErrorCode.DECLINED,
    "revoked": ErrorCode.REVOKED,
    "expired": ErrorCode.EXPIRED,
    "undeliverable": ErrorCode.UNDELIVERABLE,
    "superseded": ErrorCode.SUPERSEDED,
}


def an_invitation(state: InvitationState) -> Invitation:
    invite = Invite(
        invitation_id="1", account="acme", key="k", email="jane@example.com", invited_by="a@b.c"
    )
    return opening(invite, run_id="r", at=NOON).model_copy(update={"state": state})


@pytest.mark.parametrize(("state", "event"), EVERYWHERE)
def test_every_event_in_every_state_moves_the_machine_as_drawn_or_not_at_all(
    state: InvitationState, event: str
) -> None:
    machine = InvitationMachine(start_value=state)
    target = DRAWING.get(state, {}).get(event)
    if target:
        machine.send(event)
        assert machine.current_state_value == target
    else:
        with pytest.raises(TransitionNotAllowed):
            machine.send(event)
        assert machine.current_state_value == state


@pytest.mark.parametrize(("state", "event"), EVERYWHERE)
def test_a_record_foresees_what_the_machine_will_do_or_gives_the_code(
    state: InvitationState, event: str
) -> None:
    invitation = an_invitation(state)
    target = DRAWING.get(state, {}).get(event)
    if target is None:
        with pytest.raises(Refused) as refused:
            after(InvitationMachine, invitation, event, at=NOON, by="somebody")
        assert refused.value.code is CODES[state]
        return
    moved = after(InvitationMachine, invitation, event, at=NOON, by="somebody")
    assert moved.state == target
    entry = moved.journal[-1]
    assert (entry.event, entry.from_state, entry.to_state) == (event, state, target)
    assert moved.journal[:-1] == invitation.journal


def test_the_machine_and_the_table_of_rules_are_the_same_drawing() -> None:
    assert transitions(InvitationMachine) == {
        (state, event): target
        for state, moves in DRAWING.items()
        for event, target in moves.items()
    }


def test_every_state_and_event_is_explained() -> None:
    assert set(InvitationMachine.refusals) == set(InvitationState)
    assert set(InvitationMachine.waits_for) == {s for s in InvitationState if not s.final}
    assert set(InvitationMachine.moved_by) == set(EVENTS)


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
    final = {state for state in InvitationState if (state,) and state not in DRAWING}
    assert final == {state for state in InvitationState if state.final}
    assert not any(state.unanswered and state.accepted for state in InvitationState)
