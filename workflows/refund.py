"""The workflow of one refund, from the request to its end at the payment provider (REF)."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypedDict

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ActivityConfig, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from statemachine.exceptions import TransitionNotAllowed

    from activities.refund import (
        BookRefund,
        LookUpRefund,
        NotifyPayee,
        PlanLookups,
        ReadRefund,
        RefundActivities,
        RequestRefund,
    )
    from domain.address import masked
    from domain.error import ErrorCode, Refused
    from domain.journal import ENGINE, OPERATOR
    from domain.money import Money
    from domain.refund import (
        CloseRefund,
        ConvertRefund,
        LateSuccess,
        PartState,
        Refund,
        RefundPart,
        RefundPlan,
        RefundState,
        RetryRefund,
        StartRefund,
        WatchRefund,
        late_lookups,
    )
    from states.refund import RefundMachine, event_from_parts, initial_record
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle, is_defect, refusal_from
    from workflows.notice import start_notice
    from workflows.options import STORE, billing


@workflow.defn(name="Refund", failure_exception_types=[Refused, TransitionNotAllowed])
class RefundWorkflow:
    """One refund: requested once, then looked up at the provider until its status is final."""

    @workflow.init
    def __init__(self, start: StartRefund) -> None:
        """Restore the state carried over from the previous run, if any."""
        plan = start.plan
        self._plan = plan
        self._lifecycle = Lifecycle(
            RefundMachine,
            start.carried or initial_record(plan),
            search_attributes=lambda refund: search_attributes(plan, refund),
            facts=facts,
        )
        self._lookups = plan.lookups
        self._request_task: asyncio.Task[None] | None = None
        # A finished refund is restarted to find a late success (REF-4).
        self._lookup_requested = self._refund.state.finished
        # Events are applied one at a time, in the order of arrival.
        self._update_lock = asyncio.Lock()

    @property
    def _refund(self) -> Refund:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartRefund) -> Refund:
        """Run the refund until it is settled, converted or closed; return its final record."""
        self._request_task = asyncio.create_task(self._lifecycle.retried(self._request))
        while self._lookup_requested or not self._refund.state.finished:
            await self._wait_for_change(await self._next_lookup_at())
            await self._lifecycle.retried(self._look_up_alone)
            await self._continue_if_long()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._refund

    # Steps

    async def _request(self) -> None:
        """Request each part that has not been requested, all at once (REF-5)."""
        parts = [part for part in self._refund.parts if part.state is PartState.REQUESTED]
        if parts:
            requested = await self._request_parts(parts)
            async with self._update_lock:
                await self._apply_provider_status(requested)
                await self._notify()

    async def _request_parts(self, parts: Sequence[RefundPart]) -> list[RefundPart]:
        return await asyncio.gather(*(self._request_part(part) for part in parts))

    async def _request_part(self, part: RefundPart) -> RefundPart:
        return await workflow.execute_activity_method(
            RefundActivities.request_refund,
            RequestRefund(plan=self._plan, part=part, at=workflow.now()),
            **billing(f"Request the refund of {part.payment}"),
        )

    async def _next_lookup_at(self) -> datetime | None:
        """Return the time of the next look-up; None if no part is open."""
        if not any(part.state.open for part in self._refund.parts):
            return None
        while not self._lookups:
            after = max(workflow.now(), self._plan.requested_at)
            self._lookups = await workflow.execute_activity_method(
                RefundActivities.plan_lookups,
                PlanLookups(plan=self._plan, after=after),
                **STORE | ActivityConfig(summary="Plan the next business days"),
            )
        if self._is_on_time:
            return min(self._lookups[0], self._plan.overdue_from)
        return self._lookups[0]

    @property
    def _is_on_time(self) -> bool:
        """True while it can become overdue. A retried part was late already, so it cannot."""
        return self._refund.state in {RefundState.REQUESTED, RefundState.PROCESSING} and all(
            part.attempt == 1 for part in self._refund.parts
        )

    async def _wait_for_change(self, due_at: datetime | None) -> None:
        state = self._refund.state
        left = due_at - workflow.now() if due_at else None
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    self._lookup_allowed
                    or self._refund.state is not state
                    or self._request_failure is not None
                ),
                timeout=max(left, timedelta()) if left is not None else None,
                timeout_summary="Next look-up at the payment provider",
            )
        if failure := self._request_failure:
            # Requests are retried without limit, so this is a defect, which must be visible.
            raise failure

    @property
    def _request_failure(self) -> BaseException | None:
        task = self._request_task
        return task.exception() if task and task.done() and not task.cancelled() else None

    @property
    def _is_requested(self) -> bool:
        return self._request_task is None or self._request_task.done()

    @property
    def _lookup_allowed(self) -> bool:
        """True if a look-up is requested and the request of every part has been answered."""
        return self._lookup_requested and self._is_requested

    async def _look_up_alone(self) -> None:
        async with self._update_lock:
            await self._look_up_if_due()

    async def _look_up_if_due(self) -> None:
        """Run a look-up that is due or requested; then mark a late refund as overdue (REF-3)."""
        now = workflow.now()
        due = [lookup for lookup in self._lookups if lookup <= now]
        late = self._is_on_time and self._plan.overdue_from <= now
        if due or late or self._lookup_allowed:
            self._lookups = self._lookups[len(due) :]
            await self._look_up()
        if late and self._is_on_time:
            await self._book("fall_due", self._refund)
            await self._notify()

    async def _look_up(self) -> None:
        """Read the provider's status and apply it (REF-2)."""
        if self._is_requested:
            self._lookup_requested = False
        before = self._refund
        parts = await workflow.execute_activity_method(
            RefundActivities.look_up_refund,
            LookUpRefund(plan=self._plan, parts=before.parts, at=workflow.now()),
            **billing("Look up the refund"),
        )
        await self._apply_provider_status(parts)
        if self._refund.state is not before.state:
            await self._notify()
        elif before.state is RefundState.SETTLED and self._refund.returned != before.returned:
            await self._notify(suffix=f"/{self._refund.returned.amount:f}")

    async def _apply_provider_status(self, parts: Sequence[RefundPart]) -> None:
        """Book and apply the provider's status of the parts."""
        changed = self._with_parts(parts)
        if changed.parts == self._refund.parts:
            return
        changed = changed.model_copy(update={"not_reversed": None})
        try:
            await self._book(event_from_parts(changed), changed)
        except Refused as refused:
            if is_defect(refused):
                raise
            await self._record_late_success(changed, refused)

    async def _record_late_success(self, changed: Refund, refused: Refused) -> None:
        """Record a late success whose credit is already used; notify the operators (REF-4)."""
        late = LateSuccess(at=workflow.now(), amount=changed.returned_since(self._refund))
        recorded = self._refund.not_reversed
        repeated = recorded and recorded.amount == late.amount
        changes = {"failure": refused.message, "not_reversed": recorded if repeated else late}
        await self._book(None, self._refund.model_copy(update=changes))
        if not repeated:
            await self._notify(suffix=f"/late/{late.amount.amount:f}")

    async def _book(
        self, event: str | None, changed: Refund, *, by: str = ENGINE, note: str | None = None
    ) -> None:
        """Book `changed` in the ledger, with `event` if there is one, then apply it."""
        refund = changed
        if event:
            changes: dict[str, object] = {
                "parts": changed.parts,
                "amount_open": changed.amount_open,
                "failure": changed.failure,
                "not_reversed": changed.not_reversed,
            }
            if event == "settle":
                changes["settled_at"] = workflow.now()
            refund = self._lifecycle.next_record(event, by=by, note=note, **changes)
        try:
            await workflow.execute_activity_method(
                RefundActivities.book_refund,
                BookRefund(plan=self._plan, refund=refund, at=workflow.now()),
                **STORE | ActivityConfig(summary=f"Book the refund: {refund.state}"),
            )
        except ActivityError as failure:
            raise refusal_from(failure) from None
        self._lifecycle.apply(refund)

    async def _notify(self, *, decided: Money | None = None, suffix: str = "") -> None:
        """Notify the payee of the state."""
        await start_notice(
            NotifyPayee(plan=self._plan, refund=self._refund, decided=decided),
            id=f"notice/{self._plan.refund_id}/{len(self._refund.journal)}{suffix}",
            summary=f"Refund {self._refund.state}: {masked(self._plan.payee)}",
        )

    async def _continue_if_long(self) -> None:
        if not workflow.info().is_continue_as_new_suggested() or self._refund.state.finished:
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._is_requested:
            plan = self._plan.model_copy(update={"lookups": self._lookups})
            workflow.continue_as_new(StartRefund(plan=plan, carried=self._refund))

    # Updates. Each applies the provider's current status first.

    @workflow.update
    async def convert(self, request: ConvertRefund) -> Refund:
        """Turn the failed parts into credit of the target account (REF-4)."""
        async with self._update_lock:
            await self._look_up()
            self._lifecycle.require("convert")
            failed = {part.payment for part in self._refund.parts if part.state.failed}
            await self._decide("convert", self._with_state(PartState.CONVERTED, failed))
            await self._notify()
            return self._refund

    @convert.validator
    def _validate_convert(self, request: ConvertRefund) -> None:
        self._lifecycle.require("convert")

    @workflow.update
    async def retry(self, request: RetryRefund) -> Refund:
        """Request the failed parts again, optionally to another payment method (REF-4)."""
        async with self._update_lock:
            await self._look_up()
            self._lifecycle.require("retry")
            failed = [part for part in self._refund.parts if part.state.failed]
            parts = await self._request_parts([_retried(part, request.method) for part in failed])
            changed = self._with_parts(parts)
            if all(part.state.failed for part in parts):
                # The attempt counts, so that the next retry is a new request to the provider.
                refused = [_with_next_attempt(part) for part in failed]
                await self._book(None, self._with_parts(refused))
                raise Refused(
                    ErrorCode.PAYMENT_DECLINED, f"The provider refused: {changed.failure}."
                )
            await self._book("retry", changed, by=OPERATOR, note=request.method)
            self._lookups = ()
            accepted = {part.payment for part in parts if not part.state.failed}
            await self._notify(decided=self._refund.total_of(accepted))
            return self._refund

    @retry.validator
    def _validate_retry(self, request: RetryRefund) -> None:
        self._lifecycle.require("retry")

    @workflow.update
    async def close(self, request: CloseRefund) -> Refund:
        """Write off the failed parts, or without any the open ones (REF-4)."""
        async with self._update_lock:
            await self._look_up()
            self._lifecycle.require("close")
            parts = self._refund.parts
            failed = {part.payment for part in parts if part.state.failed}
            given_up = failed or {part.payment for part in parts if part.state.open}
            changed = self._with_state(PartState.CLOSED, given_up)
            await self._decide("close", changed, note=request.reason)
            await self._notify(decided=changed.total_of(given_up))
            if not failed:
                await self._start_watch()
            return self._refund

    @close.validator
    def _validate_close(self, request: CloseRefund) -> None:
        self._lifecycle.require("close")

    # Steps of the updates

    async def _decide(self, event: str, changed: Refund, *, note: str | None = None) -> None:
        """Book an operator's decision; a refund with an open part resumes instead of ending."""
        any_open = any(part.state.open for part in changed.parts)
        await self._book("resume" if any_open else event, changed, by=OPERATOR, note=note)

    async def _start_watch(self) -> None:
        """Start the look-ups for a late success of the closed parts (REF-4)."""
        await workflow.start_child_workflow(
            RefundWatchWorkflow.run,
            WatchRefund(plan=self._plan, closed_at=workflow.now()),
            id=f"watch/{self._plan.refund_id}",
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"Closed refund: {masked(self._plan.payee)}",
        )

    def _with_parts(self, parts: Sequence[RefundPart]) -> Refund:
        by_payment = {part.payment: part for part in parts}
        return self._refund.with_parts(
            tuple(by_payment.get(part.payment, part) for part in self._refund.parts)
        )

    def _with_state(self, state: PartState, payments: Collection[str]) -> Refund:
        return self._with_parts(
            [
                part.model_copy(update={"state": state})
                for part in self._refund.parts
                if part.payment in payments
            ]
        )

    # Signals

    @workflow.signal
    def provider_notified(self, provider_id: str) -> None:
        """Request a look-up. A notification may be old or forged, so its content is not used."""
        self._lookup_requested = True

    # Queries

    @workflow.query
    def view(self) -> Refund:
        """Return the current record."""
        return self._refund


