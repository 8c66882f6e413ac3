"""The client of batches, and the invitation of their rows by a worker."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Literal

from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from adapters.link import LinkSigner
from adapters.sql.invitations.batch import SqlBatches
from adapters.sql.invitations.invitation import SqlInvitations
from clients.fairness import fairness_priority
from clients.invitation_start import (
    EMAIL_NOT_SENT,
    InvitationStarter,
    InvitationTerms,
    kept_license,
    with_link,
)
from clients.workflow_call import (
    START_TIMEOUT,
    NoWorkerAnswer,
    TemporalAccess,
    temporal_unavailable,
)
from domain.address import normalized
from domain.author import THEMSELVES, Author
from domain.batch import (
    Batch,
    BatchRow,
    FinishedRow,
    RowOutcome,
    StartBatch,
    refused_row,
    request_digest,
)
from domain.error import Refused, Unavailable
from domain.invitation import (
    Invitation,
    InvitationState,
    Invite,
    InviteResult,
    StoredInvitation,
    checked_note,
)
from domain.policy import Policy
from states.invitation import initial_record
from workflows.batch import BatchWorkflow, search_attributes

PROGRESS_INTERVAL = timedelta(milliseconds=200)

CONCURRENT_STARTS = 50
"""Workflow starts of all batches in flight: enough to keep the server busy.

Every other request to the server waits behind them.
"""

Watch = Callable[[int, int], None]
"""Receives the number of rows done, and the number of all rows."""


@dataclass(frozen=True)
class BatchClient:
    """Starts batches of invitations, and reads their progress and results from the store.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    """A command stops waiting after `wait_seconds` without progress."""
    batches: SqlBatches
    invitations: SqlInvitations
    signer: LinkSigner
    policy: Policy
    author: Author = THEMSELVES

    async def submit(
        self,
        account: str,
        rows: Sequence[BatchRow],
        by: str,
        *,
        batch_id: str | None = None,
        heads_up_days: int = 0,
        note: str | None = None,
    ) -> Batch:
        """Start a batch; the same request returns the same batch until its results were reported.

        Raises Refused when `by` may not invite at all, and then nobody is invited; `conflict`,
        when another request has `batch_id`.
        """
        admin, note = normalized(by), checked_note(note)
        managed_domains = await self.invitations.authorize_inviter(account, admin)
        digest = request_digest(account, admin, heads_up_days, rows, note)
        batch = await self.batches.file(
            Batch(
                batch_id=batch_id or await self.batches.current_id(digest),
                account=account,
                by=admin,
                author=self.author.acting_for(admin),
                managed_domains=managed_domains,
                heads_up_days=heads_up_days,
                note=note,
                policy=self.policy,
            ),
            digest,
            rows,
            datetime.now(UTC),
        )
        await self._start(batch)
        return batch

    async def _start(self, batch: Batch) -> None:
        """Start the batch's workflow unless it runs or has finished."""
        progress = await self.batches.progress(batch.batch_id)
        if progress.finished:
            return
        client = await self.temporal.connect()
        try:
            await client.start_workflow(
                BatchWorkflow.run,
                StartBatch(batch=batch, progress=progress),
                id=batch.workflow_id,
                task_queue=self.temporal.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                search_attributes=search_attributes(batch),
                static_summary=f"{progress.total} people into {batch.account}",
                priority=fairness_priority(batch.account),
                rpc_timeout=START_TIMEOUT,
            )
        except RPCError as failure:
            raise temporal_unavailable(failure) from failure

    async def restart(self, batch_id: str) -> None:
        """Restart the workflow of a batch with rows without a result, unless it runs."""
        if batch := await self.batches.find(batch_id):
            await self._start(batch)

    async def wait_until_finished(self, batch: Batch, watch: Watch) -> None:
        """Wait until every row has its result; report the progress to `watch`."""

        async def count_finished() -> tuple[int, int]:
            progress = await self.batches.progress(batch.batch_id)
            return progress.done, progress.total

        if not await self._wait_for_rows(count_finished, watch):
            raise Unavailable(
                f"The batch {batch.batch_id} is not finished and made no progress in time. "
                "Start a worker if none runs, and repeat the command.",
                outcome_unknown=True,
            )

    async def wait_until_sent(self, batch: Batch, watch: Watch) -> None:
        """Wait until the mail server has accepted or refused every e-mail, or stops."""
        total = (await self.batches.progress(batch.batch_id)).total

        async def count_sent() -> tuple[int, int]:
            return total - await self.batches.unsent_count(batch.batch_id), total

        await self._wait_for_rows(count_sent, watch)

    async def _wait_for_rows(
        self, count: Callable[[], Awaitable[tuple[int, int]]], watch: Watch
    ) -> bool:
        """Wait for the last row; return False after `wait_seconds` without progress."""
        before, progress_at = -1, time.monotonic()
        while True:
            done, total = await count()
            watch(done, total)
            if done >= total:
                return True
            if done > before:
                before, progress_at = done, time.monotonic()
            elif time.monotonic() - progress_at > self.temporal.wait_seconds:
                return False
            await asyncio.sleep(PROGRESS_INTERVAL.total_seconds())

    async def results(self, batch: Batch, *, waited: bool = False) -> list[InviteResult]:
        """Return the result of every row that is done, in the order given.

        With `waited`, a row whose e-mail is not sent yet has an error.
        """
        found = await self.batches.results(batch.batch_id)
        return [self._result(row, waited=waited) for row in found]

    async def report(self, batch: Batch) -> None:
        """Record that the results were reported; the same request then starts a new batch."""
        await self.batches.report(batch.batch_id, datetime.now(UTC))

    def _result(self, row: FinishedRow, *, waited: bool) -> InviteResult:
        if row.stored is None:
            return InviteResult(email=row.person.email.strip(), result=row.result, error=row.error)
        invitation = with_link(self.signer, row.stored)
        not_sent = waited and invitation.state is InvitationState.SENT
        return InviteResult(
            email=invitation.email,
            result=row.result,
            error=EMAIL_NOT_SENT.as_json() if not_sent else None,
            invitation=invitation,
            note=kept_license(row.person, row.stored) if row.result == "already_invited" else None,
        )


