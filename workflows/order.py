"""Licenses that are bought, from the draft to the end of their last term."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from statemachine.exceptions import TransitionNotAllowed

    from activities.order import (
        ChargeOrder,
        EndTerm,
        KeepOrder,
        OpenOrder,
        OrderActivities,
        PlanReduction,
        TellBuyer,
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
    from states.order import OrderMachine, ending
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle, refusal_in
    from workflows.notice import OrderNoticeWorkflow
    from workflows.options import STORE, billing

CYCLES_IN_A_RUN = 12
"""So many payments, then a new run: the history stays short for years (ADD-7)."""

_UNTIL = {
    OrderState.REVIEW: "The review lapses",
    OrderState.ACTIVE: "The next billing date",
    OrderState.PAYMENT_FAILED: "Try the declined payment again",
}


@workflow.defn(name="AddonPurchase", failure_exception_types=[Refused, TransitionNotAllowed])
class AddonPurchaseWorkflow:
    """Charges what is due when it is due, and lets the licenses go when nothing is (ADD)."""

    @workflow.init
    def __init__(self, start: StartOrder) -> None:
        """Stand where the run before stood, or at the draft."""
        order = start.order
        self._order = order
        self._lifecycle = Lifecycle(
            OrderMachine,
            start.carried,
            search_attributes=lambda record: search_attributes(order, record),
            facts=facts,
        )
        self._account_closed = False
        self._cycles = 0
        # What moves the order happens one at a time, in the order of arrival.
        self._turn = asyncio.Lock()

    @property
    def _now(self) -> Order:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartOrder) -> Order:
        """From the draft to the end of the last term; returns the order as it stands then."""
        while not self._now.state.final:
            await self._wait_until_due()
            async with self._turn:
                await self._go_on()
            await self._continue_if_long()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._now

    # What happens by itself.

    async def _wait_until_due(self) -> None:
        """Wait for the next moment, or until somebody else has moved it."""
        before, moment = self._now, next_moment(self._order, self._now)
        if moment is None:
            return
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._now is not before or self._account_closed,
                timeout=max(moment - workflow.now(), timedelta()),
                timeout_summary=_UNTIL[before.state],
            )

    async def _go_on(self) -> None:
        """Do what is due now, if anything is."""
        if self._account_closed:
            await self._follow_the_account()
        if self._now.state.final or not self._is_due:
            return
        match self._now.state:
            case OrderState.DRAFT:
                await self._open()
            case OrderState.REVIEW:
                await self._move("lapse", note=REVIEW_LAPSED)
                await self._tell()
            case OrderState.PAYMENT_FAILED if self._now.next_try_at() is None:
                await self._end(ending(self._now), note=PAYMENT_DECLINED)
            case OrderState.ACTIVE if self._now.quantity_then == 0:
                await self._end("end", note=ENDS_WITH_TERM)
            case OrderState.ACTIVE if self._now.quantity_then is not None:
                await self._end("reduce")
            case _:
                await self._charge()

    @property
    def _is_due(self) -> bool:
        moment = next_moment(self._order, self._now)
        return moment is None or moment <= workflow.now()

    async def _open(self) -> None:
        """Keep the draft; then it is reviewed, or placed at once (ADD-3)."""
        try:
            opened = await workflow.execute_activity_method(
                OrderActivities.open_order,
                OpenOrder(order=self._order, at=workflow.now()),
                **STORE | ActivityConfig(summary=f"Keep the draft: {described(self._now)}"),
            )
        except ActivityError as failed:
            raise refusal_in(failed) from None
        if self._order.portal == "account":
            await self._move("review", known=opened)
            await self._tell()
        else:
            await self._move("place", known=opened)

    async def _charge(self) -> None:
        """Try the payment that is due: the first one, or a renewal (ADD-4, ADD-7)."""
        before = self._now
        charged = await workflow.execute_activity_method(
            OrderActivities.charge_order,
            ChargeOrder(order=before, at=workflow.now()),
            **billing(f"Charge, try {before.tries + 1}"),
        )
        if charged.paid:
            events = ("renew",) if before.was_paid else ("pay", "activate")
            await self._move(*events, known=charged.order)
            self._cycles += 1
        else:
            note = charged.failure or PAYMENT_DECLINED
            await self._move("decline", known=charged.order, note=note)
        await self._tell()

    async def _end(self, event: str, *, by: str = ENGINE, note: str | None = None) -> None:
        """Let go of what is not paid for any more, with its licenses, and tell who lost one."""
        before, released = self._now, tuple[str, ...]()
        if before.was_paid:
            ended = await workflow.execute_activity_method(
                OrderActivities.end_term,
                EndTerm(order=before, at=workflow.now()),
                **STORE | ActivityConfig(summary=f"End the term of {before.quantity} licenses"),
            )
            known, released = ended.order, ended.released
        elif before.invoices:
            known = await workflow.execute_activity_method(
                OrderActivities.void_order,
                VoidOrder(order=before, at=workflow.now()),
                **STORE | ActivityConfig(summary="Give up the invoice that was never paid"),
            )
        else:
            known = before
        await self._move(event, known=known, by=by, note=note)
        await self._tell(released)

    async def _follow_the_account(self) -> None:
        """An account that closes ends its orders itself (SRC-2)."""
        self._account_closed = False
        before = self._now
        await self._keep(before)
        if self._now.state is not before.state:
            await self._tell()

    async def _move(
        self,
        *events: str,
        known: Order | None = None,
        by: str = ENGINE,
        note: str | None = None,
    ) -> None:
        """Keep what stands after `events`, of what is `known` by now, and then show it."""
        wanted = known or self._now
        if len(wanted.journal) > len(self._now.journal):
            # Ended in the meantime, with its account: nothing moves it any more.
            self._lifecycle.take(wanted)
            return
        wanted = wanted.model_copy(update={"note": note})
        for event in events:
            wanted = after(OrderMachine, wanted, event, at=workflow.now(), by=by, note=note)
        await self._keep(wanted)

    async def _keep(self, wanted: Order) -> None:
        kept = await workflow.execute_activity_method(
            OrderActivities.keep_order,
            KeepOrder(order=wanted),
            **STORE | ActivityConfig(summary=f"Keep the order: {wanted.state}"),
        )
        self._lifecycle.take(kept)

    async def _tell(self, released: tuple[str, ...] = ()) -> None:
        """Tell the buyer where it stands; no money waits for an e-mail."""
        await workflow.start_child_workflow(
            OrderNoticeWorkflow.run,
            TellBuyer(
                order=self._now,
                released=released,
                lapses_at=next_moment(self._order, self._now)
                if self._now.state is OrderState.REVIEW
                else None,
            ),
            id=f"notice/{self._order.order_id}/{len(self._now.journal)}",
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"Order {self._now.state}: {masked(self._order.bought_by)}",
        )

    async def _continue_if_long(self) -> None:
        long = self._cycles >= CYCLES_IN_A_RUN or workflow.info().is_continue_as_new_suggested()
        if not long or self._now.state.final:
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._account_closed and not self._now.state.final:
            workflow.continue_as_new(StartOrder(order=self._order, carried=self._now))

    # What others may ask for.

    @workflow.update
    async def confirm(self, answer: ConfirmOrder) -> Order:
        """Place what was reviewed; returns when its first payment has been tried (ADD-3)."""
        async with self._turn:
            # A review that is confirmed at exactly its last moment has lapsed.
            await self._go_on()
            self._lifecycle.require("confirm")
            await self._move("confirm", by=OPERATOR)
            await self._go_on()
            return self._now

    @confirm.validator
    def _may_confirm(self, answer: ConfirmOrder) -> None:
        self._lifecycle.require("confirm")

    @workflow.update
    async def cancel(self, answer: CancelOrder) -> Order:
        """End it: at once while nothing is paid for, else with its term (ADD-6)."""
        async with self._turn:
            self._lifecycle.require("cancel")
            before = self._now
            if before.quantity_then == 0:
                return before
            planned = await self._planned(0, everybody=answer.release_all)
            if before.state is OrderState.ACTIVE:
                await self._move("cancel", known=planned, by=OPERATOR, note=ENDS_WITH_TERM)
                await self._tell()
            else:
                # What a declined renewal would have paid for has ended already.
                await self._end("end" if before.was_paid else "cancel", by=OPERATOR)
            return self._now

    @cancel.validator
    def _may_cancel(self, answer: CancelOrder) -> None:
        self._lifecycle.require("cancel")

    @workflow.update
    async def change_quantity(self, answer: ChangeQuantity) -> Order:
        """Have fewer from the end of the term on; as many as now: none fewer (ADD-6)."""
        async with self._turn:
            self._lifecycle.require("change_quantity")
            self._require_reduction(answer)
            planned = await self._planned(answer.quantity, release=answer.release)
            fewer = planned.quantity_then is not None
            await self._move(
                "change_quantity",
                known=planned,
                by=OPERATOR,
                note=REDUCED_WITH_TERM if fewer else None,
            )
            return self._now

    @change_quantity.validator
    def _may_change(self, answer: ChangeQuantity) -> None:
        self._lifecycle.require("change_quantity")
        self._require_reduction(answer)

    def _require_reduction(self, answer: ChangeQuantity) -> None:
        if not 1 <= answer.quantity <= self._now.quantity:
            raise Refused(
                ErrorCode.INVALID_QUANTITY,
                f"It can be changed to 1 up to {self._now.quantity}: "
                "for more, buy them; for none, cancel the order.",
            )
        if self._now.quantity_then == 0:
            raise Refused(ErrorCode.CONFLICT, "It is cancelled, and ends with its term.")

    async def _planned(
        self, quantity: int, *, release: tuple[str, ...] = (), everybody: bool = False
    ) -> Order:
        """The order with `quantity` from the end of its term on; refused below what is held."""
        if not self._now.was_paid:
            return self._now
        try:
            return await workflow.execute_activity_method(
                OrderActivities.plan_reduction,
                PlanReduction(
                    order=self._now,
                    quantity=quantity,
                    release=release,
                    release_everybody=everybody,
                ),
                **STORE | ActivityConfig(summary=f"See whether {quantity} are enough"),
            )
        except ActivityError as failed:
            raise refusal_in(failed) from None

    # What others may tell.

    @workflow.signal
    def account_closed(self) -> None:
        """The account has closed, and its orders have ended with it (SRC-2)."""
        self._account_closed = True

    # What others may look at.

    @workflow.query
    def view(self) -> Order:
        """The order as it stands."""
        return self._now


def next_moment(order: BuyLicenses, record: Order) -> datetime | None:
    """When something is due; None: now, or never again."""
    match record.state:
        case OrderState.REVIEW:
            return record.journal[-1].at + order.policy.review_validity
        case OrderState.PAYMENT_FAILED:
            return record.next_try_at()
        case OrderState.ACTIVE:
            return record.paid_until
        case _:
            return None


def search_attributes(order: BuyLicenses, record: Order) -> TypedSearchAttributes:
    """What a purchase is found by; never an amount."""
    found = [
        SearchAttributePair(search_attribute.ACCOUNT_ID, order.account),
        SearchAttributePair(search_attribute.LIFECYCLE_STATE, record.state.value),
    ]
    if moment := next_moment(order, record):
        return TypedSearchAttributes(
            [*found, SearchAttributePair(search_attribute.DEADLINE, moment)]
        )
    return TypedSearchAttributes(found)


def described(order: Order) -> str:
    """What is bought, in a few words."""
    return f"{order.quantity} × {product_name(order)}, {order.cycle}"


def facts(order: Order) -> Mapping[str, str]:
    """What an operations person wants to know of a purchase beside its state."""
    try_at = order.next_try_at()
    return {
        "Licenses": described(order),
        "Bought by": masked(order.bought_by),
        "Due at the purchase": _amount(order.quote.due_now),
        "Due next": f"{_amount(order.quote.then)} on {order.quote.next_billing_date}",
        "From then on": "" if order.quantity_then is None else f"{order.quantity_then} licenses",
        "Paid until": f"{order.paid_until:%Y-%m-%d %H:%M} UTC" if order.paid_until else "",
        "Declined": f"{order.tries} times" if order.tries else "",
        "Tried again": f"{try_at:%Y-%m-%d %H:%M} UTC" if try_at else "",
        "Note": order.note or "",
    }


def _amount(money: Money) -> str:
    return f"{money.amount:f} {money.currency}"
