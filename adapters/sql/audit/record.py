"""Checks of the records of invitations and refunds against their rows (AUD)."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.audit.journal import is_complete
from adapters.sql.database.schema import (
    BatchPersonRow,
    BatchRow,
    InvitationRow,
    MembershipRow,
    MovedItemRow,
    RefundRow,
    SettlementRow,
)
from domain.address import normalized
from domain.audit import Violation
from domain.error import Refused
from domain.invitation import License, Settlement
from domain.ledger import refund_id_of
from domain.manifest import ItemStatus, Manifest, failed
from domain.money import total
from domain.refund import PartState, amount_open
from states.invitation import InvitationMachine
from states.refund import RefundMachine

PAGE: Final = 500
"""The records in memory at a time."""


async def record_violations(session: AsyncSession) -> list[Violation]:
    """Compare the records with the rows that repeat their values, and with each other."""
    return [
        *[found async for found in _invitation_violations(session)],
        *[found async for found in _joining_violations(session)],
        *[found async for found in _manifest_violations(session)],
        *[found async for found in _refund_violations(session)],
        *[found async for found in _batch_violations(session)],
    ]


async def _invitation_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    query = select(InvitationRow).order_by(InvitationRow.invitation_id)
    async for row in await session.stream_scalars(query.execution_options(yield_per=PAGE)):
        for message in _errors_of_invitation(row):
            yield Violation(rule="INV-7", subject=row.invitation_id, message=message)


def _errors_of_invitation(row: InvitationRow) -> Iterator[str]:
    record, ordered = row.record, row.ordered
    if not is_complete(InvitationMachine, record):
        yield "its journal does not lead to its state"
        return
    if (
        row.state,
        row.account_id,
        row.email,
        row.run_id or "",
        row.deadline,
        row.quiet_since,
        row.reminded_by,
        row.ended_at,
    ) != (
        record.state,
        record.account,
        record.email,
        record.run_id,
        record.expires_at,
        record.quiet_since,
        record.reminded_by,
        record.journal[-1].at if record.state.final else None,
    ) or record.workflow_id != f"invitation/{row.account_id}/{row.invitee_key}":
        yield "its row differs from its record"
    if record.with_errors != failed(record.manifest):
        yield "`with_errors` differs from its manifest"
    if (
        ordered.invitation_id,
        ordered.account,
        ordered.key,
        ordered.email,
        ordered.license,
        ordered.invited_by,
    ) != (
        row.invitation_id,
        row.account_id,
        row.invitee_key,
        row.email,
        record.license,
        record.invited_by,
    ) or record.journal[0].by != (ordered.author or record.invited_by):
        yield "its request differs from its record"
    events = [entry.event for entry in record.journal]
    if (record.sent_count, record.reminders_sent) != (
        1 + events.count("resend"),
        events.count("remind"),
    ):
        yield "its numbers of e-mails differ from its journal"
    needs_seat = ordered.license is License.LICENSED and record.state.unanswered
    if row.seat_reserved != needs_seat:
        yield "its seat differs from its license and its state"


async def _joining_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare the times of memberships with the acceptances that began or ended them."""
    of_it = or_(
        MembershipRow.invitation_id == InvitationRow.invitation_id,
        and_(
            MembershipRow.leaving == "invitation:" + InvitationRow.invitation_id,
            MembershipRow.until.is_not(None),
        ),
    )
    rows = await session.execute(
        select(MembershipRow, InvitationRow.invitation_id, InvitationRow.record)
        .join(InvitationRow, of_it)
        .order_by(MembershipRow.id)
    )
    for membership, invitation_id, record in rows:
        joined = {entry.at for entry in record.journal if entry.event in {"accept", "join"}}
        began = membership.invitation_id == invitation_id
        if (membership.since if began else membership.until) not in joined:
            yield Violation(
                rule="INV-11",
                subject=membership.email,
                message="the membership did not begin or end with the acceptance",
            )


