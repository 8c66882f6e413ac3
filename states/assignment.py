"""The machine of one user's assignment (ASG)."""

from datetime import datetime

from statemachine.states import States

from domain.assignment import AssignLicenses, Assignment, AssignmentResult, AssignmentState
from domain.error import ErrorCode
from domain.journal import JournalEntry
from states.lifecycle import LifecycleMachine, allowed, transitions


class AssignmentMachine(LifecycleMachine):
    """The assignment of one license to one user, until its release.

    A request of many users has the state of its least settled user, so it is `waiting` as long
    as one of them waits (ASG-5). `assigned` lasts until the release, without a running workflow.
    A cancellation in Temporal is an entry in the journal, and the users still wait (OPS-10).
    """

    _ = States.from_enum(
        AssignmentState,
        initial=AssignmentState.REQUESTED,
        final=[AssignmentState.RELEASED, AssignmentState.REFUSED],
        use_enum_instance=True,
    )

    assign = _.REQUESTED.to(_.ASSIGNED) | _.WAITING.to(_.ASSIGNED)
    wait = _.REQUESTED.to(_.WAITING)
    refuse = _.REQUESTED.to(_.REFUSED) | _.WAITING.to(_.REFUSED)
    release = _.ASSIGNED.to(_.RELEASED) | _.WAITING.to(_.RELEASED)
    cancel_requested = _.REQUESTED.to.itself() | _.WAITING.to.itself()

    waits_for = {
        AssignmentState.REQUESTED: "the store to assign what is free",
        AssignmentState.WAITING: "a license, or a base license, to become free or to be bought",
        AssignmentState.ASSIGNED: "nothing: the license is held until its release",
    }
    moved_by = {
        "assign": "the store: at the request, or when a license becomes free",
        "wait": "the store: no license is free",
        "refuse": "the store: a rule refuses it",
        "release": "an admin, or the end of the order",
        "cancel_requested": "a cancellation in Temporal",
    }
    refusals = {state: ErrorCode.CONFLICT for state in AssignmentState}


def initial_record(request: AssignLicenses, *, at: datetime) -> Assignment:
    """Return the record of a new request."""
    state = AssignmentState.REQUESTED
    entry = JournalEntry(
        at=at, event="request", from_state=None, to_state=state, by=request.requested_by
    )
    return Assignment(
        request_id=request.request_id,
        workflow_id=request.workflow_id,
        account=request.account,
        sku=request.sku,
        results=tuple(AssignmentResult(email=email, state=state) for email in request.emails),
        journal=(entry,),
        allowed=allowed(AssignmentMachine, state),
    )


def event_leading_to(state: AssignmentState) -> str:
    """Return the event that leads to `state`."""
    return next(
        event
        for (origin, event), target in transitions(AssignmentMachine).items()
        if target == state.value != origin
    )
