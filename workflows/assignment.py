"""The workflow of one request to assign licenses (ASG)."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from pydantic import TypeAdapter
    from statemachine.exceptions import TransitionNotAllowed

    from activities.assignment import (
        AssignmentActivities,
        CommitAssignment,
        ReadAssignment,
    )
    from domain.address import masked
    from domain.assignment import (
        AssignLicenses,
        Assignment,
        AssignmentResult,
        AssignmentState,
        StartAssignment,
    )
    from domain.error import Refusal, Refused
    from domain.journal import ENGINE, OPERATOR
    from domain.license import license_name
    from states.assignment import AssignmentMachine, event_leading_to, initial_record
    from workflows import search_attribute
    from workflows.cancellation import uncancelled
    from workflows.lifecycle import Lifecycle
    from workflows.options import STORE

REFRESH_EVERY = timedelta(days=1)
"""Interval of refreshes without a signal: a manual change of the store sends none."""

REFRESHES_PER_RUN = 100
"""Refreshes before continue-as-new; each takes some ten events."""

MAX_USERS_SHOWN = 10
"""Waiting users whom Current Details name."""

CANCELLATION_NOTE = "Users wait for licenses, so it continues."
"""The note of a cancellation in Temporal (OPS-10)."""

_RESULTS = TypeAdapter(tuple[AssignmentResult, ...])


@workflow.defn(name="AddonAssignment", failure_exception_types=[Refused, TransitionNotAllowed])
class AssignmentWorkflow:
    """One request: assigns the free licenses; the other users wait or are refused (ASG-5)."""

    refreshes_per_run = REFRESHES_PER_RUN

    @workflow.init
    def __init__(self, start: StartAssignment) -> None:
        """Restore the state carried over from the previous run, if any."""
        request = start.request
        self._request = request
        self._lifecycle = Lifecycle(
            AssignmentMachine,
            start.carried or initial_record(request, at=workflow.now()),
            search_attributes=search_attributes,
            facts=lambda assignment: facts(request, assignment),
        )
        self._licenses_freed = False
        self._refreshes = 0

    @property
    def _assignment(self) -> Assignment:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartAssignment) -> Assignment:
        """Run the request until no user waits; return its final record."""
        return await uncancelled(self._run(), self._record_cancellation)

    async def _run(self) -> Assignment:
        if self._assignment.state is AssignmentState.REQUESTED:
            await self._assign()
        while self._assignment.state is AssignmentState.WAITING:
            self._continue_if_long()
            await self._wait_for_licenses()
            await self._refresh_from_store()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._assignment

    # Steps

    async def _assign(self) -> None:
        """Assign to all users at once (ASG-5)."""
        stored = await workflow.execute_activity_method(
            AssignmentActivities.commit_assignment,
            CommitAssignment(request=self._request, at=workflow.now()),
            **STORE | ActivityConfig(summary=f"Assign to {len(self._request.emails)} users"),
        )
        if isinstance(stored, Refusal):
            self._apply_results(_all_refused(self._request, stored), by=self._request.requested_by)
            return
        if stored.state is AssignmentState.RELEASED:
            # A retry after a crash, and the licenses were released in between.
            self._apply_results(_before_release(stored), by=self._request.requested_by)
        self._apply_results(stored.results, by=self._request.requested_by)

    async def _wait_for_licenses(self) -> None:
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._licenses_freed,
                timeout=REFRESH_EVERY,
                timeout_summary="Next refresh from the store",
            )

    async def _refresh_from_store(self) -> None:
        """Apply what the store has assigned to waiting users; it serves the oldest first."""
        self._licenses_freed = False
        self._refreshes += 1
        stored = await workflow.execute_activity_method(
            AssignmentActivities.read_assignment,
            ReadAssignment(request=self._request),
            **STORE | ActivityConfig(summary="Read the assignment"),
        )
        self._apply_results(stored.results, by=ENGINE)

    def _apply_results(self, results: tuple[AssignmentResult, ...], *, by: str) -> None:
        assignment = self._assignment.model_copy(update={"results": results})
        if assignment.state is not self._assignment.state:
            assignment = self._lifecycle.next_record(
                event_leading_to(assignment.state), by=by, note=assignment.counts, results=results
            )
        self._lifecycle.apply(assignment)

    def _record_cancellation(self) -> None:
        """Record that a cancellation was requested in Temporal, and continue (OPS-10)."""
        if self._assignment.state.open:
            self._lifecycle.apply(
                self._lifecycle.next_record("cancel_requested", by=OPERATOR, note=CANCELLATION_NOTE)
            )

    def _continue_if_long(self) -> None:
        suggested = workflow.info().is_continue_as_new_suggested()
        long = suggested or self._refreshes >= self.refreshes_per_run
        if long and not self._licenses_freed:
            workflow.continue_as_new(
                StartAssignment(request=self._request, carried=self._assignment)
            )

    # Updates

    @workflow.update
    async def report(self) -> Assignment:
        """Return the request once the free licenses are assigned, even if users still wait.

        An update, because a hundred callers that poll would overload the server.
        """
        await workflow.wait_condition(
            lambda: self._assignment.state is not AssignmentState.REQUESTED
        )
        return self._assignment

    # Signals

    @workflow.signal
    def licenses_freed(self) -> None:
        """Refresh from the store, which may have served a waiting user."""
        self._licenses_freed = True

    # Queries

    @workflow.query
    def view(self) -> Assignment:
        """Return the current record."""
        return self._assignment


def _all_refused(request: AssignLicenses, refused: Refusal) -> tuple[AssignmentResult, ...]:
    """Return the refusal of each user; without details all have the same one."""
    if each := refused.details.get("results"):
        return _RESULTS.validate_python(each)
    return tuple(
        AssignmentResult(
            email=email, state=AssignmentState.REFUSED, error=refused.as_error().as_json()
        )
        for email in request.emails
    )


def _before_release(stored: Assignment) -> tuple[AssignmentResult, ...]:
    """Return the results with `assigned` instead of `released`."""
    return tuple(
        result.model_copy(update={"state": AssignmentState.ASSIGNED})
        if result.state is AssignmentState.RELEASED
        else result
        for result in stored.results
    )


def search_attributes(assignment: Assignment) -> TypedSearchAttributes:
    """Return the search attributes of a request; never an address."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, assignment.account),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, assignment.state.value),
        ]
    )


def facts(request: AssignLicenses, assignment: Assignment) -> Mapping[str, str]:
    """Return the facts that Current Details show, by name."""
    reasons = Counter(str(result.error["code"]) for result in assignment.results if result.error)
    return {
        "Licenses": license_name(request.sku, request.capacity),
        "Users": assignment.counts,
        "Reasons": ", ".join(f"`{code}` ({count})" for code, count in reasons.items()),
        "Waiting users": _waiting_users(assignment),
        "Mode": "atomic" if request.atomic else "best effort",
        "Requested by": masked(request.by),
    }


def _waiting_users(assignment: Assignment) -> str:
    """Return who waits, for what and since when: all users of a request began at once."""
    waiting = [each for each in assignment.results if each.state is AssignmentState.WAITING]
    since = next((entry.at for entry in assignment.journal if entry.event == "wait"), None)
    if not waiting or since is None:
        return ""
    shown = [
        f"{masked(each.email)} (`{each.error['code']}`)" if each.error else masked(each.email)
        for each in waiting[:MAX_USERS_SHOWN]
    ]
    if hidden := len(waiting) - len(shown):
        shown.append(f"{hidden} more")
    return f"{', '.join(shown)}, since {since:%Y-%m-%d %H:%M} UTC"
