"""The client of orders: buys licenses, reads orders, and sends admins' requests."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from adapters.sql.money.order import SqlOrders
from clients.fairness import fairness_priority
from clients.workflow_call import (
    START_TIMEOUT,
    TemporalAccess,
    WaitBudget,
    WorkflowCaller,
    temporal_unavailable,
)
from domain.address import normalized
from domain.error import ErrorCode, Refused, Unavailable
from domain.license import Sku
from domain.model import Value
from domain.order import (
    BuyLicenses,
    CancelOrder,
    ChangeQuantity,
    ConfirmOrder,
    Cycle,
    Order,
    OrderState,
    Portal,
    StartOrder,
)
from domain.policy import Policy
from states.lifecycle import refusal
from states.order import OrderMachine
from workflows.order import OrderWorkflow, described, search_attributes

REPEAT_WINDOW = timedelta(days=1)
"""Longest time after an unanswered order in which the same purchase means that order."""

_UNSTARTED_EVENTS = 2
"""Events of a run that no worker has started: its start, and its first task."""

_UNDECIDED = frozenset({OrderState.DRAFT, OrderState.PLACED, OrderState.PAID})
"""States before the review and before the first payment attempt."""

AnyOrderHandle = WorkflowHandle[OrderWorkflow, Order]


@dataclass(frozen=True)
class OrderClient:
    """Buys licenses, reads orders from the store, and sends updates to their workflows.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    orders: SqlOrders
    policy: Policy

    # Buy.

    async def buy(
        self,
        account: str,
        sku: Sku,
        *,
        quantity: int,
        cycle: Cycle,
        by: str,
        capacity: int | None = None,
        portal: Portal = "plans",
    ) -> Order:
        """Return the order once it is in review or its first payment has been attempted.

        A refusal comes before anything is started (ADD-1, ADD-2).
        """
        at = datetime.now(UTC)
        order = BuyLicenses(
            order_id=f"or-{uuid.uuid4().hex[:16]}",
            account=account,
            sku=sku,
            capacity=capacity,
            quantity=quantity,
            cycle=cycle,
            portal=portal,
            bought_by=normalized(by),
            policy=self.policy,
            caller_waits_until=at + timedelta(seconds=self.temporal.wait_seconds),
        )
        return await self._place(order, at)

    async def _place(self, order: BuyLicenses, at: datetime) -> Order:
        """Start the order, or continue the unanswered one, and wait for its outcome."""
        draft = await self.orders.quoted(order, at)
        unanswered = await self._unanswered(order)
        client, budget = await self.temporal.connect(), self.temporal.wait_budget()
        if unanswered:
            order, handle = _terms_of(unanswered), _handle(client, unanswered)
        else:
            handle = await self._start_new(client, order, draft, budget)
        decided = await self._decided(handle, order, at, budget)
        await self.orders.report(decided.order_id, datetime.now(UTC))
        return decided

    async def _unanswered(self, order: BuyLicenses) -> Order | None:
        """Return the same admin's order of the same terms whose outcome was never reported.

        An order that a command still waits for is not meant: two purchases may be wanted.
        """
        now, ignored = datetime.now(UTC), {"policy": Policy(), "caller_waits_until": None}
        for kept in await self.orders.unreported(order.account):
            terms = order.model_copy(update=ignored | {"order_id": kept.order_id})
            given_up = kept.caller_waits_until or kept.journal[0].at
            unanswered = now - REPEAT_WINDOW < given_up < now and not kept.state.final
            if unanswered and _terms_of(kept) == terms:
                return kept
        return None

    async def _start_new(
        self, client: Client, order: BuyLicenses, draft: Order, budget: WaitBudget
    ) -> AnyOrderHandle:
        """Start the order; retry a start whose answer was lost, which starts the same order."""
        try:
            while True:
                async with budget.attempt(client):
                    return await self._start(order, draft)
                await budget.pause()
        except Unavailable:
            # It may run: a repeated purchase has to find it.
            await self.orders.open(order, draft.journal[0].at)
            raise

    async def _start(self, order: BuyLicenses, kept: Order) -> AnyOrderHandle:
        client = await self.temporal.connect()
        return await client.start_workflow(
            OrderWorkflow.run,
            StartOrder(order=order, carried=kept),
            id=order.workflow_id,
            task_queue=self.temporal.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # Another process may have started it in the meantime.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=search_attributes(order, kept),
            static_summary=f"{described(kept)} for {order.account}",
            priority=fairness_priority(order.account),
            rpc_timeout=START_TIMEOUT,
        )

    async def _decided(
        self, handle: AnyOrderHandle, order: BuyLicenses, at: datetime, budget: WaitBudget
    ) -> Order:
        """Wait until the order is in review or its first payment has been attempted."""
        while True:
            kept = await self._kept(order.order_id)
            if kept and kept.state not in _UNDECIDED:
                return kept
            try:
                await budget.pause()
            except Unavailable:
                if kept is None and not await _terminate_unstarted(handle):
                    # Its workflow may still open it: a repeated purchase has to find it.
                    await self.orders.open(order, at)
                raise
            if kept is None:
                await _require_not_refused(handle)

    async def _kept(self, order_id: str) -> Order | None:
        """Return the order once its workflow has opened it."""
        try:
            return await self.orders.latest(order_id)
        except Refused as refused:
            if refused.code is not ErrorCode.NOT_FOUND:
                raise
            return None

    # Read.

    async def show(self, order_id: str) -> Order:
        """Return the order: from its workflow while that runs, then from the store."""
        return await self._caller.call(
            await self.orders.latest(order_id),
            lambda handle: handle.query(OrderWorkflow.view),
            lambda ended: ended,
        )

    async def list(self, account: str) -> list[Order]:
        """Return the account's orders, oldest first. Raises Refused: `not_found`."""
        return await self.orders.listed(account)

    # Admins' requests.

    async def confirm(self, order_id: str) -> Order:
        """Place the reviewed order; return it after its first payment attempt (ADD-3)."""
        return await self._update(order_id, OrderWorkflow.confirm, ConfirmOrder())

    async def cancel(self, order_id: str, *, release_all: bool = False) -> Order:
        """Cancel the order: at once while nothing is paid, else at the end of its term (ADD-6)."""
        request = CancelOrder(release_all=release_all)
        return await self._update(order_id, OrderWorkflow.cancel, request)

    async def change(self, order_id: str, quantity: int, release: tuple[str, ...] = ()) -> Order:
        """Reduce the quantity from the end of the term on (ADD-6)."""
        users = tuple(dict.fromkeys(normalized(email) for email in release))
        request = ChangeQuantity(quantity=quantity, release=users)
        return await self._update(order_id, OrderWorkflow.change_quantity, request)

    async def _update(
        self, order_id: str, update: UpdateMethodMultiParam[..., Order], argument: Value
    ) -> Order:
        return await self._caller.update(
            await self.orders.latest(order_id), update, [argument], _refuse_ended
        )

    @property
    def _caller(self) -> WorkflowCaller[Order, OrderWorkflow, Order]:
        return WorkflowCaller(
            temporal=self.temporal,
            handle=_handle,
            read_stored=lambda kept: self.orders.latest(kept.order_id),
            ended=lambda kept: kept.state.final,
        )

    # Recovery.

    async def restart(self, kept: Order) -> None:
        """Start the order's workflow again from the state in the store, unless it runs."""
        order = _terms_of(kept).model_copy(update={"policy": self.policy})
        await self._start(order, kept)