@workflow.defn(name="RefundWatch")
class RefundWatchWorkflow:
    """Look-ups of a closed refund, for a late success (REF-4)."""

    @workflow.run
    async def run(self, watch: WatchRefund) -> None:
        """Restart the refund at each planned time; it settles if the provider reports success."""
        plan = watch.plan
        business_days = await workflow.execute_activity_method(
            RefundActivities.plan_lookups,
            PlanLookups(plan=plan, after=max(watch.closed_at, plan.requested_at)),
            **STORE | ActivityConfig(summary="Plan the next business days"),
        )
        for lookup_at in late_lookups(watch.closed_at, business_days):
            left = lookup_at - workflow.now()
            await workflow.sleep(max(left, timedelta()), summary="Next look-up for a late success")
            stored = await workflow.execute_activity_method(
                RefundActivities.read_refund,
                ReadRefund(refund_id=plan.refund_id),
                **STORE | ActivityConfig(summary="Read the refund"),
            )
            if not stored.may_arrive_late:
                return
            await self._run_refund(StartRefund(plan=plan, carried=stored))

    async def _run_refund(self, start: StartRefund) -> None:
        # The refund may run already or be ended from outside; the next look-up follows anyway.
        with suppress(ChildWorkflowError, WorkflowAlreadyStartedError):
            await workflow.execute_child_workflow(
                RefundWorkflow.run,
                start,
                **start_options(start),
                parent_close_policy=ParentClosePolicy.ABANDON,
            )


