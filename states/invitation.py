"""The machine of an invitation (INV)."""

from datetime import timedelta

from pydantic import AwareDatetime
from statemachine.states import States

from domain.error import ErrorCode
from domain.invitation import Invitation, InvitationState, Invite
from domain.journal import JournalEntry
from states.lifecycle import LifecycleMachine, allowed


class InvitationMachine(LifecycleMachine):
    """The lifecycle of an invitation, from the first e-mail to its end.

    It starts in `announced` with a heads-up (INV-17), otherwise in `sent`.
    """

    _ = States.from_enum(
        InvitationState,
        initial=InvitationState.ANNOUNCED,
        final=[state for state in InvitationState if state.final],
        use_enum_instance=True,
    )

    invite = _.ANNOUNCED.to(_.SENT)
    deliver = _.SENT.to(_.PENDING)
    join = _.SENT.to(_.ACCEPTED)
    accept = _.PENDING.to(_.ACCEPTED) | _.BLOCKED.to(_.ACCEPTED)
    block = _.PENDING.to(_.BLOCKED) | _.BLOCKED.to.itself()
    unblock = _.BLOCKED.to(_.PENDING)
    resend = _.PENDING.to.itself() | _.BLOCKED.to.itself()
    remind = _.PENDING.to.itself() | _.BLOCKED.to.itself()
    decline = _.PENDING.to(_.DECLINED) | _.BLOCKED.to(_.DECLINED)
    expire = _.PENDING.to(_.EXPIRED) | _.BLOCKED.to(_.EXPIRED)
    bounce = (
        _.ANNOUNCED.to(_.UNDELIVERABLE)
        | _.SENT.to(_.UNDELIVERABLE)
        | _.PENDING.to(_.UNDELIVERABLE)
        | _.BLOCKED.to(_.UNDELIVERABLE)
    )
    revoke = (
        _.ANNOUNCED.to(_.REVOKED)
        | _.SENT.to(_.REVOKED)
        | _.PENDING.to(_.REVOKED)
        | _.BLOCKED.to(_.REVOKED)
    )
    supersede = (
        _.ANNOUNCED.to(_.SUPERSEDED)
        | _.SENT.to(_.SUPERSEDED)
        | _.PENDING.to(_.SUPERSEDED)
        | _.BLOCKED.to(_.SUPERSEDED)
    )
    refund = _.ACCEPTED.to(_.REFUNDING)
    transfer = _.ACCEPTED.to(_.TRANSFERRING)
    complete = (
        _.ACCEPTED.to(_.COMPLETED) | _.REFUNDING.to(_.COMPLETED) | _.TRANSFERRING.to(_.COMPLETED)
    )

    cancel_requested = _.ACCEPTED.to.itself() | _.REFUNDING.to.itself() | _.TRANSFERRING.to.itself()

    updates = ("accept", "decline", "revoke", "resend")
    other_updates = {
        "recheck": frozenset({InvitationState.PENDING, InvitationState.BLOCKED}),
        "quote": frozenset(state for state in InvitationState if state.unanswered),
        "retry_move": frozenset(
            state for state in InvitationState if state.accepted and not state.final
        ),
    }
    waits_for = {
        InvitationState.ANNOUNCED: "the day on which the invitation e-mail is sent",
        InvitationState.SENT: "the mail server to accept the invitation e-mail",
        InvitationState.PENDING: "the invitee's answer",
        InvitationState.BLOCKED: "the blockers to be cleared",
        InvitationState.ACCEPTED: "the settlement and the move to finish",
        InvitationState.REFUNDING: "the payment provider to settle the refund",
        InvitationState.TRANSFERRING: "the credit to reach the target account",
    }
    moved_by = {
        "invite": "the clock",
        "deliver": "the mail server",
        "join": "the managed domain",
        "accept": "the invitee",
        "block": "the store, at an acceptance",
        "unblock": "the directory",
        "resend": "an admin",
        "remind": "the schedule",
        "decline": "the invitee",
        "expire": "the clock",
        "bounce": "the mail server",
        "revoke": "an admin",
        "supersede": "another acceptance",
        "refund": "the settlement",
        "transfer": "the settlement",
        "complete": "the settlement and the move",
        "cancel_requested": "a cancellation in Temporal",
        "recheck": "the invitee",
        "retry_move": "an operator",
    }
    happened = {
        InvitationState.ANNOUNCED: "Announced",
        InvitationState.SENT: "Sent",
        InvitationState.PENDING: "Delivered",
        InvitationState.BLOCKED: "Blocked",
        InvitationState.ACCEPTED: "Accepted",
        InvitationState.REFUNDING: "Accepted",
        InvitationState.TRANSFERRING: "Accepted",
        InvitationState.COMPLETED: "Accepted",
        InvitationState.DECLINED: "Declined",
        InvitationState.REVOKED: "Revoked",
        InvitationState.EXPIRED: "Expired",
        InvitationState.UNDELIVERABLE: "Found undeliverable",
        InvitationState.SUPERSEDED: "Superseded by the acceptance of another invitation",
    }
    participles = {
        "accept": "accepted",
        "decline": "declined",
        "revoke": "revoked",
        "resend": "sent again",
        "recheck": "checked",
        "quote": "previewed",
        "retry_move": "moved again",
    }
    refusals = {
        InvitationState.ANNOUNCED: ErrorCode.NOT_PENDING,
        InvitationState.SENT: ErrorCode.NOT_PENDING,
        InvitationState.ACCEPTED: ErrorCode.ALREADY_ACCEPTED,
        InvitationState.REFUNDING: ErrorCode.ALREADY_ACCEPTED,
        InvitationState.TRANSFERRING: ErrorCode.ALREADY_ACCEPTED,
        InvitationState.COMPLETED: ErrorCode.ALREADY_ACCEPTED,
        InvitationState.PENDING: ErrorCode.CONFLICT,
        InvitationState.BLOCKED: ErrorCode.BLOCKED,
        InvitationState.DECLINED: ErrorCode.DECLINED,
        InvitationState.REVOKED: ErrorCode.REVOKED,
        InvitationState.EXPIRED: ErrorCode.EXPIRED,
        InvitationState.UNDELIVERABLE: ErrorCode.UNDELIVERABLE,
        InvitationState.SUPERSEDED: ErrorCode.SUPERSEDED,
    }


def initial_record(invite: Invite, *, run_id: str, at: AwareDatetime) -> Invitation:
    """Return the record of a new invitation."""
    state = InvitationState.ANNOUNCED if invite.heads_up_days else InvitationState.SENT
    event = "announce" if invite.heads_up_days else "invite"
    return Invitation(
        workflow_id=invite.workflow_id,
        run_id=run_id,
        account=invite.account,
        email=invite.email,
        state=state,
        license=invite.license,
        invited_by=invite.invited_by,
        journal=(
            JournalEntry.of(
                event,
                at=at,
                from_state=None,
                to_state=state.value,
                by=invite.author or invite.invited_by,
            ),
        ),
        goes_out_at=at + timedelta(days=invite.heads_up_days) if invite.heads_up_days else None,
        allowed=allowed(InvitationMachine, state),
    )
