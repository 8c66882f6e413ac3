"""Refunds in the store: their records, and the ledger entries of each part."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.calendar import calendar_of
from adapters.sql.database.schema import InvitationRow, PersonRow, RefundRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import admins_of, locked_accounts, require_account
from adapters.sql.money.credit import apply_automatically
from adapters.sql.money.ledger import balance, post, posted
from adapters.sql.outbox import queue_letters, signal_invitation, start_workflow
from domain.attention import cases_of_refund
from domain.error import ErrorCode, Refused
from domain.journal import ENGINE
from domain.ledger import (
    TransferKind,
    credit_of,
    due_for_parts,
    possible_part_ids,
    require_convertible,
    require_unused,
)
from domain.letter import Letter
from domain.letter.attention import operator_letters
from domain.letter.refund import RefundParties, is_news, refund_letters
from domain.outbox import PageLink, RecordKind, RecordVersion, queued_letter
from domain.refund import (
    Refund,
    RefundChange,
    RefundPart,
    RefundPlan,
    RefundState,
    gave_up_open_parts,
)
from domain.search import ListedRefund, PageRequest, RefundPage

_PAGE_SIZE: Final = 500

STARTED_BY_WORKFLOW: Final = timedelta(minutes=1)
"""Time for which the relay leaves a start, or a signal, to the workflow that causes it."""


class SqlRefunds:
    """The `RefundStore`, and queries for refunds."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def book(self, refund_id: str, change: RefundChange, at: datetime) -> Refund | None:
        """Post the transfers of each changed part, once each, and write the record.

        Returns the stored record if it has later entries, which are kept. Raises
        `Refused(invariant_broken)` if it lacks entries that were written before.
        """
        async with writing(self._engine) as session:
            row = await _require_refund(session, refund_id, lock=True)
            later = row.record.journal[change.known_entries :]
            if later:
                return None if later == (change.entry,) else row.record
            if len(row.record.journal) < change.known_entries:
                raise Refused(
                    ErrorCode.INVARIANT_BROKEN,
                    f"The store has lost journal entries of the refund {refund_id}.",
                )
            if change.parts:
                by = change.entry.by if change.entry else ENGINE
                await _post_parts(session, row.ordered, change.parts, at, by=by)
            before, row.record = row.record, change.applied_to(row.record)
            row.state = change.state
            await _queue_follow_ups(session, row.ordered, before, row.record, at)
            return None

    async def next_lookups(self, refund_id: str, after: datetime) -> tuple[datetime, ...]:
        """Return the next look-ups after `after`, by the source account's calendar (REF-2)."""
        async with reading(self._engine) as session:
            plan = (await _require_refund(session, refund_id)).ordered
            source = await require_account(session, plan.source)
            return calendar_of(source).next_lookups(plan.requested_at, after)

    async def latest(self, refund_id: str) -> Refund:
        """Return the stored refund. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            return (await _require_refund(session, refund_id)).record

    async def find(self, refund_id: str) -> tuple[RefundPlan, Refund] | None:
        """Return the plan and the record of the refund, if any."""
        async with reading(self._engine) as session:
            row = await session.get(RefundRow, refund_id)
            return (row.ordered, row.record) if row else None

    async def pages(self) -> AsyncIterator[list[tuple[RefundPlan, Refund]]]:
        """Yield pages of all refunds, each with its plan."""
        last = ""
        while True:
            query = (
                select(RefundRow)
                .where(RefundRow.refund_id > last)
                .order_by(RefundRow.refund_id)
                .limit(_PAGE_SIZE)
            )
            async with reading(self._engine) as session:
                rows = (await session.scalars(query)).all()
            yield [(row.ordered, row.record) for row in rows]
            if len(rows) < _PAGE_SIZE:
                return
            last = rows[-1].refund_id

    async def plan_of(self, refund_id: str) -> RefundPlan:
        """Return the plan of the refund. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            return (await _require_refund(session, refund_id)).ordered

    async def listed(self, state: RefundState | None) -> list[Refund]:
        """Return all refunds, or those in `state`, the oldest first."""
        query = select(RefundRow).order_by(RefundRow.requested_at, RefundRow.refund_id)
        if state:
            query = query.where(RefundRow.state == state)
        async with reading(self._engine) as session:
            return [row.record for row in await session.scalars(query)]

    async def page(self, state: RefundState | None, part: PageRequest) -> RefundPage:
        """Return a page of all refunds, or of those in `state`, the newest first."""
        newest_first = RefundRow.requested_at.desc(), RefundRow.refund_id.desc()
        query = select(RefundRow).order_by(*newest_first).limit(part.limit + 1)
        if state:
            query = query.where(RefundRow.state == state)
        async with reading(self._engine) as session:
            if part.after and (last := await session.get(RefundRow, part.after)):
                same_time = RefundRow.requested_at == last.requested_at
                query = query.where(
                    or_(
                        RefundRow.requested_at < last.requested_at,
                        and_(same_time, RefundRow.refund_id < last.refund_id),
                    )
                )
            rows = (await session.scalars(query)).all()
            counted = await session.execute(
                select(RefundRow.state, func.count()).group_by(RefundRow.state)
            )
            counts = {RefundState(name): number for name, number in counted}
        shown = rows[: part.limit]
        return RefundPage(
            refunds=tuple(ListedRefund(plan=row.ordered, refund=row.record) for row in shown),
            counts=counts,
            next_cursor=shown[-1].refund_id if len(rows) > part.limit else None,
        )


