"""The workflow of one refund, from the request to its end at the payment provider (REF)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypedDict

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)
from temporalio.workflow import ActivityConfig, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from statemachine.exceptions import TransitionNotAllowed

    from activities.refund import (
        NO_ANSWER,
        BookRefund,
        LookUpRefund,
        PlanLookups,
        ReadRefund,
        RefundActivities,
        RefundLookedUp,
        RequestRefund,
    )
    from domain.address import masked
    from domain.error import ErrorCode, Refused, unless_refused
    from domain.journal import ENGINE, OPERATOR
    from domain.refund import (
        CloseRefund,
        ConvertRefund,
        LateSuccess,
        LookupFailure,
        PartReport,
        PartState,
        Refund,
        RefundChange,
        RefundPart,
        RefundPlan,
        RefundState,
        RefundSummary,
        RetryRefund,
        StartRefund,
        WatchRefund,
        late_lookups,
    )
    from domain.text import code_span
    from states.refund import RefundMachine, event_from_parts, initial_record
    from workflows import search_attribute
    from workflows.cancellation import uncancelled
    from workflows.lifecycle import MAX_NOTE_LENGTH, Lifecycle
    from workflows.options import ANSWER_WITHIN, LOOKUP_WITHIN, STORE, billing


MAX_PARTS_SHOWN = 10
"""The parts that Current Details name; of more they show the number in each state."""

PARTS_IN_BATCH = 20
"""The parts that one activity requests or looks up (OPS-7)."""

BATCHES_AT_ONCE = 4
"""The activities of one refund that call the payment provider at the same time."""

REQUEST_UNANSWERED = "the provider has not answered the request"
"""The reason of a look-up of parts whose request is still being retried."""

CANCELLATION_NOTE = "Cancelled in Temporal; the refund continues."

Reports = Sequence[PartReport]


@workflow.defn(name="Refund", failure_exception_types=[Refused, TransitionNotAllowed])
class RefundWorkflow:
    """One refund: requested once, then looked up at the provider until its status is final.

    Requests and look-ups run in tasks of their own: neither lateness nor an operator's decision
    waits for the provider (OPS-3).
    """

    @workflow.init
    def __init__(self, start: StartRefund) -> None:
        """Restore the state carried over from the previous run, if any."""
        plan = start.plan
        self._plan, self._lookups = plan, plan.lookups
        self._lifecycle = Lifecycle(
            RefundMachine,
            start.carried or initial_record(plan),
            search_attributes=lambda refund: search_attributes(plan, refund),
            facts=lambda refund: facts(plan, refund, self._lookups),
        )
        self._request_task: asyncio.Task[None] | None = None
        self._lookup_task: asyncio.Task[None] | None = None
        # A finished refund is restarted to find a late success (REF-4).
        self._lookup_requested = self._refund.state.finished
        self._cancellations = 0
        # Changes are applied one at a time. Nobody waits for the provider under this lock,
        # except a retry, and for a short time.
        self._update_lock = asyncio.Lock()

    @property
    def _refund(self) -> Refund:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartRefund) -> RefundSummary:
        """Run the refund until it is settled, converted or closed, also when it is cancelled."""
        await uncancelled(self._run(), self._note_cancellation)
        return self._refund.summary

    async def _run(self) -> None:
        self._request_task = asyncio.create_task(self._lifecycle.retried(self._request_unanswered))
        while not self._is_done:
            await self._wait_for_change()
            await self._lifecycle.retried(self._record_cancellations)
            await self._lifecycle.retried(self._fall_due_if_late)
            await self._continue_if_long()
            self._start_lookup_if_due()
        await workflow.wait_condition(workflow.all_handlers_finished)

    # Steps

    async def _request_unanswered(self) -> None:
        """Request each part that has no answer yet, until each has one (REF-5)."""
        parts = [part for part in self._refund.parts if part.state is PartState.REQUESTED]
        await self._request(parts, self._apply_answers)

    async def _request(
        self, parts: Sequence[RefundPart], received: Callable[[Reports], Awaitable[None]]
    ) -> None:
        """Request the parts in batches; pass the answers to `received` as they arrive."""
        slots = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def request_batch(unanswered: Sequence[RefundPart]) -> None:
            unclear = False
            while unanswered:
                async with slots:
                    answers = await self._request_batch(unanswered, unclear=unclear)
                await received(answers)
                answered = {answer.payment for answer in answers}
                unanswered = [part for part in unanswered if part.payment not in answered]
                unclear = True

        await asyncio.gather(*(request_batch(batch) for batch in _batches(parts)))

    async def _request_batch(self, parts: Sequence[RefundPart], *, unclear: bool) -> Reports:
        return await workflow.execute_activity_method(
            RefundActivities.request_refund,
            RequestRefund(
                refund_id=self._plan.refund_id,
                account=self._plan.source,
                parts=tuple(parts),
                at=workflow.now(),
                unclear=unclear,
            ),
            **billing(f"Request the refund of {_named(part.payment for part in parts)}"),
        )

    async def _apply_answers(self, reports: Reports) -> None:
        async with self._update_lock:
            await self._apply(reports, self._refund.lookup_failure)

    async def _wait_for_change(self) -> None:
        """Wait until a step is due."""
        due_at = await self._next_step_at()
        state, looking_up = self._refund.state, self._is_looking_up
        left = due_at - workflow.now() if due_at else None
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    self._is_done
                    or self._cancellations > 0
                    or self._lookup_allowed
                    or self._defect is not None
                    or self._refund.state is not state
                    or self._is_looking_up is not looking_up
                ),
                timeout=max(left, timedelta()) if left is not None else None,
                timeout_summary="Next look-up at the payment provider",
            )
        if defect := self._defect:
            # Failures of the provider are results, so this is a defect, which must be visible.
            raise defect

    async def _next_step_at(self) -> datetime | None:
        """Return the time of the next look-up, or of becoming overdue; None if there is none."""
        steps = [self._plan.overdue_from] if self._is_on_time else []
        if not self._is_looking_up and any(part.state.open for part in self._refund.parts):
            steps.append(await self._next_lookup_at())
        return min(steps, default=None)

    async def _next_lookup_at(self) -> datetime:
        while not self._lookups:
            after = max(workflow.now(), self._plan.requested_at)
            self._lookups = await workflow.execute_activity_method(
                RefundActivities.plan_lookups,
                PlanLookups(refund_id=self._plan.refund_id, after=after),
                **STORE | ActivityConfig(summary="Plan the next business days"),
            )
            self._publish()
        return self._lookups[0]

    def _publish(self) -> None:
        """Publish the time of the next look-up."""
        self._lifecycle.apply(self._refund)

    @property
    def _is_done(self) -> bool:
        pending = self._lookup_requested or self._is_looking_up or self._cancellations > 0
        return self._refund.state.finished and not pending

    @property
    def _is_on_time(self) -> bool:
        """True while it can become overdue. A retried part was late already, so it cannot."""
        return self._refund.state in {RefundState.REQUESTED, RefundState.PROCESSING} and all(
            part.attempt == 1 for part in self._refund.parts
        )

    @property
    def _is_late(self) -> bool:
        return self._is_on_time and self._plan.overdue_from <= workflow.now()

    @property
    def _is_requested(self) -> bool:
        return self._request_task is None or self._request_task.done()

    @property
    def _is_looking_up(self) -> bool:
        return self._lookup_task is not None and not self._lookup_task.done()

    @property
    def _lookup_allowed(self) -> bool:
        """True if a look-up is requested and can start."""
        return self._lookup_requested and self._is_requested and not self._is_looking_up

    @property
    def _defect(self) -> BaseException | None:
        """The exception of a task, if any."""
        tasks = (self._request_task, self._lookup_task)
        ended = (task for task in tasks if task and task.done() and not task.cancelled())
        failures = (task.exception() for task in ended)
        # A closed refund cancels its requests.
        return next((each for each in failures if each and not is_cancelled_exception(each)), None)

    def _note_cancellation(self) -> None:
        self._cancellations += 1

    async def _record_cancellations(self) -> None:
        """Record a cancellation of the workflow, which the refund survives (OPS-10)."""
        if not self._cancellations:
            return
        async with self._update_lock:
            if self._refund.state is not RefundState.SETTLED:
                await self._book(
                    "cancel_requested", self._refund, by=OPERATOR, note=CANCELLATION_NOTE
                )
        self._cancellations = 0

    async def _fall_due_if_late(self) -> None:
        """Mark a late refund as overdue, after a last look-up that takes seconds at most (REF-3).

        The calendar decides, whether or not the provider answers (OPS-3).
        """
        if not self._is_late:
            return
        await self._look_up(ANSWER_WITHIN)
        async with self._update_lock:
            if self._is_late:
                await self._book("fall_due", self._refund)

    async def _continue_if_long(self) -> None:
        if not workflow.info().is_continue_as_new_suggested():
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        idle = self._is_requested and not self._is_looking_up and not self._update_lock.locked()
        asked = self._lookup_requested or self._cancellations
        if idle and not asked and not self._refund.state.finished:
            plan = self._plan.model_copy(update={"lookups": self._lookups})
            workflow.continue_as_new(StartRefund(plan=plan, carried=self._refund))

    def _start_lookup_if_due(self) -> None:
        """Start a look-up that is planned or requested, unless one is running (REF-2)."""
        now = workflow.now()
        due = [lookup for lookup in self._lookups if lookup <= now]
        if self._is_looking_up or not (due or self._lookup_allowed):
            return
        self._lookups = self._lookups[len(due) :]
        if self._is_requested:
            self._lookup_requested = False
        self._lookup_task = asyncio.create_task(self._lifecycle.retried(self._look_up_as_planned))
        self._publish()

    async def _look_up_as_planned(self) -> None:
        await self._look_up(LOOKUP_WITHIN)

    async def _look_up(self, within: timedelta) -> bool:
        """Apply the provider's status; return true if it has reported that of each part."""
        reports, failures = await self._read_status(within)
        if not self._is_requested:
            unanswered = [part.state for part in self._refund.parts].count(PartState.REQUESTED)
            failures[REQUEST_UNANSWERED] = unanswered
        async with self._update_lock:
            failure = self._refund.lookup_failure
            # Only a planned look-up waits long enough to call the provider unreachable.
            if within == LOOKUP_WITHIN or not failures:
                failure = self._lookup_failure(failures)
            await self._apply(reports, failure)
        return not failures

    async def _read_status(self, within: timedelta) -> tuple[list[PartReport], dict[str, int]]:
        """Return the changes that the provider reports, and the failures by reason.

        After a batch without any answer no further one is looked up.
        """
        reports, failures = list[PartReport](), Counter[str]()
        slots = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def look_up_batch(batch: Sequence[RefundPart]) -> None:
            async with slots:
                if NO_ANSWER in failures:
                    return
                try:
                    found = await self._look_up_batch(batch, within)
                except ActivityError:
                    found = RefundLookedUp(failures={NO_ANSWER: len(batch)})
                reports.extend(found.reports)
                failures.update(found.failures)

        parts = [part for part in self._refund.parts if part.may_change]
        await asyncio.gather(*(look_up_batch(batch) for batch in _batches(parts)))
        return reports, failures

    async def _look_up_batch(
        self, parts: Sequence[RefundPart], within: timedelta
    ) -> RefundLookedUp:
        return await workflow.execute_activity_method(
            RefundActivities.look_up_refund,
            LookUpRefund(
                refund_id=self._plan.refund_id,
                account=self._plan.source,
                payments=tuple(part.payment for part in parts),
                at=workflow.now(),
            ),
            **billing(f"Look up the refund of {_named(part.payment for part in parts)}")
            | ActivityConfig(schedule_to_close_timeout=within),
        )

    def _lookup_failure(self, failures: Mapping[str, int]) -> LookupFailure | None:
        """Return the record of the failures; its time is that of the first look-up that failed."""
        if not failures or self._refund.state.finished:
            return None
        known, total = self._refund.lookup_failure, len(self._refund.parts)
        return LookupFailure(
            since=known.since if known else workflow.now(),
            reason="; ".join(
                f"{reason} ({count} of {total} payments)" for reason, count in failures.items()
            ),
        )

    async def _apply(self, reports: Reports, failure: LookupFailure | None) -> None:
        """Book and apply the provider's status of the parts."""
        before, event = self._refund, None
        changes: dict[str, object] = {"lookup_failure": failure}
        changed = before.with_reports(reports)
        if changed.parts == before.parts:
            changed = before
        else:
            event, changes["not_reversed"] = event_from_parts(changed), None
        changed = changed.model_copy(update=changes)
        if changed == before:
            return
        try:
            await self._book(event, changed)
        except Refused as refused:
            if refused.code is not ErrorCode.CONFLICT:
                raise
            await self._record_late_success(changed, refused)

    async def _record_late_success(self, changed: Refund, refused: Refused) -> None:
        """Record a late success whose credit is already used, for the operators (REF-4)."""
        late = LateSuccess(at=workflow.now(), amount=changed.returned_since(self._refund))
        recorded = self._refund.not_reversed
        repeated = recorded and recorded.amount == late.amount
        changes = {"failure": refused.message, "not_reversed": recorded if repeated else late}
        await self._book(None, self._refund.model_copy(update=changes))

    async def _book(
        self, event: str | None, changed: Refund, *, by: str = ENGINE, note: str | None = None
    ) -> bool:
        """Book `changed` in the ledger, with `event` if there is one, then apply it.

        The store keeps a later record, which this workflow has lost by a reset: that one is
        applied instead, and the result is false.
        """
        before, refund = self._refund, changed
        if event:
            changes: dict[str, object] = {
                name: getattr(changed, name)
                for name in ("parts", "amount_open", "failure", "not_reversed", "lookup_failure")
            }
            if event == "settle":
                changes["settled_at"] = workflow.now()
            refund = self._lifecycle.next_record(event, by=by, note=note, **changes)
        if refund.state.finished:
            refund = refund.model_copy(update={"lookup_failure": None})
        kept = unless_refused(
            await workflow.execute_activity_method(
                RefundActivities.book_refund,
                BookRefund(
                    refund_id=self._plan.refund_id,
                    change=RefundChange.between(before, refund),
                    at=workflow.now(),
                ),
                **STORE | ActivityConfig(summary=f"Book the refund: {refund.state}"),
            )
        )
        self._lifecycle.apply(kept or refund)
        return kept is None

    # Updates. Each applies the provider's current status first, if it reports it in time.

    @workflow.update
    async def convert(self, request: ConvertRefund) -> RefundSummary:
        """Turn the failed parts into credit of the target account (REF-4)."""
        await self._require_status()
        async with self._update_lock:
            self._lifecycle.require("convert")
            failed = {part.payment for part in self._refund.parts if part.state.failed}
            changed = self._with_state(PartState.CONVERTED, failed)
            await self._decide("convert", changed, by=request.by)
            return self._refund.summary

    @convert.validator
    def _validate_convert(self, request: ConvertRefund) -> None:
        self._lifecycle.require("convert")

    @workflow.update
    async def retry(self, request: RetryRefund) -> RefundSummary:
        """Request the failed parts again, optionally to another payment method (REF-4)."""
        await self._require_status()
        async with self._update_lock:
            self._lifecycle.require("retry")
            failed = [part for part in self._refund.parts if part.state.failed]
            await self._request_again([_retried(part, request.method) for part in failed], request)
            return self._refund.summary

    @retry.validator
    def _validate_retry(self, request: RetryRefund) -> None:
        self._lifecycle.require("retry")

    @workflow.update
    async def close(self, request: CloseRefund) -> RefundSummary:
        """Write off the failed parts, or those of an overdue refund that are open (REF-4).

        The provider's status is applied first if it answers in time (OPS-3).
        """
        await self._look_up(ANSWER_WITHIN)
        async with self._update_lock:
            self._lifecycle.require("close")
            parts = self._refund.parts
            given_up = {part.payment for part in parts if part.state.failed}
            unknown = self._refund.state is RefundState.OVERDUE
            if unknown:
                given_up |= {part.payment for part in parts if part.state.open}
            changed = self._with_state(PartState.CLOSED, given_up)
            await self._decide("close", changed, by=request.by, note=request.reason)
            if unknown:
                await self._start_watch()
            return self._refund.summary

    @close.validator
    def _validate_close(self, request: CloseRefund) -> None:
        self._lifecycle.require("close")

    # Steps of the updates

    async def _require_status(self) -> None:
        """Apply the provider's status. Raises Refused if it does not report it in time."""
        if not await self._look_up(ANSWER_WITHIN):
            raise Refused(
                ErrorCode.CONFLICT,
                "The payment provider does not report the status of the refund; nothing was"
                " changed. Try again later.",
            )

    async def _request_again(self, parts: Sequence[RefundPart], request: RetryRefund) -> None:
        """Request the parts with a new key, and wait for the answers for a short time.

        Without them the parts stay `requested`, and the request continues. Raises
        Refused(payment_declined).
        """
        reports = list[PartReport]()

        async def keep(answers: Reports) -> None:
            reports.extend(answers)

        requesting = asyncio.create_task(self._request(parts, keep))
        await workflow.wait([requesting], timeout=ANSWER_WITHIN.total_seconds())
        answered = requesting.done()
        if answered:
            requesting.result()
        changed = self._with_parts(parts).with_reports(reports if answered else ())
        requested = {part.payment for part in parts}
        accepted = {
            part.payment
            for part in changed.parts
            if part.payment in requested and not part.state.failed
        }
        if not accepted:
            # The attempt counts, so that the next retry is a new request to the provider.
            refused = [part for part in self._refund.parts if part.payment in requested]
            await self._book(None, self._with_parts([_with_next_attempt(part) for part in refused]))
            raise Refused(ErrorCode.PAYMENT_DECLINED, f"The provider refused: {changed.failure}.")
        if not await self._book("retry", changed, by=request.by, note=request.method):
            raise self._lifecycle.refusal("retry")
        self._lookups = ()
        if not answered:
            self._request_task = asyncio.create_task(self._await_request(requesting, reports))

    async def _await_request(self, requesting: asyncio.Task[None], reports: Reports) -> None:
        await requesting
        await self._lifecycle.retried(partial(self._apply_answers, reports))

    async def _decide(
        self, event: str, changed: Refund, *, by: str, note: str | None = None
    ) -> None:
        """Book a decision; a refund with an open part resumes instead of ending."""
        any_open = any(part.state.open for part in changed.parts)
        if not await self._book("resume" if any_open else event, changed, by=by, note=note):
            raise self._lifecycle.refusal(event)
        if self._refund.state.finished:
            self._lookup_requested = False
            for task in (self._request_task, self._lookup_task):
                if task:
                    task.cancel()

    async def _start_watch(self) -> None:
        """Start the look-ups for a late success of the closed parts (REF-4)."""
        await workflow.start_child_workflow(
            RefundWatchWorkflow.run,
            WatchRefund(plan=self._plan, closed_at=workflow.now()),
            **watch_options(self._plan),
            parent_close_policy=ParentClosePolicy.ABANDON,
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
        await uncancelled(self._run(watch), self._note_cancellation)

    async def _run(self, watch: WatchRefund) -> None:
        plan = watch.plan
        business_days = await workflow.execute_activity_method(
            RefundActivities.plan_lookups,
            PlanLookups(refund_id=plan.refund_id, after=max(watch.closed_at, plan.requested_at)),
            **STORE | ActivityConfig(summary="Plan the next business days"),
        )
        for lookup_at in late_lookups(watch.closed_at, business_days):
            left = lookup_at - workflow.now()
            if left < timedelta():
                # Before a restart.
                continue
            await workflow.sleep(max(left, timedelta()), summary="Next look-up for a late success")
            stored = await workflow.execute_activity_method(
                RefundActivities.read_refund,
                ReadRefund(refund_id=plan.refund_id),
                **STORE | ActivityConfig(summary="Read the refund"),
            )
            if not stored.may_arrive_late:
                return
            await self._run_refund(StartRefund(plan=plan, carried=stored))

    def _note_cancellation(self) -> None:
        # The refund has ended, so its journal has no entry of this.
        workflow.logger.warning("a cancellation is ignored: the closed refund may still arrive")

    async def _run_refund(self, start: StartRefund) -> None:
        # The refund may run already or be ended from outside; the next look-up follows anyway.
        with suppress(ChildWorkflowError, WorkflowAlreadyStartedError):
            await workflow.execute_child_workflow(
                RefundWorkflow.run,
                start,
                **start_options(start),
                parent_close_policy=ParentClosePolicy.ABANDON,
            )


def _batches(parts: Sequence[RefundPart]) -> Iterator[Sequence[RefundPart]]:
    for begin in range(0, len(parts), PARTS_IN_BATCH):
        yield parts[begin : begin + PARTS_IN_BATCH]


def _named(payments: Iterable[str]) -> str:
    """Return the first payment and the number of the others; summaries are short."""
    first, *others = payments
    return f"{first} and {len(others)} more" if others else first


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
    """The options of every start of a refund or its watch, by a parent or a client."""

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


def watch_options(plan: RefundPlan) -> RefundStartOptions:
    """Return the id, the search attributes and the summary of the look-ups of a closed refund."""
    return RefundStartOptions(
        id=plan.watch_workflow_id,
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(search_attribute.ACCOUNT_ID, plan.target)]
        ),
        static_summary=f"Closed refund: {masked(plan.payee)}",
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


def facts(plan: RefundPlan, refund: Refund, lookups: Sequence[datetime]) -> Mapping[str, str]:
    """Return the facts that Current Details show, by name."""
    first, last = refund.arrives_between
    any_open = any(part.state.open for part in refund.parts)
    failing = refund.lookup_failure
    return {
        "Refund": f"`{refund.refund_id}`",
        "Payee": masked(plan.payee),
        "Amount": f"{refund.amount.amount:f} {refund.amount.currency}",
        "Still open": f"{refund.amount_open.amount:f} {refund.amount_open.currency}",
        "Arrives between": f"{first} and {last}",
        "Next look-up": _instant(lookups[0]) if lookups and any_open else "",
        "Parts": _parts_text(refund.parts),
        "Failure": code_span((refund.failure or "")[:MAX_NOTE_LENGTH]),
        "Look-ups fail": f"{code_span(failing.reason)}, since {_instant(failing.since)}"
        if failing
        else "",
    }


def _parts_text(parts: Sequence[RefundPart]) -> str:
    if len(parts) <= MAX_PARTS_SHOWN:
        return ", ".join(f"{code_span(part.payment)} {part.state}" for part in parts)
    states = Counter(part.state.value for part in parts)
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