@dataclass(frozen=True)
class BatchInviter:
    """Invites rows of a batch: one transaction claims them, another stores their results."""

    starter: InvitationStarter
    batches: SqlBatches
    starts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENT_STARTS))
    """Shared by all batches of a worker."""

    async def invite_rows(
        self, batch: Batch, rows: Sequence[BatchRow], claims_in_order: asyncio.Lock
    ) -> None:
        """Invite each row once and store its result; a repetition finds the same invitations."""
        terms = InvitationTerms(
            account=batch.account,
            by=batch.by,
            author=batch.author,
            policy=batch.policy,
            managed_domains=batch.managed_domains,
            heads_up_days=batch.heads_up_days,
            note=batch.note,
        )
        refused, requests = self._requests(batch, rows, terms)
        outcomes = await self._invite_all(requests, terms, claims_in_order)
        done = (each for each in outcomes if isinstance(each, RowOutcome))
        await self.batches.keep(batch.batch_id, [*chain(refused, done)])
        for failure in outcomes:
            if isinstance(failure, BaseException):
                raise failure

    def _requests(
        self, batch: Batch, rows: Sequence[BatchRow], terms: InvitationTerms
    ) -> "tuple[list[RowOutcome], list[_RowRequest]]":
        """Return the outcomes of rows without a valid address, and the requests of all others."""
        refused, requests = list[RowOutcome](), list[_RowRequest]()
        for row in rows:
            try:
                invite = self.starter.invite_of(
                    row.person, terms, batch.invitation_id(row.position)
                )
            except Refused as error:
                refused.append(refused_row(row.position, error))
            else:
                initial = initial_record(invite, run_id="", at=datetime.now(UTC))
                requests.append(_RowRequest(row, invite, initial))
        return refused, requests

    async def _invite_all(
        self,
        requests: "Sequence[_RowRequest]",
        terms: InvitationTerms,
        claims_in_order: asyncio.Lock,
    ) -> list[RowOutcome | BaseException]:
        """Claim all rows in one transaction, and start their workflows."""
        if not requests:
            return []
        async with claims_in_order:
            claims = await self.starter.invitations.claim_all(
                [(request.invite, request.initial) for request in requests], datetime.now(UTC)
            )
        return await asyncio.gather(
            *(
                self._invite_claimed(request, claim, terms, claims_in_order)
                for request, claim in zip(requests, claims, strict=True)
            ),
            return_exceptions=True,
        )

    async def _invite_claimed(
        self,
        request: "_RowRequest",
        claim: StoredInvitation | Refused | None,
        terms: InvitationTerms,
        claims_in_order: asyncio.Lock,
    ) -> RowOutcome:
        """Start the row's workflow, or return why there is none; `claim` is None when claimed."""
        own = request.invite.invitation_id
        if isinstance(claim, Refused):
            return refused_row(request.row.position, claim)
        if claim is None or (claim.invitation_id == own and not claim.started):
            if run_id := await self._start_claimed(request):
                return request.outcome("invited", own, run_id)
        elif claim.started:
            own_claim = claim.invitation_id == own
            return request.outcome(
                "invited" if own_claim else "already_invited", claim.invitation_id
            )
        try:
            result, found = await self.starter.invite(
                request.row.person, terms, claims_in_order, invitation_id=own
            )
        except Refused as refused:
            return refused_row(request.row.position, refused)
        except NoWorkerAnswer as unavailable:
            return RowOutcome(
                position=request.row.position, result="refused", error=unavailable.as_json()
            )
        return request.outcome(result, found.invitation_id)

    async def _start_claimed(self, request: "_RowRequest") -> str | None:
        """Start the workflow of the claim; return its run, perhaps from an earlier attempt.

        Release the claim and return None if an earlier run of this person is still closing.
        """
        invite = request.invite
        try:
            async with self.starts:
                return await self.starter.start_workflow(invite, request.initial)
        except WorkflowAlreadyStartedError:
            pass
        except RPCError as failure:
            # The claim stays: the next attempt finds it as its own.
            raise temporal_unavailable(failure) from failure
        try:
            run_id = await self.starter.run_of_claim(invite.workflow_id, invite.invitation_id)
        except RPCError as failure:
            raise temporal_unavailable(failure) from failure
        if run_id is None:
            await self.starter.invitations.release(invite.invitation_id)
        return run_id


@dataclass(frozen=True)
class _RowRequest:
    """A row of a batch with the request to invite its person."""

    row: BatchRow
    invite: Invite
    initial: Invitation

    def outcome(
        self,
        result: Literal["invited", "already_invited"],
        invitation_id: str,
        run_id: str | None = None,
    ) -> RowOutcome:
        """Return the outcome of a row whose person has an invitation."""
        return RowOutcome(
            position=self.row.position, result=result, invitation_id=invitation_id, run_id=run_id
        )