def _retried(part: RefundPart, method: str | None) -> RefundPart:
    return _with_next_attempt(part).model_copy(
        update={
            "state": PartState.REQUESTED,
            "provider_id": None,
            "failure": None,
            "to_method": method,
        }
    )


def _with_next_attempt(part: RefundPart) -> RefundPart:
    return part.model_copy(update={"attempt": part.attempt + 1})


class RefundStartOptions(TypedDict):
    """The options of every start of a refund, by a parent or a client."""

    id: str
    search_attributes: TypedSearchAttributes
    static_summary: str


def start_options(start: StartRefund) -> RefundStartOptions:
    """Return the id, the search attributes and the summary of the refund."""
    plan = start.plan
    return RefundStartOptions(
        id=plan.workflow_id,
        search_attributes=search_attributes(plan, start.carried or initial_record(plan)),
        static_summary=f"Refund to {masked(plan.payee)}",
    )


def search_attributes(plan: RefundPlan, refund: Refund) -> TypedSearchAttributes:
    """Return the search attributes of a refund; never an amount."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, plan.target),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, refund.state.value),
            SearchAttributePair(search_attribute.DEADLINE, plan.overdue_from),
        ]
    )


def facts(refund: Refund) -> Mapping[str, str]:
    """Return the facts that Current Details show, by name."""
    first, last = refund.arrives_between
    return {
        "Amount": f"{refund.amount.amount:f} {refund.amount.currency}",
        "Still open": f"{refund.amount_open.amount:f} {refund.amount_open.currency}",
        "Arrives between": f"{first} and {last}",
        "Parts": ", ".join(f"`{part.payment}` {part.state}" for part in refund.parts),
        "Failure": refund.failure or "",
    }
