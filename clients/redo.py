"""The changes that a restored database lacks, made again from the histories of workflows (OPS-6).

Each change has the ids and the times of the first one, so that it has one effect however often it
is made: it is the same transaction that an activity repeats after a lost answer.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from activities.assignment import CommitAssignment
from activities.billing import (
    ChargePending,
    ChargeRequest,
    ProviderCharge,
    ProviderRecords,
)
from activities.invitation import (
    DeliverInvitation,
    EndInvitation,
    InvitationSent,
    JoinAccount,
    KeptInvitation,
    RecordInvitation,
    with_delivery,
)
from activities.order import (
    AmendOrder,
    ChargeOrder,
    ChargeOutcome,
    EndTerm,
    OrderCharged,
    OrderDue,
    OrderPayment,
    RecordOrder,
    VoidOrder,
    charge_request,
)
from activities.refund import BookRefund
from adapters.sql.store import SqlStore
from clients.workflow_history import Run, Write
from domain.assignment import Assignment
from domain.charge import ChargeState
from domain.error import ErrorCode, Refusal, Refused
from domain.invitation import Invitation, InvitationState, StartInvitation
from domain.order import Order, StartOrder
from domain.reconciliation import is_booked
from domain.refund import Refund, RefundChange, StartRefund
from states.invitation import initial_record

_WRITTEN_BY_ACCEPTANCES: Final = frozenset(
    state for state in InvitationState if state.accepted or state is InvitationState.SUPERSEDED
)


@dataclass(frozen=True)
class Redo:
    """Makes the changes of workflows again, in the order in which they were made."""

    store: SqlStore
    provider: ProviderRecords

    async def start(self, run: Run) -> None:
        """Write the record with which the run began, unless the store has it."""
        match run.start:
            case StartInvitation(invite=invite):
                record = first_record(run)
                if record.state.unanswered:
                    await self.store.restoration.insert(
                        invite, record, run.first_run_id, run.started_at
                    )
            case StartOrder(order=order):
                await self.store.orders.restore(order)

    async def write(self, run: Run, write: Write) -> None:
        """Make the change again, unless the store has it. Raises Refused if it cannot be made."""
        if isinstance(write.result, Refusal):
            return
        match write.request, write.result:
            case JoinAccount() as join, KeptInvitation() as kept if kept.invitation.state.accepted:
                await self.store.restoration.accept(join, kept)
            case BookRefund() as book, None:
                await self._book(book)
            case CommitAssignment() as commit, Assignment():
                await self.store.assignments.assign(commit.request, commit.at)
            case ChargeOrder() as charge, OrderCharged() as charged:
                await self._charge(charge, charged)
            case _, Order():
                await self._change_order(write.request)
            case _:
                if record := written_invitation(write):
                    await self._record(run, record)

    async def _change_order(self, request: object) -> None:
        match request:
            case RecordOrder(order=order):
                await self.store.orders.keep(order)
            case AmendOrder() as amend:
                await self.store.orders.amended(amend)
            case EndTerm() as end:
                await self.store.orders.term_ended(end.order, end.at, by=end.by)
            case VoidOrder() as void:
                await self.store.orders.void(void.order, void.at, by=void.by)

    async def _record(self, run: Run, record: Invitation) -> None:
        """Write a record that is not accepted; what follows an acceptance is made again."""
        assert isinstance(run.start, StartInvitation), "only invitations have such records"
        invitation_id = run.start.invite.invitation_id
        if record.state.unanswered:
            await self.store.invitations.record(invitation_id, record)
        elif record.state not in _WRITTEN_BY_ACCEPTANCES:
            await self.store.invitations.end(invitation_id, record)

    async def _book(self, book: BookRefund) -> None:
        found = await self.store.refunds.find(book.refund_id)
        if found is None:
            raise Refused(ErrorCode.NOT_FOUND, "The store has no acceptance that requests it.")
        if not is_booked(found[1], book.change):
            await self.store.refunds.book(book.refund_id, book.change, book.at)

    async def _charge(self, charge: ChargeOrder, charged: OrderCharged) -> None:
        """Book the outcome of a payment; it is charged again only by the built-in provider."""
        orders, order, at = self.store.orders, charge.order, charge.at
        if charged.outcome is ChargeOutcome.ENDED:
            return
        await orders.invoice(order, at)
        due = await orders.due(order)
        if due is None:
            return
        match charged.outcome:
            case ChargeOutcome.DECLINED:
                await orders.declined(order, at)
            case ChargeOutcome.PENDING if pending := charged.order.pending:
                await orders.pending(order, due.charging(pending.amount), pending.method, at)
            case ChargeOutcome.PAID:
                if carried := charged.order.carried:
                    due = due.charging(due.amount.minus(carried))
                payment = await self._payment(order, due, at) if due.amount.amount else None
                await orders.paid(order, payment, at, carried=due.carried)

    async def _payment(self, order: Order, due: OrderDue, at: datetime) -> OrderPayment:
        """Return the payment that the provider has. Raises Refused if it has none."""
        for method in due.methods:
            charge = await self._found(charge_request(order, due, method, at))
            if charge and charge.state is ChargeState.SUCCEEDED and charge.provider_id:
                return OrderPayment(
                    method=method, provider_id=charge.provider_id, amount=due.amount
                )
        raise Refused(
            ErrorCode.CONFLICT, f"The provider does not know the payment of {due.invoice}."
        )

    async def _found(self, request: ChargeRequest) -> ProviderCharge | None:
        try:
            found = await self.provider.find_charge(request)
        except ChargePending:
            return None
        if found is None and self.provider.is_in_store:
            # Its records were set back as well.
            return await self.provider.charge(request)
        return found


def first_record(run: Run) -> Invitation:
    """Return the record with which a run of an invitation began."""
    assert isinstance(run.start, StartInvitation), "it is an invitation"
    if carried := run.start.carried:
        kept = carried.invitation.run_id
        return carried.invitation.model_copy(update={"run_id": kept or run.first_run_id})
    return initial_record(run.start.invite, run_id=run.first_run_id, at=run.started_at)


def written_invitation(write: Write) -> Invitation | None:
    """Return the record that the store had after a write of an invitation, if it shows it."""
    match write.request, write.result:
        case _, KeptInvitation(invitation=kept):
            return kept
        case _, InvitationSent(kept=KeptInvitation(invitation=kept)):
            return kept
        case DeliverInvitation() as deliver, InvitationSent(sent=True, at=at):
            return with_delivery(deliver.invitation, at, deliver.invite.policy)
        case RecordInvitation(invitation=record), None:
            return record
        case EndInvitation(invitation=record), None:
            return record
    return None


def shown_invitation(run: Run) -> Invitation:
    """Return the record that the store had after the last write of the run."""
    record = first_record(run)
    for write in run.writes:
        later = written_invitation(write)
        if later and len(later.journal) >= len(record.journal):
            record = later
    return record


def shown_order(run: Run) -> Order:
    """Return the record that the store had after the last write of the run."""
    assert isinstance(run.start, StartOrder), "it is an order"
    order = run.start.order
    for write in run.writes:
        match write.result:
            case Order() as later:
                order = later
            case OrderCharged(order=later):
                order = later
    return order


def refund_changes(run: Run) -> tuple[list[RefundChange], int]:
    """Return the changes that the run has booked, and the journal entries that it has."""
    assert isinstance(run.start, StartRefund), "it is a refund"
    changes = list[RefundChange]()
    entries = len(run.start.carried.journal) if run.start.carried else 1
    for write in run.writes:
        match write.request, write.result:
            case BookRefund(change=change), None:
                changes.append(change)
                entries = max(entries, change.known_entries + (change.entry is not None))
            case _, Refund(journal=journal):
                entries = max(entries, len(journal))
    return changes, entries