async def _manifest_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare the items that have moved with the rows of the built-in content service."""
    rows = await session.scalars(
        select(MovedItemRow).order_by(MovedItemRow.invitation_id, MovedItemRow.item)
    )
    moved: dict[str, dict[str, int]] = {}
    changed: dict[str, dict[str, int]] = {}
    for row in rows:
        item, batch, _ = row.item.partition("/")
        numbers = changed if batch else moved
        counts = numbers.setdefault(row.invitation_id, {})
        counts[item] = counts.get(item, 0) + row.count
        if len(row.changes) != (row.count if batch else 0):
            yield _wrong_item(row.invitation_id)
    for start in range(0, len(ids := sorted({*moved, *changed})), PAGE):
        found = await session.execute(
            select(InvitationRow.invitation_id, InvitationRow.record)
            .where(InvitationRow.invitation_id.in_(ids[start : start + PAGE]))
            .order_by(InvitationRow.invitation_id)
        )
        for invitation_id, record in found:
            counts, changes = moved.get(invitation_id, {}), changed.get(invitation_id, {})
            if not _agrees(record.manifest, counts, changes):
                yield _wrong_item(invitation_id)


def _wrong_item(invitation_id: str) -> Violation:
    return Violation(
        rule="TRF-1", subject=invitation_id, message="an item of its manifest differs from its move"
    )


def _agrees(manifest: Manifest, moved: Mapping[str, int], changed: Mapping[str, int]) -> bool:
    items = {item.item: item for item in manifest}
    known = {*moved, *changed} <= items.keys()
    return known and all(
        # It is recorded in a later transaction than the move.
        items[item].status is not ItemStatus.MOVED
        or (items[item].count, items[item].changed) == (moved.get(item), changed.get(item, 0))
        for item in items
        if item in moved or item in changed
    )


async def _refund_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    rows = await session.execute(
        select(RefundRow, SettlementRow, InvitationRow.email, InvitationRow.account_id)
        .join(InvitationRow, InvitationRow.invitation_id == RefundRow.invitation_id)
        .outerjoin(SettlementRow, SettlementRow.invitation_id == RefundRow.invitation_id)
        .order_by(RefundRow.refund_id)
    )
    for row, settled, payee, target in rows:
        of_invitation = row.ordered.payee == payee and row.ordered.target == target
        if not (of_invitation and _is_consistent(row) and _is_of(row, settled)):
            yield Violation(
                rule="REF-5",
                subject=row.refund_id,
                message="its row, its request, its record and its settlement differ",
            )
    settled_by = await session.execute(
        select(InvitationRow.invitation_id, InvitationRow.record, RefundRow)
        .join(SettlementRow, SettlementRow.invitation_id == InvitationRow.invitation_id)
        .outerjoin(RefundRow, RefundRow.invitation_id == InvitationRow.invitation_id)
        .order_by(InvitationRow.invitation_id)
    )
    for invitation_id, record, refund in settled_by:
        if not _names(record.settlement, refund):
            yield Violation(
                rule="REF-5",
                subject=invitation_id,
                message="its settlement differs from its refund",
            )


def _is_consistent(row: RefundRow) -> bool:
    record, plan = row.record, row.ordered
    currencies = {part.amount.currency for part in (*record.parts, *plan.parts)}
    if not is_complete(RefundMachine, record) or currencies != {record.amount.currency}:
        return False
    return (
        row.refund_id == record.refund_id == plan.refund_id == refund_id_of(row.invitation_id)
        and row.invitation_id == plan.invitation_id
        and row.state == record.state
        and row.requested_at == record.requested_at == plan.requested_at
        and record.workflow_id == plan.workflow_id
        and record.arrives_between == plan.arrives_between
        and all((part.state, part.attempt) == (PartState.REQUESTED, 1) for part in plan.parts)
        and [(part.payment, part.method, part.amount) for part in record.parts]
        == [(part.payment, part.method, part.amount) for part in plan.parts]
        and record.amount == total((part.amount for part in record.parts), record.amount.currency)
        and record.amount_open == amount_open(record.parts)
    )


def _is_of(row: RefundRow, settled: SettlementRow | None) -> bool:
    return settled is not None and (
        settled.account_id == row.ordered.source
        and [(share.payment, share.method, share.amount) for share in settled.quote.to_methods]
        == [(part.payment, part.method, part.amount) for part in row.ordered.parts]
    )


def _names(settlement: Settlement | None, refund: RefundRow | None) -> bool:
    if settlement is None or refund is None:
        return (settlement is None or settlement.refund_id is None) and refund is None
    return (settlement.refund_id, settlement.arrives_between) == (
        refund.refund_id,
        refund.ordered.arrives_between,
    )


async def _batch_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare the rows of batches with the invitations that they name (INV-2)."""
    batches = await session.scalars(select(BatchRow).order_by(BatchRow.batch_id))
    for batch in batches:
        if batch.ordered.batch_id != batch.batch_id:
            yield _wrong_batch(batch.batch_id)
    rows = await session.execute(
        select(BatchPersonRow, BatchRow.ordered, InvitationRow.account_id, InvitationRow.email)
        .join(BatchRow, BatchRow.batch_id == BatchPersonRow.batch_id)
        .join(InvitationRow, InvitationRow.invitation_id == BatchPersonRow.invitation_id)
        .order_by(BatchPersonRow.batch_id, BatchPersonRow.position)
    )
    for row, ordered, account, email in rows:
        if (ordered.account, _address(row.person.email)) != (account, email):
            yield _wrong_batch(f"{row.batch_id}/{row.position}")
    errors = select(BatchPersonRow).where(BatchPersonRow.result.is_not(None))
    for row in await session.scalars(errors):
        if (row.error is not None) != (row.result == "refused"):
            yield _wrong_batch(f"{row.batch_id}/{row.position}")


def _wrong_batch(subject: str) -> Violation:
    return Violation(rule="INV-2", subject=subject, message="it differs from its result")


def _address(typed: str) -> str | None:
    try:
        return normalized(typed)
    except Refused:
        return None
