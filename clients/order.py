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
"""Longest time after an unreported order in which the same request continues it."""

_UNSTARTED_EVENTS = 2
"""Events of a run that no worker has started: the start and the first scheduled task."""

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

        Raises Refused before anything is started (ADD-1, ADD-2).
        """
        at = datetime.now(UTC)
        request = BuyLicenses(
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
        return await self._place(request, at)

    async def _place(self, request: BuyLicenses, at: datetime) -> Order:
        """Start the order or find the unreported one, and wait for its outcome."""
        draft = await self.orders.quoted(request, at)
        unreported = await self._unreported(request)
        client, budget = await self.temporal.connect(), self.temporal.wait_budget()
        if unreported:
            request, handle = _request_of(unreported), _handle(client, unreported)
        else:
            handle = await self._start_new(client, request, draft, budget)
        decided = await self._decided(handle, request, at, budget)
        await self.orders.report(decided.order_id, datetime.now(UTC))
        return decided

    async def _unreported(self, request: BuyLicenses) -> Order | None:
        """Return an order of the same request whose outcome no command has reported.

        An order whose command still waits does not count: the admin may want both.
        """
        now, ignored = datetime.now(UTC), {"policy": Policy(), "caller_waits_until": None}
        for stored in await self.orders.unreported(request.account):
            same = request.model_copy(update=ignored | {"order_id": stored.order_id})
            waited_until = stored.caller_waits_until or stored.journal[0].at
            recent = now - REPEAT_WINDOW < waited_until < now and not stored.state.final
            if recent and _request_of(stored) == same:
                return stored
        return None

    async def _start_new(
        self, client: Client, request: BuyLicenses, draft: Order, budget: WaitBudget
    ) -> AnyOrderHandle:
        """Start the order; a retry after a lost answer finds the same workflow."""
        try:
            while True:
                async with budget.attempt(client):
                    return await self._start(request, draft)
                await budget.pause()
        except Unavailable:
            # It may run, so a repeated request must find it.
            await self.orders.open(request, draft.journal[0].at)
            raise

    async def _start(self, request: BuyLicenses, record: Order) -> AnyOrderHandle:
        client = await self.temporal.connect()
        return await client.start_workflow(
            OrderWorkflow.run,
            StartOrder(order=request, carried=record),
            id=request.workflow_id,
            task_queue=self.temporal.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # Another process may have started it in the meantime.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=search_attributes(request, record),
            static_summary=f"{described(record)} for {request.account}",
            priority=fairness_priority(request.account),
            rpc_timeout=START_TIMEOUT,
        )

    async def _decided(
        self, handle: AnyOrderHandle, request: BuyLicenses, at: datetime, budget: WaitBudget
    ) -> Order:
        """Wait until the order is in review or its first payment has been attempted."""
        while True:
            stored = await self._opened(request.order_id)
            if stored and stored.state not in _UNDECIDED:
                return stored
            try:
                await budget.pause()
            except Unavailable:
                if stored is None and not await _terminate_unstarted(handle):
                    # Its workflow may still open it, so a repeated request must find it.
                    await self.orders.open(request, at)
                raise
            if stored is None:
                await _require_not_refused(handle)

    async def _opened(self, order_id: str) -> Order | None:
        """Return the order once its workflow has opened it."""
        try:
            return await self.orders.latest(order_id)
        except Refused as refused:
            if refused.code is not ErrorCode.NOT_FOUND:
                raise
            return None

    # Read.

    async def show(self, order_id: str) -> Order:
        """Return the order: from its workflow, or after its end from the store."""
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
            read_stored=lambda stored: self.orders.latest(stored.order_id),
            ended=lambda stored: stored.state.final,
        )

    # Recovery.

    async def restart(self, stored: Order) -> None:
        """Restart the order's workflow from the stored record, unless it runs."""
        request = _request_of(stored).model_copy(update={"policy": self.policy})
        await self._start(request, stored)


def _handle(client: Client, stored: Order) -> AnyOrderHandle:
    return client.get_workflow_handle_for(OrderWorkflow.run, stored.workflow_id)


async def _terminate_unstarted(handle: AnyOrderHandle) -> bool:
    """Terminate a run that no worker has started; return whether that has succeeded."""
    try:
        if (await handle.describe()).history_length <= _UNSTARTED_EVENTS:
            await handle.terminate("No worker started it in time.")
            return (await handle.describe()).history_length <= _UNSTARTED_EVENTS + 1
    except RPCError:
        # The outcome is unknown, and the error that follows says so.
        return False
    return False


async def _require_not_refused(handle: AnyOrderHandle) -> None:
    """Raise the refusal of the store, if the workflow failed with one."""
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


def _request_of(stored: Order) -> BuyLicenses:
    """Return the request that created the order."""
    return BuyLicenses(
        order_id=stored.order_id,
        account=stored.account,
        sku=stored.sku,
        capacity=stored.capacity,
        quantity=stored.quantity,
        cycle=stored.cycle,
        portal=stored.portal,
        bought_by=stored.bought_by,
    )


def _refuse_ended(stored: Order) -> NoReturn:
    raise refusal(OrderMachine, stored)
