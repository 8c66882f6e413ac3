"""The remedies of differences that lose nothing (OPS-6)."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.billing import ProviderRecords
from activities.order import OrderPayment
from activities.refund import refund_request, report_of
from adapters.sql.store import SqlStore
from clients.invitation import InvitationClient
from clients.invitation_start import INVITATION_ID
from clients.redo import Redo
from clients.workflow_call import TemporalAccess
from clients.workflow_history import STARTS, Run, described, read_run, runs_of
from domain.address import mask_all
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import InvitationState, StartInvitation, StoredInvitation
from domain.invoice import is_invoice_key
from domain.journal import ENGINE
from domain.reconciliation import Divergence, DivergenceKind, RefundKey
from domain.refund import (
    PartReport,
    PartState,
    Refund,
    RefundChange,
    RefundPart,
    RefundState,
)
from states.lifecycle import after
from states.refund import RefundMachine, event_from_parts

RUNS_KEPT: Final = 200
"""Histories that are kept in memory while changes are made again."""

FOUND_AT_PROVIDER: Final = "Found at the payment provider."
"""The note of a change that only the payment provider remembers."""

NOT_POSSIBLE: Final = "The database was restored, and the answer cannot be carried out again."
"""The note of an invitation that ends because its answer is lost."""

TEMPORAL_KINDS: Final = frozenset(
    {
        DivergenceKind.RECORD_MISSING,
        DivergenceKind.ACCEPTANCE_MISSING,
        DivergenceKind.RECORD_BEHIND,
    }
)
"""The differences that are removed by the histories of workflows."""

WORKFLOW_KINDS: Final = frozenset({DivergenceKind.WORKFLOW_MISSING, DivergenceKind.WORKFLOW_BEHIND})
"""The differences that are removed by a restart from the record."""

GROUPS: Final = (
    TEMPORAL_KINDS,
    frozenset(DivergenceKind) - TEMPORAL_KINDS - WORKFLOW_KINDS,
    WORKFLOW_KINDS,
)
"""The differences whose remedies do not depend on each other, in the order of the remedies."""


def first_group(divergences: Sequence[Divergence]) -> list[Divergence]:
    """Return the differences to remove first; that may remove those of other groups as well."""
    groups = ([each for each in divergences if each.kind in group] for group in GROUPS)
    return next(group for group in groups if group)


@dataclass(frozen=True)
class Repair:
    """Carries out the remedies of differences. Each may be repeated."""

    temporal: TemporalAccess
    store: SqlStore
    provider: ProviderRecords
    invitations: InvitationClient
    restart: Callable[[str], Awaitable[None]]
    """Restarts the workflow of an unfinished record, unless it runs."""

    async def carry_out(self, divergences: Sequence[Divergence]) -> dict[str, str]:
        """Carry out the remedies of one group; return why some are not possible, by their key."""
        if all(each.kind in TEMPORAL_KINDS for each in divergences):
            return await _Repetition(self).make_again(divergences)
        failures = dict[str, str]()
        for each in divergences:
            try:
                await self._carry_out(each)
            except (Refused, Unavailable) as failure:
                failures[each.key] = mask_all(failure.message)
        return failures

    async def _carry_out(self, divergence: Divergence) -> None:
        subject = divergence.subject
        match divergence.kind:
            case DivergenceKind.WORKFLOW_MISSING:
                await self.restart(subject)
            case DivergenceKind.WORKFLOW_BEHIND:
                await self.replace(subject)
            case DivergenceKind.REFUND_MISSING | DivergenceKind.REFUND_DIFFERS:
                await self._book_refund(RefundKey.of(subject))
            case DivergenceKind.CHARGE_MISSING:
                await self._book_charge(subject)
            case DivergenceKind.REFUND_UNKNOWN:
                await self._request_refund(RefundKey.of(subject))

    # Workflows.

    async def replace(self, workflow_id: str) -> None:
        """End the workflow, and restart it from its record unless that has ended."""
        await self.terminate(workflow_id)
        live = None
        if workflow_id.startswith("invitation/"):
            live = await self.store.invitations.live(workflow_id)
        if live and live.started and live.invitation.state.unanswered:
            await self.invitations.restart(live.ordered, live.invitation, None)
        else:
            await self.restart(workflow_id)

    async def terminate(self, workflow_id: str) -> None:
        """End the workflow, if it runs."""
        client = await self.temporal.connect()
        try:
            handle = client.get_workflow_handle(workflow_id)
            await handle.terminate("replaced by `seatflow reconcile --fix`")
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def restart_invitation(self, invitation_id: str) -> None:
        """Make an accepted invitation continue from its record."""
        stored = await self.store.invitations.by_id(invitation_id)
        if stored and stored.invitation.state.accepted and not stored.invitation.state.final:
            await self.replace(stored.invitation.workflow_id)

    # Refunds and charges.

    async def _book_refund(self, key: RefundKey) -> None:
        """Book a refund that the provider has made, and restart the refund from it.

        If its acceptance is lost as well, that is committed again.
        """
        listed = {
            RefundKey.of(each.key): each
            async for each in self.provider.refunds()
            if RefundKey.of(each.key).refund_id == key.refund_id
        }
        if await self.store.refunds.find(key.refund_id) is None:
            await self.store.restoration.accept_refunded(
                key.refund_id.removeprefix("rf-"),
                [(own.payment, each.amount) for own, each in listed.items()],
                min(each.at for each in listed.values()),
            )
        found = await self.store.refunds.find(key.refund_id)
        part = found[1].part_of(key.payment) if found else None
        if found is None or part is None:
            raise Refused(ErrorCode.NOT_FOUND, "No refund of the store has such a payment.")
        plan, refund = found
        if part.attempt < key.attempt:
            # The retry of an operator is lost, too.
            retried = {"attempt": key.attempt, "state": PartState.REQUESTED}
            part = part.model_copy(update=retried)
        await self._report(refund, part, report_of(part, listed[key].status))
        await self.replace(plan.workflow_id)
        await self.restart_invitation(plan.invitation_id)

    async def _report(self, refund: Refund, part: RefundPart, report: PartReport) -> None:
        """Book the provider's status of a part, with the event that follows from it."""
        now = datetime.now(UTC)
        changed = refund.with_part(part).with_reports([report])
        event = event_from_parts(changed)
        if event is None and refund.state is RefundState.FAILED and report.state.open:
            event = "retry"
        if event:
            changes: dict[str, object] = {
                name: getattr(changed, name) for name in ("parts", "amount_open", "failure")
            }
            if event == "settle":
                changes["settled_at"] = now
            changed = after(
                RefundMachine, refund, event, at=now, by=ENGINE, note=FOUND_AT_PROVIDER, **changes
            )
        change = RefundChange.between(refund, changed)
        await self.store.refunds.book(refund.refund_id, change, now)

    async def _request_refund(self, key: RefundKey) -> None:
        """Request a refund again that the built-in provider has lost, with the same key."""
        found = await self.store.refunds.find(key.refund_id)
        part = found[1].part_of(key.payment) if found else None
        if found is None or part is None:
            return
        if not self.provider.is_in_store:
            raise Refused(
                ErrorCode.CONFLICT, "The provider does not know it: compare both, do not repeat it."
            )
        plan, refund = found
        status = await self.provider.refund(
            refund_request(plan.refund_id, plan.source, part, plan.requested_at)
        )
        known = refund.with_part(part.model_copy(update={"provider_id": status.provider_id}))
        change = RefundChange.between(refund, known)
        await self.store.refunds.book(key.refund_id, change, datetime.now(UTC))

    async def _book_charge(self, key: str) -> None:
        """Book a charge that the provider has made, and restart the order from it."""
        if is_invoice_key(key):
            await self._book_invoice_charge(key)
            return
        order_id, number, _, method = key.split("/", 3)
        order, invoice = await self.store.orders.find(order_id), f"{order_id}/{number}"
        if order is None:
            raise Refused(ErrorCode.NOT_FOUND, f"The store has no order {order_id}.")
        if order.next_invoice != invoice:
            raise Refused(ErrorCode.CONFLICT, f"The order has no open invoice {number}.")
        [own] = [each async for each in self.provider.charges() if each.key == key]
        await self.store.orders.invoice(order, own.at)
        due = await self.store.orders.due(order)
        if due is None or self.provider.chargeable(due.amount) != own.amount:
            raise Refused(ErrorCode.CONFLICT, f"The invoice {number} has another amount.")
        payment = OrderPayment(method=method, provider_id=own.provider_id, amount=own.amount)
        carried = due.charging(own.amount).carried
        await self.store.orders.paid(order, payment, own.at, carried=carried)
        await self.replace(order.workflow_id)

    async def _book_invoice_charge(self, key: str) -> None:
        """Book a charge for an invoice; what the invoice no longer needs becomes credit."""
        due = await self.store.invoices.charged(key)
        if due is None:
            raise Refused(ErrorCode.NOT_FOUND, "The store has no such invoice.")
        [own] = [each async for each in self.provider.charges() if each.key == key]
        if own.amount.currency != due.amount.currency:
            raise Refused(ErrorCode.CONFLICT, "The account has another currency than the charge.")
        booked = await self.store.invoices.paid(
            due, own.amount, own.provider_id, by=ENGINE, at=own.at
        )
        if not booked:
            raise Refused(ErrorCode.CONFLICT, "Later charges of the invoice have a result.")


