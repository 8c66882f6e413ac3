"""The client of orders: buys licenses, reads orders, and sends admins' requests."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NoReturn, TypedDict

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import (
    Priority,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.workflow import UpdateMethodMultiParam

from adapters.sql.money.order import SqlOrders
from clients.fairness import fairness_priority
from clients.workflow_call import START_TIMEOUT, TemporalAccess, WorkflowCaller, start_and_report
from domain.address import normalized
from domain.author import THEMSELVES, Author
from domain.error import ErrorCode, Refused
from domain.license import Sku
from domain.model import Value
from domain.order import (
    REPLACED,
    BuyLicenses,
    CancelOrder,
    ChangeQuantity,
    ConfirmOrder,
    Cycle,
    Order,
    OrderQuote,
    Portal,
    StartOrder,
)
from domain.policy import Policy
from states.lifecycle import refusal
from states.order import OrderMachine
from workflows.order import OrderWorkflow, described, search_attributes

REPEAT_WINDOW = timedelta(days=1)
"""Longest time after an unreported order in which the same request continues it."""


class _StartOptions(TypedDict):
    id: str
    task_queue: str
    id_reuse_policy: WorkflowIDReusePolicy
    id_conflict_policy: WorkflowIDConflictPolicy
    search_attributes: TypedSearchAttributes
    static_summary: str
    priority: Priority


@dataclass(frozen=True)
class OrderClient:
    """Buys licenses, reads orders from the store, and sends updates to their workflows.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    orders: SqlOrders
    policy: Policy
    author: Author = THEMSELVES

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
        return await self.place(
            self.request(
                account,
                sku,
                quantity=quantity,
                cycle=cycle,
                by=by,
                capacity=capacity,
                portal=portal,
            )
        )

    def request(
        self,
        account: str,
        sku: Sku,
        *,
        quantity: int,
        cycle: Cycle,
        by: str,
        capacity: int | None = None,
        portal: Portal = "plans",
        key: str | None = None,
    ) -> BuyLicenses:
        """Return the request of a purchase; requests with the same key place one order."""
        at, buyer = datetime.now(UTC), normalized(by)
        named = f"{account}\n{buyer}\n{key}".encode()
        name = sha256(named).hexdigest() if key else uuid.uuid4().hex
        return BuyLicenses(
            order_id=f"or-{name[:16]}",
            account=account,
            sku=sku,
            capacity=capacity,
            quantity=quantity,
            cycle=cycle,
            portal=portal,
            bought_by=buyer,
            author=self.author.acting_for(buyer),
            policy=self.policy,
            caller_waits_until=at + timedelta(seconds=self.temporal.wait_seconds),
        )

    async def quote(self, request: BuyLicenses) -> OrderQuote:
        """Return the amounts of a purchase, and order nothing. Raises Refused as `buy`."""
        return (await self.orders.quoted(request, datetime.now(UTC))).quote

    async def place(self, request: BuyLicenses) -> Order:
        """Write the draft or find the order of the request, and wait for its first payment attempt.

        From the draft on the order is placed, even if this command ends. Raises Refused as `buy`,
        and `conflict` if another request with the same key has other terms.
        """
        at = datetime.now(UTC)
        await self.orders.quoted(request, at)
        client = await self.temporal.connect()
        order = (
            await self._repeated(request)
            or await self._unreported(request)
            or await self.orders.open(request, at)
        )
        if order.state.final:
            return order
        placed = await start_and_report(
            client,
            self.temporal.wait_budget(),
            OrderWorkflow.report,
            lambda: WithStartWorkflowOperation(
                OrderWorkflow.run, StartOrder(order=order), **self._start_options(order)
            ),
        )
        await self.orders.report(placed.order_id, datetime.now(UTC))
        return placed

    async def replace(self, order_id: str, request: BuyLicenses) -> Order:
        """Cancel a review and place an order with other terms; return that order (ADD-3).

        Raises Refused as `place`, before anything changes, and `conflict` if the order is no
        longer in review. A repeated request returns the new order.
        """
        stored = await self.orders.latest(order_id)
        await self.quote(request)
        if stored.note != REPLACED:
            by = self.author.acting_for(request.bought_by)
            cancel = CancelOrder(replaced=True, by=by)
            await self._update(order_id, "cancel", OrderWorkflow.cancel, cancel)
        return await self.place(request)

    async def _repeated(self, request: BuyLicenses) -> Order | None:
        """Return the order of a request with the same key, if any. Raises Refused: `conflict`."""
        stored = await self.orders.find(request.order_id)
        if stored and not stored.has_terms_of(request):
            raise Refused(ErrorCode.CONFLICT, f"{stored.order_id} was placed with other terms.")
        return stored

    async def _unreported(self, request: BuyLicenses) -> Order | None:
        """Return an order of the same request whose outcome no command has reported.

        An order whose command still waits does not count: the admin may want both.
        """
        now = datetime.now(UTC)
        for stored in await self.orders.unreported(request.account):
            waited_until = stored.caller_waits_until or stored.journal[0].at
            recent = now - REPEAT_WINDOW < waited_until < now and not stored.state.final
            if recent and stored.has_terms_of(request):
                return stored
        return None

    def _start_options(self, order: Order) -> _StartOptions:
        """Return the options of a start that uses a running workflow."""
        return _StartOptions(
            id=order.workflow_id,
            task_queue=self.temporal.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # Another process may have started it in the meantime.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=search_attributes(order),
            static_summary=f"{described(order)} for {order.account}",
            priority=fairness_priority(order.account),
        )

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

    # `by` is the owner or admin in whose name it is done, if any.

    async def confirm(self, order_id: str, *, by: str | None = None) -> Order:
        """Place the reviewed order; return it after its first payment attempt (ADD-3)."""
        request = ConfirmOrder(by=self._author(by))
        return await self._update(order_id, "confirm", OrderWorkflow.confirm, request)

    async def cancel(
        self, order_id: str, *, release_all: bool = False, by: str | None = None
    ) -> Order:
        """Cancel the order: at once while nothing is paid, else at the end of its term (ADD-6).

        While a payment is undecided the cancellation takes effect with its result.
        """
        request = CancelOrder(release_all=release_all, by=self._author(by))
        return await self._update(order_id, "cancel", OrderWorkflow.cancel, request)

    async def change(
        self,
        order_id: str,
        quantity: int,
        release: tuple[str, ...] = (),
        *,
        by: str | None = None,
    ) -> Order:
        """Reduce the quantity from the end of the term on (ADD-6)."""
        users = tuple(dict.fromkeys(normalized(email) for email in release))
        request = ChangeQuantity(quantity=quantity, release=users, by=self._author(by))
        return await self._update(
            order_id, "change_quantity", OrderWorkflow.change_quantity, request
        )

    def _author(self, by: str | None) -> str:
        return self.author.acting_for(normalized(by)) if by else self.author.name

    async def _update(
        self,
        order_id: str,
        request: str,
        update: UpdateMethodMultiParam[..., Order],
        argument: Value,
    ) -> Order:
        def refuse(ended: Order) -> NoReturn:
            raise refusal(OrderMachine, ended, request)

        return await self._caller.update(
            await self.orders.latest(order_id), update, [argument], refuse
        )

    @property
    def _caller(self) -> WorkflowCaller[Order, OrderWorkflow, Order]:
        return WorkflowCaller(
            temporal=self.temporal,
            handle=_handle,
            read_stored=lambda stored: self.orders.latest(stored.order_id),
            ended=lambda stored: stored.state.final,
            journal=lambda stored: stored.journal,
        )

    # Recovery.

    async def restart(self, stored: Order) -> None:
        """Restart the order's workflow from the stored record, unless it runs."""
        client = await self.temporal.connect()
        await client.start_workflow(
            OrderWorkflow.run,
            StartOrder(order=stored),
            **self._start_options(stored),
            rpc_timeout=START_TIMEOUT,
        )


def _handle(client: Client, stored: Order) -> WorkflowHandle[OrderWorkflow, Order]:
    return client.get_workflow_handle_for(OrderWorkflow.run, stored.workflow_id)
