"""The workflow of one order, from the draft to the end of its last term (ADD)."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from statemachine.exceptions import TransitionNotAllowed

    from activities.order import (
        ChargeOrder,
        EndTerm,
        NotifyBuyer,
        OpenOrder,
        OrderActivities,
        PlanReduction,
        RecordOrder,
        VoidOrder,
    )
    from domain.address import masked
    from domain.error import ErrorCode, Refused
    from domain.journal import ENGINE, OPERATOR
    from domain.money import Money
    from domain.order import (
        ENDS_WITH_TERM,
        PAYMENT_DECLINED,
        REDUCED_WITH_TERM,
        REVIEW_LAPSED,
        BuyLicenses,
        CancelOrder,
        ChangeQuantity,
        ConfirmOrder,
        Order,
        OrderState,
        StartOrder,
        product_name,
    )
    from states.lifecycle import after
    from states.order import OrderMachine, ending_event
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle, refusal_from
    from workflows.notice import start_notice
    from workflows.options import STORE, billing

CYCLES_PER_RUN = 12
"""Payments before continue-as-new: the history stays short for years (ADD-7)."""

_TIMER_SUMMARIES = {
    OrderState.REVIEW: "End of the review",
    OrderState.ACTIVE: "Next billing date",
    OrderState.PAYMENT_FAILED: "Retry of the declined payment",
}


@workflow.defn(name="AddonPurchase", failure_exception_types=[Refused, TransitionNotAllowed])
class OrderWorkflow:
    """One order: charges each amount on its date, and releases licenses that are not renewed."""

    @workflow.init
    def __init__(self, start: StartOrder) -> None:
        """Restore the order carried over from the previous run, or start with the draft."""
        request = start.order
        self._request = request
        self._lifecycle = Lifecycle(
            OrderMachine,
            start.carried,
            search_attributes=lambda order: search_attributes(request, order),
            facts=facts,
        )
        self._account_closed = False
        self._cycles = 0
        # Events are applied one at a time, in the order of arrival.
        self._update_lock = asyncio.Lock()

    @property
    def _order(self) -> Order:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartOrder) -> Order:
        """Run the order to the end of its last term; return its final record."""
        while not self._order.state.final:
            await self._wait_until_due()
            if self._order.state is OrderState.DRAFT:
                # A refusal is the answer to the buyer, and ends the order.
                await self._run_due_step_alone()
            else:
                await self._lifecycle.retried(self._run_due_step_alone)
            await self._continue_if_long()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._order

    # Steps

    async def _wait_until_due(self) -> None:
        """Wait until the next step is due or the order has changed."""
        order, due_at = self._order, next_step_at(self._request, self._order)
        if due_at is None:
            return
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._order is not order or self._account_closed,
                timeout=max(due_at - workflow.now(), timedelta()),
                timeout_summary=_TIMER_SUMMARIES[order.state],
            )

    async def _run_due_step_alone(self) -> None:
        async with self._update_lock:
            await self._run_due_step()

    async def _run_due_step(self) -> None:
        """Run the due step, if any."""
        if self._account_closed:
            await self._apply_account_closure()
        if self._order.state.final or not self._is_due:
            return
        match self._order.state:
            case OrderState.DRAFT:
                await self._open()
            case OrderState.REVIEW:
                await self._apply_events("lapse", note=REVIEW_LAPSED)
                await self._notify()
            case OrderState.PAYMENT_FAILED if self._order.next_try_at() is None:
                await self._end(ending_event(self._order), note=PAYMENT_DECLINED)
            case OrderState.ACTIVE if self._order.quantity_then == 0:
                await self._end("end", note=ENDS_WITH_TERM)
            case OrderState.ACTIVE if self._order.quantity_then is not None:
                await self._end("reduce")
            case _:
                await self._charge()

    @property
    def _is_due(self) -> bool:
        due_at = next_step_at(self._request, self._order)
        return due_at is None or due_at <= workflow.now()

    async def _open(self) -> None:
        """Write the draft, then start the review or place the order at once (ADD-3)."""
        try:
            opened = await workflow.execute_activity_method(
                OrderActivities.open_order,
                OpenOrder(order=self._request, at=workflow.now()),
                **STORE | ActivityConfig(summary=f"Write the draft: {described(self._order)}"),
            )
        except ActivityError as failure:
            raise refusal_from(failure) from None
        if self._request.portal == "account":
            await self._apply_events("review", order=opened)
            await self._notify()
        else:
            await self._apply_events("place", order=opened)

    async def _charge(self) -> None:
        """Attempt the due payment: the first one or a renewal (ADD-4, ADD-7)."""
        order = self._order
        charged = await workflow.execute_activity_method(
            OrderActivities.charge_order,
            ChargeOrder(order=order, at=workflow.now()),
            **billing(f"Charge, attempt {order.tries + 1}"),
        )
        if charged.paid:
            events = ("renew",) if order.was_paid else ("pay", "activate")
            await self._apply_events(*events, order=charged.order)
            self._cycles += 1
        else:
            note = charged.failure or PAYMENT_DECLINED
            await self._apply_events("decline", order=charged.order, note=note)
        await self._notify()

    async def _end(self, event: str, *, by: str = ENGINE, note: str | None = None) -> None:
        """End or reduce the order, release its licenses and notify their holders."""
        order, released = self._order, tuple[str, ...]()
        if order.was_paid:
            ended = await workflow.execute_activity_method(
                OrderActivities.end_term,
                EndTerm(order=order, at=workflow.now()),
                **STORE | ActivityConfig(summary=f"End the term of {order.quantity} licenses"),
            )
            order, released = ended.order, ended.released
        elif order.invoices:
            order = await workflow.execute_activity_method(
                OrderActivities.void_order,
                VoidOrder(order=order, at=workflow.now()),
                **STORE | ActivityConfig(summary="Void the unpaid invoice"),
            )
        await self._apply_events(event, order=order, by=by, note=note)
        await self._notify(released)

    async def _apply_account_closure(self) -> None:
        """Apply the end that the store wrote when the account was closed (SRC-2)."""
        self._account_closed = False
        before = self._order
        await self._write(before)
        if self._order.state is not before.state:
            await self._notify()

    async def _apply_events(
        self,
        *events: str,
        order: Order | None = None,
        by: str = ENGINE,
        note: str | None = None,
    ) -> None:
        """Write and apply the record after `events`, starting from `order` or the current one."""
        order = order or self._order
        if len(order.journal) > len(self._order.journal):
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

    async def _notify(self, released: tuple[str, ...] = ()) -> None:
        """Notify the buyer of the state, and holders of released licenses."""
        in_review = self._order.state is OrderState.REVIEW
        await start_notice(
            NotifyBuyer(
                order=self._order,
                released=released,
                lapses_at=next_step_at(self._request, self._order) if in_review else None,
            ),
            id=f"notice/{self._request.order_id}/{len(self._order.journal)}",
            summary=f"Order {self._order.state}: {masked(self._request.bought_by)}",
        )

    async def _continue_if_long(self) -> None:
        long = self._cycles >= CYCLES_PER_RUN or workflow.info().is_continue_as_new_suggested()
        if not long or self._order.state.final:
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._account_closed and not self._order.state.final:
            workflow.continue_as_new(StartOrder(order=self._request, carried=self._order))

    # Updates

    @workflow.update
    async def confirm(self, answer: ConfirmOrder) -> Order:
        """Place the reviewed order; return after its first payment attempt (ADD-3)."""
        async with self._update_lock:
            # A confirmation at exactly the end of the review is late.
            await self._run_due_step()
            self._lifecycle.require("confirm")
            await self._apply_events("confirm", by=OPERATOR)
            await self._run_due_step()
            return self._order

    @confirm.validator
    def _validate_confirm(self, answer: ConfirmOrder) -> None:
        self._lifecycle.require("confirm")

    @workflow.update
    async def cancel(self, answer: CancelOrder) -> Order:
        """End the order: at once if it is unpaid, else at the end of its term (ADD-6)."""
        async with self._update_lock:
            self._lifecycle.require("cancel")
            order = self._order
            if order.quantity_then == 0:
                return order
            planned = await self._plan_reduction(0, release_all_holders=answer.release_all)
            if order.state is OrderState.ACTIVE:
                await self._apply_events("cancel", order=planned, by=OPERATOR, note=ENDS_WITH_TERM)
                await self._notify()
            else:
                # The term before the declined renewal has ended already.
                await self._end("end" if order.was_paid else "cancel", by=OPERATOR)
            return self._order

    @cancel.validator
    def _validate_cancel(self, answer: CancelOrder) -> None:
        self._lifecycle.require("cancel")

    @workflow.update
    async def change_quantity(self, answer: ChangeQuantity) -> Order:
        """Reduce the quantity from the next term on; the current one undoes that (ADD-6)."""
        async with self._update_lock:
            self._lifecycle.require("change_quantity")
            self._require_reduction(answer)
            planned = await self._plan_reduction(answer.quantity, release=answer.release)
            fewer = planned.quantity_then is not None
            await self._apply_events(
                "change_quantity",
                order=planned,
                by=OPERATOR,
                note=REDUCED_WITH_TERM if fewer else None,
            )
            return self._order

    @change_quantity.validator
    def _validate_change_quantity(self, answer: ChangeQuantity) -> None:
        self._lifecycle.require("change_quantity")
        self._require_reduction(answer)

    # Steps of the updates

    def _require_reduction(self, answer: ChangeQuantity) -> None:
        if not 1 <= answer.quantity <= self._order.quantity:
            raise Refused(
                ErrorCode.INVALID_QUANTITY,
                f"Use a quantity from 1 to {self._order.quantity}. "
                "Buy licenses to have more; cancel the order to have none.",
            )
        if self._order.quantity_then == 0:
            raise Refused(ErrorCode.CONFLICT, "The order is cancelled and ends with its term.")

    async def _plan_reduction(
        self, quantity: int, *, release: tuple[str, ...] = (), release_all_holders: bool = False
    ) -> Order:
        """Return the order with `quantity` from its next term on.

        Raises Refused if more licenses are assigned than would be left.
        """
        if not self._order.was_paid:
            return self._order
        try:
            return await workflow.execute_activity_method(
                OrderActivities.plan_reduction,
                PlanReduction(
                    order=self._order,
                    quantity=quantity,
                    release=release,
                    release_all_holders=release_all_holders,
                ),
                **STORE | ActivityConfig(summary=f"Plan a reduction to {quantity} licenses"),
            )
        except ActivityError as failure:
            raise refusal_from(failure) from None

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


def next_step_at(request: BuyLicenses, order: Order) -> datetime | None:
    """Return the time of the next step.

    None in a state without a waiting time: the step, if any, is due now.
    """
    match order.state:
        case OrderState.REVIEW:
            return order.journal[-1].at + request.policy.review_validity
        case OrderState.PAYMENT_FAILED:
            return order.next_try_at()
        case OrderState.ACTIVE:
            return order.paid_until
        case _:
            return None


def search_attributes(request: BuyLicenses, order: Order) -> TypedSearchAttributes:
    """Return the search attributes of an order; never an amount."""
    attributes = TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, request.account),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, order.state.value),
        ]
    )
    if due_at := next_step_at(request, order):
        return attributes.updated(SearchAttributePair(search_attribute.DEADLINE, due_at))
    return attributes


def described(order: Order) -> str:
    """Return quantity, product and cycle in a few words."""
    return f"{order.quantity} × {product_name(order)}, {order.cycle}"


def facts(order: Order) -> Mapping[str, str]:
    """Return the facts that Current Details show, by name."""
    try_at = order.next_try_at()
    return {
        "Licenses": described(order),
        "Bought by": masked(order.bought_by),
        "First amount due": _amount(order.quote.due_now),
        "Next amount due": f"{_amount(order.quote.then)} on {order.quote.next_billing_date}",
        "Next term": "" if order.quantity_then is None else f"{order.quantity_then} licenses",
        "Paid until": f"{order.paid_until:%Y-%m-%d %H:%M} UTC" if order.paid_until else "",
        "Declined payments": str(order.tries) if order.tries else "",
        "Next payment attempt": f"{try_at:%Y-%m-%d %H:%M} UTC" if try_at else "",
        "Note": order.note or "",
    }


def _amount(money: Money) -> str:
    return f"{money.amount:f} {money.currency}"
