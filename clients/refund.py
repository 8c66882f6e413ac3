"""The typed client of refunds: what operators ask of them, and what providers tell them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from adapters.sql.money.refund import SqlRefunds
from clients.fairness import caused_by
from clients.workflow_call import Asking, asking_temporal
from domain.address import masked
from domain.model import Value
from domain.refund import (
    CloseRefund,
    ConvertRefund,
    Refund,
    RefundState,
    RetryRefund,
    StartRefund,
)
from states.lifecycle import refusal
from states.refund import RefundMachine
from workflows.refund import RefundWorkflow, search_attributes

TOLD_WITHIN = timedelta(seconds=5)
"""A provider waits some ten seconds for our answer before it says everything again."""


@dataclass(frozen=True)
class RefundClient:
    """Reads refunds from the store, and asks and tells their workflows.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    """Connects to Temporal on first use: what the store can answer needs no server."""
    refunds: SqlRefunds
    task_queue: str
    wait_seconds: float

    # Looking.

    async def show(self, refund_id: str) -> Refund:
        """The refund: from its workflow until it comes to rest, then from the store."""
        return await self._asking.ask(
            await self.refunds.latest(refund_id),
            lambda handle: handle.query(RefundWorkflow.view),
            lambda rested: rested,
        )

    async def list(self, state: RefundState | None = None) -> list[Refund]:
        """The refunds, those in `state` or all, oldest first, from the store."""
        return await self.refunds.listed(state)

    # Asking.

    async def convert(self, refund_id: str) -> Refund:
        """Turn what failed into credit of the account that was joined (REF-4)."""
        return await self._ask(refund_id, RefundWorkflow.convert, ConvertRefund())

    async def retry(self, refund_id: str, method: str | None = None) -> Refund:
        """Ask the provider anew for what failed, perhaps with another method (REF-4)."""
        return await self._ask(refund_id, RefundWorkflow.retry, RetryRefund(method=method))

    async def close(self, refund_id: str, reason: str) -> Refund:
        """Give up what is still open (REF-4)."""
        return await self._ask(refund_id, RefundWorkflow.close, CloseRefund(reason=reason))

    async def _ask(
        self, refund_id: str, update: UpdateMethodMultiParam[..., Refund], order: Value
    ) -> Refund:
        return await self._asking.update(
            await self.refunds.latest(refund_id), update, [order], _rested
        )

    @property
    def _asking(self) -> Asking[Refund, RefundWorkflow, Refund]:
        return Asking(
            connect=self.connect,
            handle=self._handle,
            reread=lambda kept: self.refunds.latest(kept.refund_id),
            ended=lambda kept: kept.state.finished,
            wait_seconds=self.wait_seconds,
        )

    async def _handle(self, kept: Refund) -> WorkflowHandle[RefundWorkflow, Refund]:
        client = await self.connect()
        return client.get_workflow_handle_for(RefundWorkflow.run, kept.workflow_id)

    # Telling.

    async def notify(self, refund_id: str, provider_id: str) -> None:
        """Let the refund look at once: its provider has news of the refund `provider_id`.

        One that has come to rest otherwise is woken, for it may have succeeded late (REF-4);
        one that has arrived in full has nothing left to learn. Raises `Refused(not_found)`.
        """
        kept = await self.refunds.latest(refund_id)
        if kept.state is RefundState.SETTLED and not kept.may_arrive_late:
            return
        client = await self.connect()
        handle = client.get_workflow_handle_for(RefundWorkflow.run, kept.workflow_id)
        with asking_temporal():
            try:
                await handle.signal(
                    RefundWorkflow.provider_notified, provider_id, rpc_timeout=TOLD_WITHIN
                )
            except RPCError as failure:
                if failure.status is not RPCStatusCode.NOT_FOUND:
                    raise
                await self._start_again(client, kept, told=provider_id)

    async def take_up(self, kept: Refund) -> None:
        """Go on with a refund whose workflow was ended from outside; one that runs is left."""
        with asking_temporal():
            await self._start_again(await self.connect(), kept)

    async def _start_again(self, client: Client, kept: Refund, *, told: str | None = None) -> None:
        order = await self.refunds.order_of(kept.refund_id)
        await client.start_workflow(
            RefundWorkflow.run,
            StartRefund(order=order, carried=kept),
            id=kept.workflow_id,
            task_queue=self.task_queue,
            priority=caused_by(order.target),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # Somebody else may have started it in the meantime.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="provider_notified" if told else None,
            start_signal_args=[told] if told else [],
            search_attributes=search_attributes(order, kept),
            static_summary=f"Refund to {masked(order.payee)}",
            rpc_timeout=TOLD_WITHIN,
        )


def _rested(kept: Refund) -> NoReturn:
    raise refusal(RefundMachine, kept.state)
