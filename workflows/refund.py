"""Money on its way back, from the request to the provider's last word."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

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
        PlanLookups,
        RecallRefund,
        RefundActivities,
        RequestRefund,
        TellPayee,
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
        RefundOrder,
        RefundPart,
        RefundState,
        RetryRefund,
        StartRefund,
        WatchRefund,
        late_lookups,
    )
    from states.refund import RefundMachine, event_of, opening
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle, refusal_in
    from workflows.notice import RefundNoticeWorkflow
    from workflows.options import STORE, billing

_TOLD_AFTERWARDS = "an-operators-word-is-told"
"""Earlier runs neither told of `close` and `retry` nor looked on; it can go when none is kept."""

_OPERATORS_TOLD = "a-late-success-is-told"
"""Earlier runs only kept it; it can go with them."""


@workflow.defn(name="Refund", failure_exception_types=[Refused, TransitionNotAllowed])
class RefundWorkflow:
    """Asks the provider, looks each business day, and says what the provider says (REF-2)."""

    @workflow.init
    def __init__(self, start: StartRefund) -> None:
        """Stand where the run before stood, or at the beginning."""
        order = start.order
        self._order = order
        self._lifecycle = Lifecycle(
            RefundMachine,
            start.carried or opening(order),
            search_attributes=lambda refund: search_attributes(order, refund),
            facts=facts,
        )
        self._lookups = order.lookups
        self._asking: asyncio.Task[None] | None = None
        # Who is started again after the end was: a late success has been reported (REF-4).
        self._notified = self._now.state.finished
        # What moves the refund happens one at a time, in the order of arrival.
        self._turn = asyncio.Lock()

    @property
    def _now(self) -> Refund:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartRefund) -> Refund:
        """From the request to its rest; returns the refund as it stands then."""
        self._asking = asyncio.create_task(self._ask_the_provider())
        while self._notified or not self._now.state.finished:
            await self._wait_for_news(await self._next_moment())
            async with self._turn:
                await self._follow()
            await self._continue_if_long()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._now

    # What happens by itself.

    async def _ask_the_provider(self) -> None:
        """Ask for each part that has not been asked for, all at once (REF-5)."""
        asked = [part for part in self._now.parts if part.state is PartState.REQUESTED]
        if asked:
            answers = await asyncio.gather(*(self._asked(part) for part in asked))
            async with self._turn:
                await self._bring_in(answers)
                await self._tell()

    async def _asked(self, part: RefundPart) -> RefundPart:
        return await workflow.execute_activity_method(
            RefundActivities.request_refund,
            RequestRefund(order=self._order, part=part, at=workflow.now()),
            **billing(f"Request the refund of {part.payment}"),
        )

    async def _next_moment(self) -> datetime | None:
        """When to look next; None while no part is open and only an operator can go on."""
        if not any(part.state.open for part in self._now.parts):
            return None
        while not self._lookups:
            after = max(workflow.now(), self._order.requested_at)
            self._lookups = await workflow.execute_activity_method(
                RefundActivities.plan_lookups,
                PlanLookups(order=self._order, after=after),
                **STORE | ActivityConfig(summary="Work out the next business days"),
            )
        return (
            min(self._lookups[0], self._order.late_from) if self._is_on_time else self._lookups[0]
        )

    @property
    def _is_on_time(self) -> bool:
        """Whether it may still become overdue; what is tried again was late before."""
        return self._now.state in {RefundState.REQUESTED, RefundState.PROCESSING} and all(
            part.attempt == 1 for part in self._now.parts
        )

    async def _wait_for_news(self, moment: datetime | None) -> None:
        state = self._now.state
        left = moment - workflow.now() if moment else None
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    self._may_look_now()
                    or self._now.state is not state
                    or self._failure() is not None
                ),
                timeout=max(left, timedelta()) if left is not None else None,
                timeout_summary="Ask the payment provider again",
            )
        if failure := self._failure():
            # Asking is retried for ever, so this is a fault of ours: it must be seen.
            raise failure

    def _failure(self) -> BaseException | None:
        asking = self._asking
        return asking.exception() if asking and asking.done() and not asking.cancelled() else None

    def _may_look_now(self) -> bool:
        """A notification that overtakes the provider's answer waits for it."""
        return self._notified and (self._asking is None or self._asking.done())

    async def _follow(self) -> None:
        """Look when it is time, or when the provider has sent word; then see whether it is late."""
        now = workflow.now()
        due = [moment for moment in self._lookups if moment <= now]
        late = self._is_on_time and self._order.late_from <= now
        if due or late or self._may_look_now():
            self._lookups = self._lookups[len(due) :]
            await self._look()
        if late and self._is_on_time:
            await self._move("fall_due", self._now)
            await self._tell()

    async def _look(self) -> None:
        """Take in what the provider says now (REF-2)."""
        if self._asking is None or self._asking.done():
            self._notified = False
        before = self._now
        told = await workflow.execute_activity_method(
            RefundActivities.look_up_refund,
            LookUpRefund(order=self._order, parts=self._now.parts, at=workflow.now()),
            **billing("Ask the provider how it stands"),
        )
        await self._bring_in(told)
        if self._now.state is not before.state:
            await self._tell()
        elif before.state is RefundState.SETTLED and self._now.returned != before.returned:
            await self._tell(about=f"/{self._now.returned.amount:f}")

    async def _bring_in(self, told: list[RefundPart] | tuple[RefundPart, ...]) -> None:
        """Let the refund follow the provider's word; the ledger first."""
        by_payment = {part.payment: part for part in told}
        parts = tuple(by_payment.get(part.payment, part) for part in self._now.parts)
        if parts == self._now.parts:
            return
        changed = self._now.with_parts(parts).model_copy(update={"not_reversed": None})
        try:
            await self._move(event_of(changed), changed)
        except Refused as refused:
            # A late success whose credit has been used already: for the operators (REF-4).
            late = LateSuccess(at=workflow.now(), amount=changed.returned_since(self._now))
            known = self._now.not_reversed
            same = known and known.amount == late.amount
            noted = {"failure": refused.message, "not_reversed": known if same else late}
            await self._move(None, self._now.model_copy(update=noted))
            if not same and workflow.patched(_OPERATORS_TOLD):
                await self._tell(about=f"/late/{late.amount.amount:f}")

    async def _move(
        self, event: str | None, changed: Refund, *, by: str = ENGINE, note: str | None = None
    ) -> None:
        """Bring the ledger to `changed`, by `event` if there is one, and then show it."""
        wanted = changed
        if event:
            changes: dict[str, object] = {
                "parts": changed.parts,
                "amount_open": changed.amount_open,
                "failure": changed.failure,
                "not_reversed": changed.not_reversed,
            }
            if event == "settle":
                changes["settled_at"] = workflow.now()
            wanted = self._lifecycle.foresee(event, by=by, note=note, **changes)
        try:
            await workflow.execute_activity_method(
                RefundActivities.book_refund,
                BookRefund(order=self._order, refund=wanted, at=workflow.now()),
                **STORE | ActivityConfig(summary=f"Bring the ledger to: {wanted.state}"),
            )
        except ActivityError as failed:
            raise refusal_in(failed) from None
        self._lifecycle.take(wanted)

    async def _tell(self, *, decided: Money | None = None, about: str = "") -> None:
        """Tell the payee where it stands; no money waits for an e-mail."""
        await workflow.start_child_workflow(
            RefundNoticeWorkflow.run,
            TellPayee(order=self._order, refund=self._now, decided=decided),
            id=f"notice/{self._order.refund_id}/{len(self._now.journal)}{about}",
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"Refund {self._now.state}: {masked(self._order.payee)}",
        )

    async def _continue_if_long(self) -> None:
        if not workflow.info().is_continue_as_new_suggested() or self._now.state.finished:
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._asking and self._asking.done():
            order = self._order.model_copy(update={"lookups": self._lookups})
            workflow.continue_as_new(StartRefund(order=order, carried=self._now))

    # What others may ask for.

    @workflow.update
    async def convert(self, order: ConvertRefund) -> Refund:
        """Turn what the provider calls failed into credit of the target account (REF-4)."""
        async with self._turn:
            # The provider has the last word before its failure becomes credit.
            await self._look()
            self._lifecycle.require("convert")
            failed = {part.payment for part in self._now.parts if part.state.failed}
            changed = self._with(PartState.CONVERTED, failed)
            await self._decide("convert", changed)
            await self._tell()
            return self._now

    @convert.validator
    def _may_convert(self, order: ConvertRefund) -> None:
        self._lifecycle.require("convert")

    @workflow.update
    async def retry(self, order: RetryRefund) -> Refund:
        """Ask the provider anew for what failed, perhaps with another method (REF-4)."""
        async with self._turn:
            await self._look()
            self._lifecycle.require("retry")
            anew = [
                part.model_copy(
                    update={
                        "state": PartState.REQUESTED,
                        "provider_id": None,
                        "failure": None,
                        "attempt": part.attempt + 1,
                        "to_method": order.method,
                    }
                )
                for part in self._now.parts
                if part.state.failed
            ]
            answers = {part.payment: part for part in await self._ask_anew(anew)}
            changed = self._now.with_parts(
                tuple(answers.get(part.payment, part) for part in self._now.parts)
            )
            if all(part.state.failed for part in answers.values()):
                await self._move(None, self._with_next_attempt())
                raise Refused(
                    ErrorCode.PAYMENT_DECLINED, f"The provider refused: {changed.failure}."
                )
            await self._move("retry", changed, by=OPERATOR, note=order.method)
            self._lookups = ()
            if workflow.patched(_TOLD_AFTERWARDS):
                taken = {part.payment for part in answers.values() if not part.state.failed}
                await self._tell(decided=self._now.total_of(taken))
            return self._now

    def _with_next_attempt(self) -> Refund:
        """What was known stays, but the next try is a request of its own."""
        return self._now.with_parts(
            tuple(
                part.model_copy(update={"attempt": part.attempt + 1}) if part.state.failed else part
                for part in self._now.parts
            )
        )

    async def _ask_anew(self, parts: list[RefundPart]) -> list[RefundPart]:
        return await asyncio.gather(*(self._asked(part) for part in parts))

    @retry.validator
    def _may_retry(self, order: RetryRefund) -> None:
        self._lifecycle.require("retry")

    @workflow.update
    async def close(self, order: CloseRefund) -> Refund:
        """Give up what is still open (REF-4)."""
        async with self._turn:
            # The provider has the last word before anybody gives up.
            await self._look()
            self._lifecycle.require("close")
            failed = any(part.state.failed for part in self._now.parts)
            given_up = {
                part.payment
                for part in self._now.parts
                if part.state.failed or (not failed and part.state.open)
            }
            changed = self._with(PartState.CLOSED, given_up)
            await self._decide("close", changed, note=order.reason)
            if workflow.patched(_TOLD_AFTERWARDS):
                await self._tell(decided=changed.total_of(given_up))
                if not failed:
                    await self._watch()
            return self._now

    @close.validator
    def _may_close(self, order: CloseRefund) -> None:
        self._lifecycle.require("close")

    async def _decide(self, event: str, changed: Refund, *, note: str | None = None) -> None:
        """An operator's word on what failed; while a part is still on its way, it goes on."""
        on_its_way = any(part.state.open for part in changed.parts)
        await self._move("resume" if on_its_way else event, changed, by=OPERATOR, note=note)

    async def _watch(self) -> None:
        """What the provider still has may arrive after all; nobody waits for that (REF-4)."""
        await workflow.start_child_workflow(
            RefundWatchWorkflow.run,
            WatchRefund(order=self._order, closed_at=workflow.now()),
            id=f"watch/{self._order.refund_id}",
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"Refund that was given up: {masked(self._order.payee)}",
        )

    def _with(self, state: PartState, payments: Collection[str]) -> Refund:
        return self._now.with_parts(
            tuple(
                part.model_copy(update={"state": state}) if part.payment in payments else part
                for part in self._now.parts
            )
        )

    # What others may tell.

    @workflow.signal
    def provider_notified(self, provider_id: str) -> None:
        """The provider has news; it is asked, for a notification may be old or forged."""
        self._notified = True

    # What others may look at.

    @workflow.query
    def view(self) -> Refund:
        """The refund as it stands."""
        return self._now