def _handle(client: Client, kept: Order) -> AnyOrderHandle:
    return client.get_workflow_handle_for(OrderWorkflow.run, kept.workflow_id)


async def _terminate_unstarted(handle: AnyOrderHandle) -> bool:
    """Terminate a run that no worker has started; return whether that is certain."""
    try:
        if (await handle.describe()).history_length <= _UNSTARTED_EVENTS:
            await handle.terminate("No worker started it in time.")
            return (await handle.describe()).history_length <= _UNSTARTED_EVENTS + 1
    except RPCError:
        # The outcome is unknown, and the error that follows says so.
        return False
    return False


async def _require_not_refused(handle: AnyOrderHandle) -> None:
    """Raise the Refused with which the workflow failed when the store refused the order."""
    try:
        execution = await handle.describe()
        if execution.status is WorkflowExecutionStatus.FAILED:
            await handle.result()
    except WorkflowFailureError as failed:
        if isinstance(failed.cause, Refused):
            raise failed.cause from None
        raise
    except RPCError as failure:
        if failure.status is not RPCStatusCode.NOT_FOUND:
            raise temporal_unavailable(failure) from failure


def _terms_of(kept: Order) -> BuyLicenses:
    """Return the request that the order was made by."""
    return BuyLicenses(
        order_id=kept.order_id,
        account=kept.account,
        sku=kept.sku,
        capacity=kept.capacity,
        quantity=kept.quantity,
        cycle=kept.cycle,
        portal=kept.portal,
        bought_by=kept.bought_by,
    )


def _refuse_ended(kept: Order) -> NoReturn:
    raise refusal(OrderMachine, kept.state)
