"""The typed client of batches: files them, has them worked on, and reads how they went."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from adapters.link import LinkSigner
from adapters.sql.invitations.batch import SqlBatches
from adapters.sql.invitations.invitation import SqlInvitations
from clients.fairness import caused_by
from clients.invitation_start import START_TIMEOUT, STILL_OUT, with_link
from clients.workflow_call import unreachable
from domain.address import normalized
from domain.batch import Batch, BatchProgress, BatchRow, FinishedRow, StartBatch, request_digest
from domain.error import Unavailable
from domain.invitation import InvitationState, InviteResult
from domain.policy import Policy
from workflows.batch import BulkInviteWorkflow, search_attributes

LOOK_EVERY = timedelta(milliseconds=200)

Watch = Callable[[int, int], None]
"""Is told how many are done, and of how many."""


@dataclass(frozen=True)
class BulkClient:
    """Asks for batches of invitations; how they stand is the store's to say.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    batches: SqlBatches
    invitations: SqlInvitations
    signer: LinkSigner
    policy: Policy
    task_queue: str
    wait_seconds: float
    """How long it may stand still before a command gives up waiting."""

    async def submit(
        self,
        account: str,
        rows: Sequence[BatchRow],
        by: str,
        *,
        batch_id: str | None = None,
        heads_up_days: int = 0,
    ) -> Batch:
        """Have a batch worked on; asked again before its results were given, the same batch.

        Raises Refused when `by` may not invite at all, and then nobody is invited; `conflict`,
        when another request bears `batch_id`.
        """
        admin = normalized(by)
        managed_domains = await self.invitations.authorize_inviter(account, admin)
        told_by = request_digest(account, admin, heads_up_days, rows)
        batch = await self.batches.file(
            Batch(
                batch_id=batch_id or await self.batches.named(told_by),
                account=account,
                by=admin,
                managed_domains=managed_domains,
                heads_up_days=heads_up_days,
                policy=self.policy,
            ),
            told_by,
            rows,
            datetime.now(UTC),
        )
        progress = await self.batches.progress(batch.batch_id)
        if not progress.finished:
            await self._start(batch, progress)
        return batch

    async def _start(self, batch: Batch, progress: BatchProgress) -> None:
        """Let a workflow see to it; one that does already goes on."""
        client = await self.connect()
        try:
            await client.start_workflow(
                BulkInviteWorkflow.run,
                StartBatch(batch=batch, progress=progress),
                id=batch.workflow_id,
                task_queue=self.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                search_attributes=search_attributes(batch),
                static_summary=f"{progress.total} people into {batch.account}",
                priority=caused_by(batch.account),
                rpc_timeout=START_TIMEOUT,
            )
        except RPCError as failure:
            raise unreachable(failure) from failure

    async def wait_until_done(self, batch: Batch, watch: Watch) -> None:
        """Wait until every row has its result; `watch` is told how far it has come."""

        async def done() -> tuple[int, int]:
            progress = await self.batches.progress(batch.batch_id)
            return progress.done, progress.total

        if not await self._watched(done, watch):
            raise Unavailable(
                f"The batch {batch.batch_id} is not done, and no worker goes on with it now. "
                "Repeating the command goes on waiting for it.",
                outcome_unknown=True,
            )

    async def wait_until_out(self, batch: Batch, watch: Watch) -> None:
        """Wait until the mail server has taken or refused every e-mail, or takes no more."""
        total = (await self.batches.progress(batch.batch_id)).total

        async def out() -> tuple[int, int]:
            return total - await self.batches.still_out(batch.batch_id), total

        await self._watched(out, watch)

    async def _watched(
        self, counted: Callable[[], Awaitable[tuple[int, int]]], watch: Watch
    ) -> bool:
        """Whether all were done before it stood still for too long."""
        clock = asyncio.get_running_loop().time
        before, moved_at = -1, clock()
        while True:
            now, total = await counted()
            watch(now, total)
            if now >= total:
                return True
            if now > before:
                before, moved_at = now, clock()
            elif clock() - moved_at > self.wait_seconds:
                return False
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def results(self, batch: Batch, *, waited: bool = False) -> list[InviteResult]:
        """What became of every row that is done, in the order asked.

        With `waited`, an e-mail that is still on its way is an error.
        """
        found = await self.batches.results(batch.batch_id)
        return [self._result(row, waited=waited) for row in found]

    async def report(self, batch: Batch) -> None:
        """Whoever asked was given the results: the same request is a new one from now on."""
        await self.batches.report(batch.batch_id, datetime.now(UTC))

    def _result(self, row: FinishedRow, *, waited: bool) -> InviteResult:
        if row.stored is None:
            return InviteResult(email=row.person.email.strip(), result=row.result, error=row.error)
        invitation = with_link(self.signer, row.stored)
        error = STILL_OUT.as_json() if waited and invitation.state is InvitationState.SENT else None
        return InviteResult(
            email=invitation.email, result=row.result, error=error, invitation=invitation
        )
