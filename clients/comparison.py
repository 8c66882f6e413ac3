"""The comparison of store, Temporal and payment provider, in both directions, by page (OPS-6).

It needs no worker: the state of a workflow is read from its history.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)

from activities.billing import ListedCharge, ListedRefund, ProviderRecords, RefundRefused
from activities.refund import refund_request, report_of
from adapters.sql.store import SqlStore
from clients.invitation_start import INVITATION_ID
from clients.redo import refund_changes, shown_invitation, shown_order
from clients.workflow_call import TemporalAccess
from clients.workflow_history import STARTS, Run, described, read_run
from domain.assignment import Assignment
from domain.invitation import StartInvitation, StoredInvitation
from domain.invoice import is_invoice_key
from domain.reconciliation import (
    CHECKED_AGAIN_AFTER,
    Divergence,
    DivergenceKind,
    RefundKey,
    compare_invitation,
    compare_order,
    compare_part,
    is_booked,
)
from domain.refund import LATE_LOOKUP_PERIOD, RefundPart, RefundPlan, request_key
from workflows.search_attribute import ACCOUNT_ID, LIFECYCLE_STATE

PAGE_SIZE: Final = 100
"""Workflows, records or requests to the provider that are in memory at the same time."""

CONCURRENT: Final = 10
"""Requests to Temporal, the store or the provider at the same time."""

Watch = Callable[[int, int], None]
"""Receives the number of compared records, and the number of all records."""

Found = TypeVar("Found")
Result = TypeVar("Result")

_ENDED_BY_A_PERSON: Final = frozenset(
    {WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.CANCELED}
)


@dataclass
class Comparison:
    """One comparison, with the numbers of compared records and the differences found."""

    temporal: TemporalAccess
    store: SqlStore
    provider: ProviderRecords
    watch: Watch
    checked: Counter[str] = field(default_factory=Counter)
    divergences: list[Divergence] = field(default_factory=list)
    total: int = 0

    async def run(self) -> None:
        """Compare everything."""
        client = await self.temporal.connect()
        self.total = (await client.count_workflows(self._query())).count
        await self._check_workflows(client)
        await self._check_records(client)
        await self._check_provider()

    def _count(self, kind: str, number: int) -> None:
        self.checked[kind] += number
        self.watch(self.checked.total(), max(self.total, self.checked.total()))

    async def _compare_each(
        self,
        kind: str,
        found: AsyncIterator[Found],
        compare: Callable[[Found], Awaitable[Divergence | None]],
    ) -> None:
        """Compare each of `found`; compare those that differ once more, some seconds later.

        Running workflows change between the reads of the two sides.
        """
        suspects = list[Found]()
        self._count(kind, 0)
        async for page in _pages(found):
            compared = await _each(page, compare)
            suspects += [each for each, differs in zip(page, compared, strict=True) if differs]
            self._count(kind, len(page))
        if not suspects:
            return
        if not await self.store.restore.is_marked():
            await asyncio.sleep(CHECKED_AGAIN_AFTER.total_seconds())
        known = {each.subject for each in self.divergences}
        # A record that is behind its ended workflow is no lost workflow.
        self.divergences += [
            each for each in await _each(suspects, compare) if each and each.subject not in known
        ]

    # Temporal → store.

    def _query(self) -> str:
        types = ", ".join(f"'{name}'" for name in STARTS)
        queue = self.temporal.task_queue.replace("'", "''")
        return f"TaskQueue = '{queue}' AND WorkflowType IN ({types})"

    async def _check_workflows(self, client: Client) -> None:
        listed = client.list_workflows(self._query(), page_size=PAGE_SIZE)
        await self._compare_each(
            "workflows", aiter(listed), lambda each: self._compare_workflow(client, each)
        )

    async def _compare_workflow(
        self, client: Client, listed: WorkflowExecution
    ) -> Divergence | None:
        if listed.status is WorkflowExecutionStatus.CONTINUED_AS_NEW:
            return None
        if await self._is_ended_alike(listed):
            return None
        if listed.workflow_type == "BulkInvite":
            return await self._compare_batch(listed)
        run = await read_run(client, listed)
        if run is None:
            return None
        compare = {
            "Invitation": self._compare_invitation,
            "Refund": self._compare_refund,
            "AddonPurchase": self._compare_order,
            "AddonAssignment": self._compare_assignment,
        }[listed.workflow_type]
        return await compare(run, _state_of(listed))

    async def _is_ended_alike(self, listed: WorkflowExecution) -> bool:
        """Return whether workflow and record have ended in the same state: neither changes."""
        if listed.status is not WorkflowExecutionStatus.COMPLETED:
            return False
        match listed.workflow_type:
            case "Invitation":
                claim = await listed.memo_value(INVITATION_ID, default=None)
                stored = await self.store.invitations.by_id(str(claim)) if claim else None
                ended = stored is not None and stored.invitation.state.final
                state: str | None = stored.invitation.state if stored and ended else None
            case "Refund":
                refund = await self.store.refunds.find(_last(listed.id))
                state = refund[1].state if refund and refund[1].state.finished else None
            case "AddonPurchase":
                order = await self.store.orders.find(_last(listed.id))
                state = order.state if order and order.state.final else None
            case _:
                return False
        return state == _state_of(listed)

    async def _compare_invitation(self, run: Run, state: str) -> Divergence | None:
        assert isinstance(run.start, StartInvitation), "the type of the workflow"
        invite = run.start.invite
        stored = await self.store.invitations.by_id(invite.invitation_id)
        shown = shown_invitation(run)
        kind: DivergenceKind | None
        if stored is None:
            kind = None if run.without_claim else DivergenceKind.RECORD_MISSING
        else:
            kind = compare_invitation(stored.invitation, shown)
            if kind is DivergenceKind.WORKFLOW_BEHIND and (not run.running or run.busy):
                kind = None
            if kind is None and _is_unbound(stored, run):
                kind = DivergenceKind.RECORD_BEHIND
        if kind is None:
            return None
        return Divergence.of(
            kind,
            run.id,
            store=stored.invitation.state if stored else None,
            elsewhere=state or shown.state,
            account=invite.account,
            run=invite.invitation_id,
        )

    async def _compare_refund(self, run: Run, state: str) -> Divergence | None:
        found = await self.store.refunds.find(run.id.removeprefix("refund/"))
        changes, shown = refund_changes(run)
        kind: DivergenceKind | None = None
        if found is None:
            kind = DivergenceKind.RECORD_MISSING
        elif changes and not is_booked(found[1], changes[-1]):
            kind = DivergenceKind.RECORD_BEHIND
        elif run.running and not run.busy and len(found[1].journal) > shown:
            kind = DivergenceKind.WORKFLOW_BEHIND
        if kind is None:
            return None
        return Divergence.of(
            kind,
            run.id,
            store=found[1].state if found else None,
            elsewhere=state,
            account=found[0].target if found else "",
        )

    async def _compare_order(self, run: Run, state: str) -> Divergence | None:
        stored, shown = await self.store.orders.find(_last(run.id)), shown_order(run)
        kind = compare_order(stored, shown) if stored else DivergenceKind.RECORD_MISSING
        ahead = stored and len(stored.journal) >= len(shown.journal)
        if ahead and (not run.running or run.busy):
            kind = None
        if kind is None:
            return None
        return Divergence.of(
            kind,
            run.id,
            store=stored.state if stored else None,
            elsewhere=state,
            account=shown.account,
        )

    async def _compare_assignment(self, run: Run, state: str) -> Divergence | None:
        assigned = next(
            (write.result for write in run.writes if isinstance(write.result, Assignment)), None
        )
        if assigned is None or await self.store.assignments.has(assigned.request_id):
            return None
        return Divergence.of(
            DivergenceKind.RECORD_MISSING,
            run.id,
            store=None,
            elsewhere=state,
            account=assigned.account,
        )

    async def _compare_batch(self, listed: WorkflowExecution) -> Divergence | None:
        if await self.store.batches.find(_last(listed.id)):
            return None
        return Divergence.of(
            DivergenceKind.RECORD_MISSING,
            listed.id,
            store=None,
            elsewhere=_status(listed),
            account=listed.typed_search_attributes.get(ACCOUNT_ID) or "",
        )

    # Store → Temporal.

    async def _check_records(self, client: Client) -> None:
        await self._compare_each("records", self._not_running(client), self._compare_record)

    async def _not_running(self, client: Client) -> AsyncIterator[str]:
        """Yield the unfinished records without a running workflow in visibility."""
        async for page in self.store.unfinished_workflows():
            for start in range(0, len(page), PAGE_SIZE):
                some = page[start : start + PAGE_SIZE]
                ids = ", ".join(f"'{each}'" for each in some)
                running = client.list_workflows(
                    f"ExecutionStatus = 'Running' AND WorkflowId IN ({ids})"
                )
                found = {each.id async for each in running}
                self._count("records", len(found))
                for each in some:
                    if each not in found:
                        yield each

    async def _compare_record(self, workflow_id: str) -> Divergence | None:
        last = await self.described(workflow_id)
        if last and last.status is WorkflowExecutionStatus.RUNNING:
            return None
        kind, _, rest = workflow_id.partition("/")
        match kind:
            case "watch" if await self._is_watched_enough(rest, last):
                return None
            case "bulk-invite" if last and last.status in _ENDED_BY_A_PERSON:
                # `attention` lists it with the command that continues it.
                return None
        state, account = await self.state_in_store(workflow_id)
        if state is None:
            return None
        return Divergence.of(
            DivergenceKind.WORKFLOW_MISSING,
            workflow_id,
            store=state,
            elsewhere=_status(last) if last else None,
            account=account,
        )

    async def _is_watched_enough(
        self, refund_id: str, last: WorkflowExecutionDescription | None
    ) -> bool:
        """Return whether no further look-up of a closed refund is needed (REF-4)."""
        refund = await self.store.refunds.latest(refund_id)
        completed = last is not None and last.status is WorkflowExecutionStatus.COMPLETED
        over = refund.entered_at + LATE_LOOKUP_PERIOD <= datetime.now(UTC)
        return completed or over or not refund.may_arrive_late

    async def state_in_store(self, workflow_id: str) -> tuple[str | None, str]:
        """Return the state of an unfinished record, None if it has ended, and its account."""
        kind, _, rest = workflow_id.partition("/")
        account = rest.partition("/")[0]
        match kind:
            case "invitation":
                live = await self.store.invitations.live(workflow_id)
                return (live.invitation.state if live and live.started else None), account
            case "refund" | "watch":
                found = await self.store.refunds.find(rest)
                # A closed refund is watched: it may still arrive.
                if found is None or (kind == "refund" and found[1].state.finished):
                    return None, ""
                return found[1].state, found[0].target
            case "addon":
                order = await self.store.orders.find(_last(rest))
                return (order.state if order and not order.state.final else None), account
            case "assignment":
                return "waiting", account
            case _:
                return "unfinished", ""

    async def described(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        """Return the last run; None if Temporal has none."""
        return await described(await self.temporal.connect(), workflow_id)

    # Store ↔ payment provider.

    async def _check_provider(self) -> None:
        await self._compare_each(
            "provider_refunds", self.provider.refunds(), self._compare_listed_refund
        )
        await self._compare_each(
            "provider_charges", self.provider.charges(), self._compare_listed_charge
        )
        await self._compare_each("refunds", self._requested_parts(), self._look_up)
        await self._compare_each("charges", self._paid(), self._find)

    async def _paid(self) -> AsyncIterator[tuple[str, str, str]]:
        """Yield the paid invoices of orders and of accounts."""
        for pages in (self.store.orders.charges(), self.store.invoices.charges()):
            async for each in _flat(pages):
                yield each

    async def _compare_listed_refund(self, listed: ListedRefund) -> Divergence | None:
        key = RefundKey.of(listed.key)
        found = await self.store.refunds.find(key.refund_id)
        part = found[1].part_of(key.payment) if found else None
        kind: DivergenceKind | None = DivergenceKind.REFUND_MISSING
        if part and part.attempt > key.attempt:
            return None
        if part and part.attempt == key.attempt:
            kind = compare_part(part, report_of(part, listed.status))
        if kind is None or (found and await self._is_busy(found[0].workflow_id)):
            return None
        return Divergence.of(
            kind,
            listed.key,
            store=part.state if part else None,
            elsewhere=listed.status.state,
            account=found[0].target if found else "",
        )

    async def _compare_listed_charge(self, listed: ListedCharge) -> Divergence | None:
        if is_invoice_key(listed.key):
            return await self._compare_listed_invoice(listed)
        order_id, invoice, *_ = listed.key.split("/")
        if await self.store.orders.is_paid(f"{order_id}/{invoice}"):
            return None
        order = await self.store.orders.find(order_id)
        if order and await self._is_busy(order.workflow_id):
            return None
        return Divergence.of(
            DivergenceKind.CHARGE_MISSING,
            listed.key,
            store=order.state if order else None,
            elsewhere="succeeded",
            account=order.account if order else "",
        )

    async def _compare_listed_invoice(self, listed: ListedCharge) -> Divergence | None:
        if await self.store.invoices.is_booked(listed.key):
            return None
        return Divergence.of(
            DivergenceKind.CHARGE_MISSING, listed.key, store=None, elsewhere="succeeded"
        )

    async def _is_busy(self, workflow_id: str) -> bool:
        """Return whether the workflow runs an activity, whose result may be on its way."""
        last = await self.described(workflow_id)
        running = last is not None and last.status is WorkflowExecutionStatus.RUNNING
        return running and last is not None and bool(last.raw_description.pending_activities)

    async def _requested_parts(self) -> AsyncIterator[tuple[RefundPlan, RefundPart]]:
        """Yield the parts of refunds that the provider has accepted."""
        async for page in self.store.refunds.pages():
            for plan, refund in page:
                for part in refund.parts:
                    if part.provider_id:
                        yield plan, part

    async def _look_up(self, requested: tuple[RefundPlan, RefundPart]) -> Divergence | None:
        plan, part = requested
        if await self._found(plan, part):
            return None
        return Divergence.of(
            DivergenceKind.REFUND_UNKNOWN,
            request_key(plan.refund_id, part),
            store=part.state,
            elsewhere=None,
            account=plan.target,
        )

    async def _found(self, plan: RefundPlan, part: RefundPart) -> bool:
        request = refund_request(plan.refund_id, plan.source, part, plan.requested_at)
        try:
            return await self.provider.find_refund(request) is not None
        except RefundRefused:
            # Its payment belongs to another provider, which was configured before.
            return True

    async def _find(self, charge: tuple[str, str, str]) -> Divergence | None:
        account, invoice, provider_id = charge
        if await self.provider.has_charge(provider_id):
            return None
        return Divergence.of(
            DivergenceKind.CHARGE_UNKNOWN, invoice, store="paid", elsewhere=None, account=account
        )


async def _pages(found: AsyncIterator[Found]) -> AsyncIterator[list[Found]]:
    page = list[Found]()
    async for each in found:
        page.append(each)
        if len(page) == PAGE_SIZE:
            yield page
            page = []
    yield page


async def _each(found: Sequence[Found], step: Callable[[Found], Awaitable[Result]]) -> list[Result]:
    slots = asyncio.Semaphore(CONCURRENT)

    async def limited(each: Found) -> Result:
        async with slots:
            return await step(each)

    return await asyncio.gather(*(limited(each) for each in found))


async def _flat(pages: AsyncIterator[list[Found]]) -> AsyncIterator[Found]:
    async for page in pages:
        for each in page:
            yield each


def _is_unbound(stored: StoredInvitation, run: Run) -> bool:
    """Return whether answers do not reach the running workflow of an unanswered invitation."""
    bound = stored.started and stored.invitation.run_id == run.first_run_id
    return run.running and stored.invitation.state.unanswered and not bound


def _state_of(listed: WorkflowExecution) -> str:
    return listed.typed_search_attributes.get(LIFECYCLE_STATE) or _status(listed)


def _status(listed: WorkflowExecution) -> str:
    return listed.status.name.lower() if listed.status else "unknown"


def _last(workflow_id: str) -> str:
    return workflow_id.rpartition("/")[2]