async def _queue_follow_ups(
    session: AsyncSession, plan: RefundPlan, before: Refund, after: Refund, at: datetime
) -> None:
    """Queue the letters about the change, the signal to the invitation, and a watch (REF-4)."""
    if is_news(before, after):
        await _queue_letters(session, plan, before, after, at)
    if after.state.finished and not before.state.finished:
        invitation = await session.get_one(InvitationRow, plan.invitation_id)
        signal_invitation(session, invitation, at, after=STARTED_BY_WORKFLOW)
    if gave_up_open_parts(before, after):
        await start_workflow(
            session, plan.watch_workflow_id, plan.target, at, after=STARTED_BY_WORKFLOW
        )


async def _queue_letters(
    session: AsyncSession, plan: RefundPlan, before: Refund, after: Refund, at: datetime
) -> None:
    parties = await _parties(session, plan)
    invitation = await session.get_one(InvitationRow, plan.invitation_id)
    page = PageLink(invitation_id=plan.invitation_id, number=invitation.record.sent_count)
    version = RecordVersion(kind=RecordKind.REFUND, id=plan.refund_id, entries=len(after.journal))
    letters: list[Letter] = [
        *operator_letters(cases_of_refund(plan, after), parties.account_name),
        *refund_letters(plan, before, after, parties),
    ]
    await queue_letters(
        session,
        (queued_letter(letter, version, page) for letter in letters),
        workflow_id=plan.workflow_id,
        account=plan.target,
        at=at,
    )


async def _parties(session: AsyncSession, plan: RefundPlan) -> RefundParties:
    """Return the people to notify of the refund, as the directory has them (TXT-1)."""
    target = await require_account(session, plan.target)
    source = await require_account(session, plan.source)
    payee = await session.get_one(PersonRow, plan.payee)
    return RefundParties(
        account=target.id,
        account_name=target.name,
        payee=payee.as_reader(source.time_zone, plan.locale),
        admins=tuple(
            admin.as_reader(target.time_zone, plan.locale)
            for admin in await admins_of(session, target.id)
        ),
        collection=target.collection,
        convertible=target.currency == source.currency,
    )


async def _post_parts(
    session: AsyncSession,
    plan: RefundPlan,
    parts: Sequence[RefundPart],
    at: datetime,
    *,
    by: str,
) -> None:
    accounts = await locked_accounts(session, {plan.source, plan.target})
    target = accounts[plan.target]
    before = await posted(session, possible_part_ids(plan, parts, at))
    transfers = [*due_for_parts(plan, parts, before, at)]
    closed = target.state == "closed"
    require_convertible(transfers, target.id, target.currency, closed=closed)
    if any(transfer.kind is TransferKind.REVERSED for transfer in transfers):
        credit = await balance(session, credit_of(target.id), target.currency)
        require_unused(transfers, target.id, credit)
    await post(session, transfers, by=by)
    await apply_automatically(session, target, at)


async def _require_refund(
    session: AsyncSession, refund_id: str, *, lock: bool = False
) -> RefundRow:
    row = await session.get(RefundRow, refund_id, with_for_update=lock or None)
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"There is no refund {refund_id}.")
    return row