@workflow.defn(name="RefundWatch")
class RefundWatchWorkflow:
    """Looks for a while whether what an operator gave up has arrived after all (REF-4)."""

    @workflow.run
    async def run(self, watch: WatchRefund) -> None:
        """Wake the refund at each moment; it looks, and settles if the provider says so."""
        order = watch.order
        business_days = await workflow.execute_activity_method(
            RefundActivities.plan_lookups,
            PlanLookups(order=order, after=max(watch.closed_at, order.requested_at)),
            **STORE | ActivityConfig(summary="Work out the next business days"),
        )
        for moment in late_lookups(watch.closed_at, business_days):
            left = moment - workflow.now()
            await workflow.sleep(
                max(left, timedelta()), summary="Look whether it has arrived after all"
            )
            kept = await workflow.execute_activity_method(
                RefundActivities.recall_refund,
                RecallRefund(refund_id=order.refund_id),
                **STORE | ActivityConfig(summary="Look how the refund stands"),
            )
            if not kept.may_arrive_late:
                return
            await self._wake(StartRefund(order=order, carried=kept))

    async def _wake(self, start: StartRefund) -> None:
        # Who has woken it already, or ended it from outside, will not keep us from the next time.
        with suppress(ChildWorkflowError, WorkflowAlreadyStartedError):
            await workflow.execute_child_workflow(
                RefundWorkflow.run,
                start,
                id=start.order.workflow_id,
                parent_close_policy=ParentClosePolicy.ABANDON,
                search_attributes=search_attributes(
                    start.order, start.carried or opening(start.order)
                ),
                static_summary=f"Refund to {masked(start.order.payee)}",
            )


def search_attributes(order: RefundOrder, refund: Refund) -> TypedSearchAttributes:
    """What a refund is found by; never an amount."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, order.target),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, refund.state.value),
            SearchAttributePair(search_attribute.DEADLINE, order.late_from),
        ]
    )


def facts(refund: Refund) -> Mapping[str, str]:
    """What an operations person wants to know of a refund beside its state."""
    first, last = refund.arrives_between
    return {
        "Amount": f"{refund.amount.amount:f} {refund.amount.currency}",
        "Still open": f"{refund.amount_open.amount:f} {refund.amount_open.currency}",
        "Arrives between": f"{first} and {last}",
        "Parts": ", ".join(f"`{part.payment}` {part.state}" for part in refund.parts),
        "Failure": refund.failure or "",
    }