@dataclass(frozen=True)
class _Step:
    """One change of a workflow: the start of a run, or a write of it."""

    at: datetime
    run: tuple[str, str]
    """The workflow id and the run id."""
    number: int
    """The number of the write; -1 for the start."""


@dataclass
class _Repetition:
    """The changes of some workflows, made again in the order in which they were made."""

    repair: Repair
    _listed: dict[tuple[str, str], WorkflowExecution] = field(default_factory=dict)
    _runs: OrderedDict[tuple[str, str], Run] = field(default_factory=OrderedDict)

    async def make_again(self, divergences: Sequence[Divergence]) -> dict[str, str]:
        """Make the changes again; return why some are not possible, by the difference's key."""
        failures, steps = dict[str, str](), list[_Step]()
        by_id = {each.subject: each for each in divergences}
        for workflow_id in by_id:
            steps += await self._steps_of(workflow_id)
        redo = Redo(self.repair.store, self.repair.provider)
        broken = dict[tuple[str, str], Refused]()
        for step in sorted(steps, key=lambda each: each.at):
            subject = (step.run[0], await self._lifecycle_of(step.run))
            run = await self._run(step.run)
            if run is None or subject in broken:
                continue
            try:
                if step.number < 0:
                    await redo.start(run)
                else:
                    await redo.write(run, run.writes[step.number])
            except Refused as refused:
                broken[subject] = refused
        for each in divergences:
            failure = broken.get((each.subject, each.run))
            await self._finish(each, failure)
            if failure:
                failures[each.key] = mask_all(failure.message)
        return failures

    async def _steps_of(self, workflow_id: str) -> list[_Step]:
        temporal, steps = await self.repair.temporal.connect(), list[_Step]()
        async for listed in runs_of(temporal, workflow_id):
            if listed.workflow_type not in STARTS or listed.workflow_type == "BulkInvite":
                continue
            key = listed.id, listed.run_id
            self._listed[key] = listed
            run = await self._run(key)
            if run and not run.without_claim:
                steps.append(_Step(run.started_at, key, -1))
                steps += [_Step(write.at, key, each) for each, write in enumerate(run.writes)]
        return steps

    async def _lifecycle_of(self, key: tuple[str, str]) -> str:
        """Return the invitation's id, which several runs of one workflow id do not share."""
        run = await self._run(key)
        start = run.start if run else None
        return start.invite.invitation_id if isinstance(start, StartInvitation) else ""

    async def _run(self, key: tuple[str, str]) -> Run | None:
        if run := self._runs.get(key):
            return run
        temporal = await self.repair.temporal.connect()
        if run := await read_run(temporal, self._listed[key]):
            self._runs[key] = run
            if len(self._runs) > RUNS_KEPT:
                self._runs.popitem(last=False)
        return run

    async def _finish(self, divergence: Divergence, refused: Refused | None) -> None:
        """Make the workflow continue from the record; end what cannot be carried out again."""
        store, workflow_id = self.repair.store, divergence.subject
        if not workflow_id.startswith("invitation/"):
            if refused and divergence.store is None:
                await self.repair.terminate(workflow_id)
            return
        stored = await store.invitations.by_id(divergence.run)
        if stored and stored.invitation.state.accepted:
            await self.repair.restart_invitation(divergence.run)
        elif refused or _is_lost(divergence, stored):
            await self._give_up(divergence, stored)

    async def _give_up(self, divergence: Divergence, stored: StoredInvitation | None) -> None:
        """End an invitation that cannot be carried out again, and its workflow."""
        if stored and stored.invitation.state.unanswered:
            await self.repair.invitations.revoke_in_store(stored, by=ENGINE, note=NOT_POSSIBLE)
        client = await self.repair.temporal.connect()
        last = await described(client, divergence.subject)
        if last and last.status is WorkflowExecutionStatus.RUNNING:
            claim = await last.memo_value(INVITATION_ID, default=divergence.run)
            if claim == divergence.run:
                await self.repair.terminate(divergence.subject)


def _is_lost(divergence: Divergence, stored: StoredInvitation | None) -> bool:
    """Return whether the invitation was answered or has ended, and the history does not say how."""
    if stored is None or not stored.invitation.state.unanswered:
        return False
    return divergence.elsewhere in {state for state in InvitationState if not state.unanswered}
