"""The machine of one user's assignment (ASG)."""

from datetime import datetime

from statemachine.states import States

from domain.assignment import AssignLicenses, Assignment, AssignmentResult, AssignmentState
from domain.error import ErrorCode
from domain.journal import JournalEntry
from states.lifecycle import LifecycleMachine, allowed, transitions


class AssignmentMachine(LifecycleMachine):
    """One license of a pool on its way to one user, and back.

    A request of many users stands where the least settled of them stands, and moves as they
    do: it waits as long as anybody waits (ASG-5). A license is given back long after the request
    is over, so that `assigned` lasts, but nothing waits there.
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

    waits_for = {
        AssignmentState.REQUESTED: "the store to assign what is free",
        AssignmentState.WAITING: "a license, or a base license, to come free or to be bought",
        AssignmentState.ASSIGNED: "nothing: it is held until it is given back",
    }
    moved_by = {
        "assign": "the store: an admin asked, or a license came free",
        "wait": "the store: there was no license",
        "refuse": "the store: a rule said no",
        "release": "an admin, or the end of what was bought",
    }
    refusals = {state: ErrorCode.CONFLICT for state in AssignmentState}


def opening(request: AssignLicenses, *, at: datetime) -> Assignment:
    """The record of a request that has just been made."""
    state = AssignmentState.REQUESTED
    asked = JournalEntry(at=at, event="request", from_state=None, to_state=state, by=request.by)
    return Assignment(
        request_id=request.request_id,
        workflow_id=request.workflow_id,
        account=request.account,
        sku=request.sku,
        results=tuple(AssignmentResult(email=email, state=state) for email in request.emails),
        journal=(asked,),
        allowed=allowed(AssignmentMachine, state),
    )


def event_to(state: AssignmentState) -> str:
    """The one event that leads to `state`."""
    return next(
        event
        for (_, event), target in transitions(AssignmentMachine).items()
        if target == state.value
    )
