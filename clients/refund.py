"""The client of refunds: reads them, and sends operators' requests and provider notifications."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from adapters.sql.money.refund import SqlRefunds
from clients.fairness import fairness_priority
from clients.workflow_call import TemporalAccess, WorkflowCaller, temporal_errors_as_unavailable
from domain.author import THEMSELVES, Author
from domain.model import Value
from domain.refund import (
    CloseRefund,
    ConvertRefund,
    Refund,
    RefundState,
    RefundSummary,
    RetryRefund,
    StartRefund,
    WatchRefund,
)
from states.lifecycle import refusal
from states.refund import RefundMachine
from workflows.refund import (
    RefundWatchWorkflow,
    RefundWorkflow,
    start_options,
    watch_options,
)

NOTIFY_TIMEOUT = timedelta(seconds=5)
"""Well below the ten seconds after which a provider repeats a notification."""


@dataclass(frozen=True)
class RefundClient:
    """Reads refunds from the store, and sends updates and signals to their workflows.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    refunds: SqlRefunds
    author: Author = THEMSELVES

    # Read.

    async def show(self, refund_id: str) -> Refund:
        """Return the refund: from its workflow, or after its end from the store."""
        return await self._caller.call(
            await self.refunds.latest(refund_id),
            lambda handle: handle.query(RefundWorkflow.view),
            lambda closed: closed,
        )

    async def list(self, state: RefundState | None = None) -> list[Refund]:
        """Return the refunds, those in `state` or all, oldest first, from the store."""
        return await self.refunds.listed(state)

    # Requests of operators, and of the payee.

    async def convert(self, refund_id: str, *, by: str | None = None) -> Refund:
        """Convert the failed amount into credit of the account that was joined (REF-4)."""
        request = ConvertRefund(by=by or self.author.name)
        return await self._update(refund_id, "convert", RefundWorkflow.convert, request)

    async def retry(
        self, refund_id: str, method: str | None = None, *, by: str | None = None
    ) -> Refund:
        """Request the failed amount from the provider again, or by another method (REF-4)."""
        request = RetryRefund(method=method, by=by or self.author.name)
        return await self._update(refund_id, "retry", RefundWorkflow.retry, request)

    async def close(self, refund_id: str, reason: str) -> Refund:
        """Write off the amount that is still open (REF-4)."""
        request = CloseRefund(reason=reason, by=self.author.name)
        return await self._update(refund_id, "close", RefundWorkflow.close, request)

    async def _update(
        self,
        refund_id: str,
        request: str,
        update: UpdateMethodMultiParam[..., RefundSummary],
        argument: Value,
    ) -> Refund:
        def refuse(closed: Refund) -> NoReturn:
            raise refusal(RefundMachine, closed, request)

        kept = await self.refunds.latest(refund_id)
        await self._caller.update(kept, update, [argument], refuse)
        return await self.refunds.latest(refund_id)

    @property
    def _caller(self) -> WorkflowCaller[Refund, RefundWorkflow, RefundSummary]:
        return WorkflowCaller(
            temporal=self.temporal,
            handle=_handle,
            read_stored=lambda stored: self.refunds.latest(stored.refund_id),
            ended=lambda stored: stored.state.finished,
            journal=lambda stored: stored.journal,
        )

    # Notifications and recovery.

    async def notify(self, refund_id: str, provider_id: str) -> None:
        """Signal that the status of the provider's refund `provider_id` may have changed.

        A refund whose workflow has closed is restarted, since it may have succeeded late (REF-4).
        One that is settled in full needs no signal. Raises `Refused(not_found)`.
        """
        kept = await self.refunds.latest(refund_id)
        if kept.state is RefundState.SETTLED and not kept.may_arrive_late:
            return
        client = await self.temporal.connect()
        with temporal_errors_as_unavailable():
            try:
                await _handle(client, kept).signal(
                    RefundWorkflow.provider_notified, provider_id, rpc_timeout=NOTIFY_TIMEOUT
                )
            except RPCError as failure:
                if failure.status is not RPCStatusCode.NOT_FOUND:
                    raise
                await self._start(kept, provider_id)

    async def restart(self, kept: Refund) -> None:
        """Restart the refund's workflow from the stored record, unless it runs."""
        with temporal_errors_as_unavailable():
            await self._start(kept)

    async def restart_watch(self, kept: Refund) -> None:
        """Restart the look-ups for a late success, unless they run (REF-4)."""
        client, plan = await self.temporal.connect(), await self.refunds.plan_of(kept.refund_id)
        await client.start_workflow(
            RefundWatchWorkflow.run,
            WatchRefund(plan=plan, closed_at=kept.journal[-1].at),
            **watch_options(plan),
            task_queue=self.temporal.task_queue,
            priority=fairness_priority(plan.target),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=NOTIFY_TIMEOUT,
        )

    async def _start(self, kept: Refund, provider_id: str | None = None) -> None:
        """Start the workflow with a signal about `provider_id`; a running one gets the signal."""
        client = await self.temporal.connect()
        start = StartRefund(plan=await self.refunds.plan_of(kept.refund_id), carried=kept)
        await client.start_workflow(
            RefundWorkflow.run,
            start,
            **start_options(start),
            task_queue=self.temporal.task_queue,
            priority=fairness_priority(start.plan.target),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # Another process may have started it in the meantime.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="provider_notified" if provider_id else None,
            start_signal_args=[provider_id] if provider_id else [],
            rpc_timeout=NOTIFY_TIMEOUT,
        )


def _handle(client: Client, kept: Refund) -> WorkflowHandle[RefundWorkflow, RefundSummary]:
    return client.get_workflow_handle_for(RefundWorkflow.run, kept.workflow_id)
