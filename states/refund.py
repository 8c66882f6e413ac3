"""The machine of a refund (REF)."""

from statemachine.states import States

from domain.error import ErrorCode
from domain.journal import ENGINE, JournalEntry
from domain.refund import PartState, Refund, RefundPlan, RefundState, amount_open
from states.lifecycle import LifecycleMachine, allowed, transitions


class RefundMachine(LifecycleMachine):
    """The lifecycle of a refund, from the request to its end.

    The state is what the payment provider reports, never a guess (REF-2). `converted` and
    `closed` are ends for the invitation, but a success reported later settles them (REF-4).
    A cancellation in Temporal is an entry in the journal, and the refund continues (OPS-10).
    """

    _ = States.from_enum(
        RefundState,
        initial=RefundState.REQUESTED,
        final=[RefundState.SETTLED],
        use_enum_instance=True,
    )

    submit = _.REQUESTED.to(_.PROCESSING)
    settle = (
        _.REQUESTED.to(_.SETTLED)
        | _.PROCESSING.to(_.SETTLED)
        | _.OVERDUE.to(_.SETTLED)
        | _.FAILED.to(_.SETTLED)
        | _.CONVERTED.to(_.SETTLED)
        | _.CLOSED.to(_.SETTLED)
    )
    fail = _.REQUESTED.to(_.FAILED) | _.PROCESSING.to(_.FAILED) | _.OVERDUE.to(_.FAILED)
    fall_due = _.REQUESTED.to(_.OVERDUE) | _.PROCESSING.to(_.OVERDUE)
    retry = _.FAILED.to(_.PROCESSING)
    resume = _.FAILED.to(_.PROCESSING)
    convert = _.FAILED.to(_.CONVERTED)
    close = _.FAILED.to(_.CLOSED) | _.OVERDUE.to(_.CLOSED)
    cancel_requested = (
        _.REQUESTED.to.itself()
        | _.PROCESSING.to.itself()
        | _.OVERDUE.to.itself()
        | _.FAILED.to.itself()
        | _.CONVERTED.to.itself()
        | _.CLOSED.to.itself()
    )

    updates = ("convert", "retry", "close")
    waits_for = {
        RefundState.REQUESTED: "the payment provider to accept the request",
        RefundState.PROCESSING: "the payment provider to settle it",
        RefundState.OVERDUE: "the payment provider, later than promised",
        RefundState.FAILED: "an operator or the payee to choose: credit, a retry, or an end",
        RefundState.CONVERTED: "nothing: it is credit now; a late success would settle it",
        RefundState.CLOSED: "nothing: an operator closed it; a late success would settle it",
    }
    happened = {
        RefundState.REQUESTED: "Requested",
        RefundState.PROCESSING: "Accepted by the payment provider",
        RefundState.OVERDUE: "Overdue",
        RefundState.FAILED: "Failed",
        RefundState.CONVERTED: "Converted to credit",
        RefundState.CLOSED: "Closed by an operator",
        RefundState.SETTLED: "Settled",
    }
    participles = {"convert": "converted", "retry": "requested again", "close": "closed"}
    moved_by = {
        "submit": "the payment provider",
        "settle": "the payment provider",
        "fail": "the payment provider",
        "fall_due": "the clock",
        "retry": "an operator",
        "resume": "the decision of an operator, while a part is open",
        "convert": "an operator",
        "close": "an operator",
        "cancel_requested": "a cancellation in Temporal",
    }
    refusals = {state: ErrorCode.CONFLICT for state in RefundState}


def initial_record(plan: RefundPlan) -> Refund:
    """Return the record of a new refund."""
    state, amount = RefundState.REQUESTED, amount_open(plan.parts)
    return Refund(
        refund_id=plan.refund_id,
        workflow_id=plan.workflow_id,
        state=state,
        amount=amount,
        amount_open=amount,
        parts=plan.parts,
        requested_at=plan.requested_at,
        arrives_between=plan.arrives_between,
        journal=(
            JournalEntry(
                at=plan.requested_at, event="request", from_state=None, to_state=state, by=ENGINE
            ),
        ),
        allowed=allowed(RefundMachine, state),
    )


def event_from_parts(refund: Refund) -> str | None:
    """Return the event that follows from the provider's status of the parts, if any."""
    states = {part.state for part in refund.parts}
    if any(state.failed for state in states):
        event = "fail"
    elif any(state.open for state in states):
        event = "submit"
    else:
        event = "settle"
    requested = PartState.REQUESTED not in states
    possible = (refund.state.value, event) in transitions(RefundMachine)
    return event if requested and possible else None
