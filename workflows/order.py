"""The workflow of one order, from the draft to the end of its last term (ADD)."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from statemachine.exceptions import TransitionNotAllowed

    from activities.order import (
        AmendOrder,
        ChargeOrder,
        ChargeOutcome,
        EndTerm,
        OrderActivities,
        OrderCharged,
        RecordOrder,
        Reduction,
        VoidOrder,
    )
    from domain.address import masked
    from domain.error import ErrorCode, Refused, unless_refused
    from domain.journal import ENGINE, OPERATOR
    from domain.money import Money
    from domain.order import (
        CANCELLED_AFTER_PAYMENT,
        ENDS_WITH_TERM,
        PAYMENT_DECLINED,
        REDUCED_WITH_TERM,
        REPLACED,
        REVIEW_LAPSED,
        CancelOrder,
        ChangeQuantity,
        ConfirmOrder,
        Order,
        OrderState,
        StartOrder,
        product_name,
    )
    from domain.text import code_span
    from states.lifecycle import after
    from states.order import OrderMachine, ending_event
    from workflows import search_attribute
    from workflows.cancellation import uncancelled
    from workflows.lifecycle import Lifecycle
    from workflows.options import STORE, billing

PAYMENTS_PER_RUN = 12
"""Payments before continue-as-new: the history stays short for years (ADD-7)."""

CANCELLATION_NOTE = "It is paid, so it continues."
"""The note of a cancellation in Temporal (OPS-10)."""

NO_LICENSES = Reduction(quantity=0, release_all_holders=True)
"""The end of an order that was cancelled; its holders were checked then."""

_TIMER_SUMMARIES = {
    OrderState.REVIEW: "End of the review",
    OrderState.ACTIVE: "Next billing date",
    OrderState.PAYMENT_FAILED: "Retry of the declined payment",
}

_UNATTEMPTED = frozenset({OrderState.DRAFT, OrderState.PLACED, OrderState.PAID})
"""States before the review and before the first payment attempt."""


@workflow.defn(name="AddonPurchase", failure_exception_types=[Refused, TransitionNotAllowed])
class OrderWorkflow:
    """One order: charges each amount on its date, and releases licenses that are not renewed."""

    @workflow.init
    def __init__(self, start: StartOrder) -> None:
        """Restore the order from the stored record, or from that of the previous run."""
        self._lifecycle = Lifecycle(
            OrderMachine, start.order, search_attributes=search_attributes, facts=facts
        )
        self._account_closed = False
        self._charging = False
        self._cancellation_requested = False
        self._payments = 0
        # Events are applied one at a time, in the order of arrival. Nothing waits for the payment
        # provider under this lock.
        self._update_lock = asyncio.Lock()

    @property
    def _order(self) -> Order:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartOrder) -> Order:
        """Run the order to the end of its last term; return its final record."""
        return await uncancelled(self._run(), self._note_cancellation)

    async def _run(self) -> Order:
        while not self._is_done:
            await self._wait_until_due()
            await self._lifecycle.retried(self._run_due_step_alone)
            await self._lifecycle.retried(self._charge_if_due)
            await self._continue_if_long()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._order

    # Steps

    async def _wait_until_due(self) -> None:
        """Wait until the next step is due or the order has changed."""
        order, due_at = self._order, self._order.next_step_at
        if due_at is None:
            return
        summary = "Look-up of the payment" if order.pending else _TIMER_SUMMARIES.get(order.state)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._order is not order or self._is_interrupted,
                timeout=max(due_at - workflow.now(), timedelta()),
                timeout_summary=summary,
            )

    async def _run_due_step_alone(self) -> None:
        async with self._update_lock:
            await self._run_due_step()

    async def _run_due_step(self) -> None:
        """Run the due step, if any, unless it is a payment."""
        await self._apply_interruption()
        order = self._order
        if order.state.final or order.payment_is_next or not self._is_due:
            return
        match order.state:
            case _ if order.payment_is_booked:
                # The workflow before this one was ended from outside.
                await self._apply_payment(order)
            case OrderState.DRAFT:
                await self._apply_events("review" if order.portal == "account" else "place")
            case OrderState.REVIEW:
                await self._apply_events("lapse", note=REVIEW_LAPSED)
            case OrderState.PAYMENT_FAILED:
                await self._end(ending_event(order), note=PAYMENT_DECLINED)
            case _ if order.quantity_then == 0:
                await self._end("end", note=ENDS_WITH_TERM)
            case _:
                await self._end("reduce")

    @property
    def _is_due(self) -> bool:
        due_at = self._order.next_step_at
        return due_at is None or due_at <= workflow.now()

    @property
    def _is_done(self) -> bool:
        # Money of a pending payment is found even if the account was closed meanwhile.
        return self._order.state.final and self._order.pending is None

    @property
    def _is_undecided(self) -> bool:
        """True from the attempt of a payment to its result, which may take days."""
        placed = self._order.state is OrderState.PLACED
        return placed or self._charging or self._order.pending is not None

    @property
    def _is_interrupted(self) -> bool:
        return self._account_closed or self._cancellation_requested

    async def _charge_if_due(self) -> None:
        """Attempt the due payment, or look up a pending one (ADD-4, ADD-7)."""
        order = self._order
        if not order.payment_is_next or not self._is_due:
            return
        self._charging = True
        self._payments += 1
        charging = workflow.start_activity_method(
            OrderActivities.charge_order,
            ChargeOrder(order=order, at=workflow.now()),
            **billing("Look the payment up" if order.pending else f"Attempt {order.tries + 1}"),
        )
        while not charging.done():
            await workflow.wait_condition(lambda: charging.done() or self._is_interrupted)
            async with self._update_lock:
                await self._apply_interruption()
        charged = await charging
        async with self._update_lock:
            self._charging = False
            await self._apply_charge(charged)

    async def _apply_charge(self, charged: OrderCharged) -> None:
        """Apply the result of a payment, then a cancellation that was waiting for it (ADD-6)."""
        # The store has added the events of the meantime to the record that it has charged.
        order = max(charged.order, self._order, key=lambda order: len(order.journal))
        if order.state.final:
            self._lifecycle.apply(order)
            return
        match charged.outcome:
            case ChargeOutcome.PAID:
                await self._apply_payment(order)
            case ChargeOutcome.DECLINED:
                note = charged.failure or PAYMENT_DECLINED
                order = after(
                    OrderMachine, order, "decline", at=workflow.now(), by=ENGINE, note=note
                )
                if order.quantity_then == 0:
                    await self._end(ending_event(order), order=order)
                else:
                    await self._write(order.model_copy(update={"note": note}))
            case _:
                self._lifecycle.apply(order)

    async def _apply_payment(self, order: Order) -> None:
        events = ("renew",) if order.is_renewed else ("pay", "activate")
        await self._apply_events(*events, order=order, note=_note_of_reduction(order))
        if self._order.quantity_then == 0 and not self._order.state.final:
            await self._amend("cancel", NO_LICENSES, by=ENGINE, note=ENDS_WITH_TERM)

    async def _end(
        self,
        event: str,
        *,
        order: Order | None = None,
        by: str = ENGINE,
        note: str | None = None,
        unless_assigned: bool = False,
    ) -> None:
        """End or reduce the order, and release its licenses.

        Raises Refused if `unless_assigned` and users hold them.
        """
        order = order or self._order
        if event != "reduce":
            order = order.model_copy(update={"quantity_then": None, "release": ()})
        if order.was_paid:
            ended = await workflow.execute_activity_method(
                OrderActivities.end_term,
                EndTerm(order=order, at=workflow.now(), by=by, unless_assigned=unless_assigned),
                **STORE | ActivityConfig(summary=f"End the term of {order.quantity} licenses"),
            )
            order = unless_refused(ended)
        elif order.invoices:
            order = await workflow.execute_activity_method(
                OrderActivities.void_order,
                VoidOrder(order=order, at=workflow.now(), by=by),
                **STORE | ActivityConfig(summary="Void the unpaid invoice"),
            )
        await self._apply_events(event, order=order, by=by, note=note)

    async def _cancel(self, *, release_all: bool, by: str) -> None:
        """End the order at once if it is unpaid, else with its term or when its payment is decided.

        Raises Refused if licenses are assigned, unless `release_all`.
        """
        order, reduction = self._order, Reduction(quantity=0, release_all_holders=release_all)
        if order.quantity_then == 0:
            return
        if self._is_undecided:
            await self._amend("cancel_requested", reduction, by=by, note=CANCELLED_AFTER_PAYMENT)
        elif order.state is OrderState.ACTIVE:
            await self._amend("cancel", reduction, by=by, note=ENDS_WITH_TERM)
        elif order.was_paid:
            # The term before the declined renewal has ended already.
            await self._end("end", by=by, unless_assigned=not release_all)
        else:
            await self._end("cancel", by=by)

    async def _apply_interruption(self) -> None:
        """Apply what has happened outside of the order, also during a payment."""
        if self._account_closed:
            # The store wrote the end when the account was closed (SRC-2).
            await self._write(self._order)
            self._account_closed = False
        if self._cancellation_requested:
            await self._apply_cancellation()
            self._cancellation_requested = False

    async def _apply_cancellation(self) -> None:
        """Cancel an unpaid order; a paid one continues, with a journal entry (OPS-10)."""
        if self._order.state.final:
            return
        if self._order.was_paid:
            await self._amend("cancel_requested", by=OPERATOR, note=CANCELLATION_NOTE)
        else:
            await self._cancel(release_all=False, by=OPERATOR)

    def _note_cancellation(self) -> None:
        self._cancellation_requested = True

    async def _apply_events(
        self,
        *events: str,
        order: Order | None = None,
        by: str = ENGINE,
        note: str | None = None,
    ) -> None:
        """Write and apply the record after `events`, starting from `order` or the current one."""
        order = order or self._order
        if order.state.final:
            # The store has ended it together with its account.
            self._lifecycle.apply(order)
            return
        order = order.model_copy(update={"note": note})
        for event in events:
            order = after(OrderMachine, order, event, at=workflow.now(), by=by, note=note)
        await self._write(order)

    async def _write(self, order: Order) -> None:
        """Write `order` to the store, then apply the stored record."""
        stored = await workflow.execute_activity_method(
            OrderActivities.record_order,
            RecordOrder(order=order),
            **STORE | ActivityConfig(summary=f"Write the order: {order.state}"),
        )
        self._lifecycle.apply(stored)

    async def _amend(
        self, event: str, reduction: Reduction | None = None, *, by: str, note: str | None
    ) -> None:
        """Add a person's event to the stored record, which a payment may be changing.

        Raises Refused if more licenses are assigned than the reduction leaves.
        """
        amended = await workflow.execute_activity_method(
            OrderActivities.amend_order,
            AmendOrder(
                order=self._order,
                event=event,
                at=workflow.now(),
                by=by,
                note=note,
                reduction=reduction,
            ),
            **STORE | ActivityConfig(summary=f"Add to the order: {event}"),
        )
        self._lifecycle.apply(unless_refused(amended))

    async def _continue_if_long(self) -> None:
        long = self._payments >= PAYMENTS_PER_RUN or workflow.info().is_continue_as_new_suggested()
        if not long or self._is_done or self._order.state in _UNATTEMPTED:
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._is_interrupted and not self._is_done:
            workflow.continue_as_new(StartOrder(order=self._order))

    # Updates

    @workflow.update
    async def report(self) -> Order:
        """Return the order once it is in review or its first payment has been attempted."""
        await self._wait_for_attempt()
        return self._order

    @workflow.update
    async def confirm(self, answer: ConfirmOrder) -> Order:
        """Place the reviewed order; return after its first payment attempt (ADD-3)."""
        async with self._update_lock:
            # A confirmation at exactly the end of the review is late.
            await self._run_due_step()
            self._lifecycle.require("confirm")
            await self._apply_events("confirm", by=answer.by)
        await self._wait_for_attempt()
        return self._order

    @confirm.validator
    def _validate_confirm(self, answer: ConfirmOrder) -> None:
        self._lifecycle.require("confirm")

    @workflow.update
    async def cancel(self, answer: CancelOrder) -> Order:
        """Cancel the order; never wait for the payment provider (ADD-6)."""
        async with self._update_lock:
            self._lifecycle.require_allowed("cancel")
            if answer.replaced:
                self._require_review()
                await self._end("cancel", by=answer.by, note=REPLACED)
            else:
                await self._cancel(release_all=answer.release_all, by=answer.by)
            return self._order

    @cancel.validator
    def _validate_cancel(self, answer: CancelOrder) -> None:
        self._lifecycle.require_allowed("cancel")
        if answer.replaced:
            self._require_review()

    @workflow.update
    async def change_quantity(self, answer: ChangeQuantity) -> Order:
        """Reduce the quantity from the next term on; the current one undoes that (ADD-6)."""
        async with self._update_lock:
            self._lifecycle.require("change_quantity")
            self._require_reduction(answer)
            fewer = answer.quantity < self._order.quantity
            await self._amend(
                "change_quantity",
                Reduction(quantity=answer.quantity, release=answer.release),
                by=answer.by,
                note=REDUCED_WITH_TERM if fewer else None,
            )
            return self._order

    @change_quantity.validator
    def _validate_change_quantity(self, answer: ChangeQuantity) -> None:
        self._lifecycle.require("change_quantity")
        self._require_reduction(answer)

    # Steps of the updates

    async def _wait_for_attempt(self) -> None:
        """Wait until the first payment was attempted, or the order waits for something else."""
        await workflow.wait_condition(
            lambda: self._order.pending is not None or self._order.state not in _UNATTEMPTED
        )

    def _require_review(self) -> None:
        if self._order.state is not OrderState.REVIEW:
            raise Refused(ErrorCode.CONFLICT, "The order is no longer in review.")

    def _require_reduction(self, answer: ChangeQuantity) -> None:
        if not 1 <= answer.quantity <= self._order.quantity:
            raise Refused(
                ErrorCode.INVALID_QUANTITY,
                f"Use a quantity from 1 to {self._order.quantity}. "
                "Buy licenses to have more; cancel the order to have none.",
            )
        if self._order.quantity_then == 0:
            raise Refused(ErrorCode.CONFLICT, "The order is cancelled and ends with its term.")

    # Signals

    @workflow.signal
    def account_closed(self) -> None:
        """Apply the end that the closure of the account has written to the store (SRC-2)."""
        self._account_closed = True

    # Queries

    @workflow.query
    def view(self) -> Order:
        """Return the current record."""
        return self._order


def _note_of_reduction(order: Order) -> str | None:
    match order.quantity_then:
        case None:
            return None
        case 0:
            return ENDS_WITH_TERM
        case _:
            return REDUCED_WITH_TERM


def search_attributes(order: Order) -> TypedSearchAttributes:
    """Return the search attributes of an order; never an amount."""
    attributes = TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, order.account),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, order.state.value),
        ]
    )
    if due_at := order.next_step_at:
        return attributes.updated(SearchAttributePair(search_attribute.DEADLINE, due_at))
    return attributes


def described(order: Order) -> str:
    """Return quantity, product and cycle in a few words."""
    return f"{order.quantity} × {product_name(order)}, {order.cycle}"


def facts(order: Order) -> Mapping[str, str]:
    """Return the facts that Current Details show, by name."""
    try_at, pending = order.next_try_at(), order.pending
    return {
        "Licenses": described(order),
        "Bought by": masked(order.bought_by),
        "First amount due": _amount(order.quote.due_now),
        "Next amount due": f"{_amount(order.quote.then)} on {order.quote.next_billing_date}",
        "Next term": "" if order.quantity_then is None else f"{order.quantity_then} licenses",
        "Paid until": f"{order.paid_until:%Y-%m-%d %H:%M} UTC" if order.paid_until else "",
        "Declined payments": str(order.tries) if order.tries else "",
        "Next payment attempt": f"{try_at:%Y-%m-%d %H:%M} UTC" if try_at else "",
        "Payment pending since": f"{pending.since:%Y-%m-%d %H:%M} UTC" if pending else "",
        "Next look-up": f"{pending.look_up_at:%Y-%m-%d %H:%M} UTC" if pending else "",
        "Note": code_span(order.note or ""),
    }


def _amount(money: Money) -> str:
    return f"{money.amount:f} {money.currency}"
