"""The typed client of purchases: what admins ask of them."""

import uuid
from collections.abc import Awaitable, Callable
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
from clients.fairness import caused_by
from clients.workflow_call import Asking, Patience, passes, unreachable
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
from workflows.order import AddonPurchaseWorkflow, described, search_attributes

START_TIMEOUT = timedelta(seconds=8)

REPEATED_WITHIN = timedelta(days=1)
"""So long whoever buys the same again, because nobody had answered, means the first order."""

_UNTOUCHED = 2
"""The events of a run that no worker has taken up: its start, and its first task."""

_UNDECIDED = frozenset({OrderState.DRAFT, OrderState.PLACED, OrderState.PAID})
"""Neither in review nor has its first payment been tried."""

AnyPurchaseHandle = WorkflowHandle[AddonPurchaseWorkflow, Order]


@dataclass(frozen=True)
class OrderClient:
    """Buys licenses, reads orders from the store, and asks their workflows.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    """Connects to Temporal on first use: what the store can answer needs no server."""
    orders: SqlOrders
    policy: Policy
    task_queue: str
    wait_seconds: float

    # Buying.

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
        """The order, once it is in review or its first payment has been tried.

        What is refused is refused before anything is started (ADD-1, ADD-2).
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
            awaited_until=at + timedelta(seconds=self.wait_seconds),
        )
        draft = await self.orders.quoted(order, at)
        if unanswered := await self._unanswered(order):
            return await self._told(await self._handle(unanswered), _terms_of(unanswered), at)
        return await self._told(await self._started(order, draft, at), order, at)

    async def _unanswered(self, order: BuyLicenses) -> Order | None:
        """The same order by the same admin, of whose outcome no command could tell.

        Only one for which nobody waits any more: another may be meant now.
        """
        now, asked = datetime.now(UTC), {"policy": Policy(), "awaited_until": None}
        for kept in await self.orders.unreported(order.account):
            terms = order.model_copy(update=asked | {"order_id": kept.order_id})
            given_up = kept.awaited_until or kept.journal[0].at
            unanswered = now - REPEATED_WITHIN < given_up < now and not kept.state.final
            if unanswered and _terms_of(kept) == terms:
                return kept
        return None

    async def _told(self, handle: AnyPurchaseHandle, order: BuyLicenses, at: datetime) -> Order:
        """The order that whoever asked is told of."""
        decided = await self._decided(handle, order, at)
        await self.orders.report(decided.order_id, datetime.now(UTC))
        return decided

    async def _started(self, order: BuyLicenses, draft: Order, at: datetime) -> AnyPurchaseHandle:
        """The purchase; a start whose answer was lost is asked for again, and is the same one."""
        patience = Patience(self.wait_seconds)
        while True:
            try:
                return await self._start(order, draft)
            except RPCError as failure:
                try:
                    if not await passes(failure, await self.connect()):
                        raise unreachable(failure) from failure
                    await patience.pause()
                except Unavailable:
                    # It may run: whoever buys again has to find it.
                    await self.orders.open(order, at)
                    raise

    async def _start(self, order: BuyLicenses, draft: Order) -> AnyPurchaseHandle:
        client = await self.connect()
        return await client.start_workflow(
            AddonPurchaseWorkflow.run,
            StartOrder(order=order, carried=draft),
            id=order.workflow_id,
            task_queue=self.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # Somebody else may have taken it up in the meantime.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=search_attributes(order, draft),
            static_summary=f"{described(draft)} for {order.account}",
            priority=caused_by(order.account),
            rpc_timeout=START_TIMEOUT,
        )

    async def _decided(self, handle: AnyPurchaseHandle, order: BuyLicenses, at: datetime) -> Order:
        """The order once it is in review or its first payment has been tried."""
        patience = Patience(self.wait_seconds)
        while True:
            kept = await self._kept(order.order_id)
            if kept and kept.state not in _UNDECIDED:
                return kept
            try:
                await patience.pause()
            except Unavailable:
                if kept is None and not await _withdrawn(handle):
                    # Its workflow may still open it: whoever buys again has to find it.
                    await self.orders.open(order, at)
                raise
            if kept is None:
                await _require_unrefused(handle)

    async def _kept(self, order_id: str) -> Order | None:
        """The order, once its workflow has opened it."""
        try:
            return await self.orders.latest(order_id)
        except Refused as refused:
            if refused.code is not ErrorCode.NOT_FOUND:
                raise
            return None

    # Looking.

    async def show(self, order_id: str) -> Order:
        """The order: from its workflow until it is over, then from the store."""
        return await self._asking.ask(
            await self.orders.latest(order_id),
            lambda handle: handle.query(AddonPurchaseWorkflow.view),
            lambda over: over,
        )

    async def list(self, account: str) -> list[Order]:
        """The account's orders, the oldest first, from the store. Raises Refused: `not_found`."""
        return await self.orders.listed(account)

    # Asking.

    async def confirm(self, order_id: str) -> Order:
        """Place what was reviewed; the order when its first payment has been tried (ADD-3)."""
        return await self._ask(order_id, AddonPurchaseWorkflow.confirm, ConfirmOrder())

    async def cancel(self, order_id: str, *, release_all: bool = False) -> Order:
        """End it: at once while nothing is paid for, else with its term (ADD-6)."""
        answer = CancelOrder(release_all=release_all)
        return await self._ask(order_id, AddonPurchaseWorkflow.cancel, answer)

    async def change(self, order_id: str, quantity: int, release: tuple[str, ...] = ()) -> Order:
        """Have fewer from the end of the term on (ADD-6)."""
        people = tuple(dict.fromkeys(normalized(email) for email in release))
        answer = ChangeQuantity(quantity=quantity, release=people)
        return await self._ask(order_id, AddonPurchaseWorkflow.change_quantity, answer)

    async def _ask(
        self, order_id: str, update: UpdateMethodMultiParam[..., Order], answer: Value
    ) -> Order:
        return await self._asking.update(
            await self.orders.latest(order_id), update, [answer], _over
        )

    @property
    def _asking(self) -> Asking[Order, AddonPurchaseWorkflow, Order]:
        return Asking(
            connect=self.connect,
            handle=self._handle,
            reread=lambda kept: self.orders.latest(kept.order_id),
            ended=lambda kept: kept.state.final,
            wait_seconds=self.wait_seconds,
        )

    async def _handle(self, kept: Order) -> AnyPurchaseHandle:
        client = await self.connect()
        return client.get_workflow_handle_for(AddonPurchaseWorkflow.run, kept.workflow_id)

    # Going on.

    async def take_up(self, kept: Order) -> None:
        """Go on with an order whose workflow was ended from outside; one that runs is left."""
        order = _terms_of(kept).model_copy(update={"policy": self.policy})
        await self._start(order, kept)


async def _withdrawn(handle: AnyPurchaseHandle) -> bool:
    """Take back what no worker has taken up; whether that is sure."""
    try:
        if (await handle.describe()).history_length <= _UNTOUCHED:
            await handle.terminate("No worker took it up in time.")
            return (await handle.describe()).history_length <= _UNTOUCHED + 1
    except RPCError:
        # Nobody knows, and the buyer is told so.
        return False
    return False


async def _require_unrefused(handle: AnyPurchaseHandle) -> None:
    """Raise the Refused with which a purchase ended that the store would not open."""
    try:
        described = await handle.describe()
        if described.status is WorkflowExecutionStatus.FAILED:
            await handle.result()
    except WorkflowFailureError as failed:
        if isinstance(failed.cause, Refused):
            raise failed.cause from None
        raise
    except RPCError as failure:
        if failure.status is not RPCStatusCode.NOT_FOUND:
            raise unreachable(failure) from failure


def _terms_of(kept: Order) -> BuyLicenses:
    """What was ordered."""
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


def _over(kept: Order) -> NoReturn:
    raise refusal(OrderMachine, kept.state)
