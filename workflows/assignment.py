"""Licenses on their way to the users they were asked for, until nobody waits any more."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from pydantic import TypeAdapter
    from statemachine.exceptions import TransitionNotAllowed

    from activities.assignment import (
        AssignmentActivities,
        CommitAssignment,
        NotifyHolders,
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
    from domain.error import Refused
    from domain.journal import ENGINE
    from states.assignment import AssignmentMachine, event_to, opening
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle, refusal_from
    from workflows.notice import start_notice
    from workflows.options import STORE

LOOK_EVERY = timedelta(days=1)
"""For what nobody announced: somebody may have changed the store by hand."""

_RESULTS = TypeAdapter(tuple[AssignmentResult, ...])

LOOKS_IN_ONE_RUN = 100
"""Some ten events each; then the history starts anew, whether it was news or a day that passed."""


@workflow.defn(name="AddonAssignment", failure_exception_types=[Refused, TransitionNotAllowed])
class AssignmentWorkflow:
    """Assigns what is free, and waits with those for whom there was nothing (ASG-5)."""

    @workflow.init
    def __init__(self, start: StartAssignment) -> None:
        """Stand where the run before stood, or at the beginning."""
        request = start.request
        self._request = request
        self._lifecycle = Lifecycle(
            AssignmentMachine,
            start.carried or opening(request, at=workflow.now()),
            search_attributes=search_attributes,
            facts=lambda assignment: facts(request, assignment),
        )
        self._licenses_freed = False
        self._looks = 0

    @property
    def _now(self) -> Assignment:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartAssignment) -> Assignment:
        """From the request until nobody waits; returns it as it stands then."""
        if self._now.state is AssignmentState.REQUESTED:
            await self._assign()
        while self._now.state is AssignmentState.WAITING:
            self._continue_if_long()
            await self._wait_for_licenses()
            await self._look()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._now

    # What happens by itself, in order.

    async def _assign(self) -> None:
        """Assign to all at once; who gets nothing waits, or is refused (ASG-5)."""
        try:
            told = await workflow.execute_activity_method(
                AssignmentActivities.commit_assignment,
                CommitAssignment(request=self._request, at=workflow.now()),
                **STORE | ActivityConfig(summary=f"Assign to {len(self._request.emails)} users"),
            )
        except ActivityError as failed:
            self._take(_all_refused(self._request, refusal_from(failed)), by=self._request.by)
            return
        if told.state is AssignmentState.RELEASED:
            # A worker died before it could say so, and the licenses were taken back meanwhile.
            self._take(_first_assigned(told), by=self._request.by)
        await self._follow(told, by=self._request.by)

    async def _wait_for_licenses(self) -> None:
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._licenses_freed,
                timeout=LOOK_EVERY,
                timeout_summary="Look for what nobody announced",
            )

    async def _look(self) -> None:
        """Take in what the store has done for those who wait; it serves the oldest first."""
        self._licenses_freed = False
        self._looks += 1
        told = await workflow.execute_activity_method(
            AssignmentActivities.read_assignment,
            ReadAssignment(request=self._request),
            **STORE | ActivityConfig(summary="Look who was served"),
        )
        await self._follow(told, by=ENGINE)

    async def _follow(self, told: Assignment, *, by: str) -> None:
        """Let the request stand where the store says, and tell whom that concerns."""
        before = self._now
        self._take(told.results, by=by)
        await self._tell(before)

    def _take(self, results: tuple[AssignmentResult, ...], *, by: str) -> None:
        told = self._now.model_copy(update={"results": results})
        told = told.model_copy(update={"waited": _waited(told)})
        if told.state is not self._now.state:
            told = self._lifecycle.next_record(
                event_to(told.state), by=by, note=told.counts, results=results, waited=told.waited
            )
        self._lifecycle.apply(told)

    async def _tell(self, before: Assignment) -> None:
        """Tell who has got a license, and the admin when the last one who waited was served.

        No license waits for an e-mail. Who lost one again is told by whoever took it back.
        """
        assigned = self._now.assigned_since(before)
        over = before.state is AssignmentState.WAITING and not self._now.state.open
        served = [
            result
            for result in self._now.results
            # Whom another request has served is told by that one.
            if result.email in self._now.waited and not result.held_before
        ]
        if assigned or (over and served):
            order = NotifyHolders(
                # Somebody more is settled each time.
                notice=f"{self._request.request_id}/{len(self._now.settled)}",
                account=self._request.account,
                sku=self._request.sku,
                results=assigned,
                asked_by=self._request.by,
                waited=tuple(served) if over else (),
            )
            await start_notice(
                order,
                id=order.workflow_id,
                summary=f"{self._request.sku} of {self._request.account}",
            )

    def _continue_if_long(self) -> None:
        long = self._looks >= LOOKS_IN_ONE_RUN or workflow.info().is_continue_as_new_suggested()
        if long and not self._licenses_freed:
            workflow.continue_as_new(StartAssignment(request=self._request, carried=self._now))

    # What others may ask for.

    @workflow.update
    async def report(self) -> Assignment:
        """The request as soon as what is free has been assigned, whoever waits then.

        It moves nothing, but a hundred callers who look again and again would wear a server out.
        """
        await workflow.wait_condition(lambda: self._now.state is not AssignmentState.REQUESTED)
        return self._now

    # What others may tell.

    @workflow.signal
    def licenses_freed(self) -> None:
        """Somebody who waited may have been served: the store is asked."""
        self._licenses_freed = True

    # What others may look at.

    @workflow.query
    def view(self) -> Assignment:
        """The request as it stands."""
        return self._now


def _all_refused(request: AssignLicenses, refused: Refused) -> tuple[AssignmentResult, ...]:
    """What the refusal says of each user; or it is the same for all of them."""
    if each := refused.details.get("results"):
        return _RESULTS.validate_python(each)
    return tuple(
        AssignmentResult(email=email, state=AssignmentState.REFUSED, error=refused.as_json())
        for email in request.emails
    )


def _first_assigned(told: Assignment) -> tuple[AssignmentResult, ...]:
    """What must have come before: a license that was released had been assigned."""
    return tuple(
        result.model_copy(update={"state": AssignmentState.ASSIGNED})
        if result.state is AssignmentState.RELEASED
        else result
        for result in told.results
    )


def _waited(told: Assignment) -> tuple[str, ...]:
    """Who waits now or has waited, in the order asked."""
    return tuple(
        result.email
        for result in told.results
        if result.state is AssignmentState.WAITING or result.email in told.waited
    )


def search_attributes(assignment: Assignment) -> TypedSearchAttributes:
    """What a request is found by; never an address."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, assignment.account),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, assignment.state.value),
        ]
    )


def facts(request: AssignLicenses, assignment: Assignment) -> Mapping[str, str]:
    """What an operations person wants to know of a request beside its state."""
    why = Counter(str(result.error["code"]) for result in assignment.results if result.error)
    return {
        "Licenses": f"{request.sku} {request.capacity or ''}".strip(),
        "Users": assignment.counts,
        "Why not": ", ".join(f"`{code}` ({count})" for code, count in why.items()),
        "All or none": "yes" if request.atomic else "no: who gets none waits",
        "Asked by": masked(request.by),
    }
