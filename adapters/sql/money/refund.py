"""Refunds in the store: booked part by part, kept as they stand."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import AccountRow, PersonRow, RefundRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import admins_of, known_account, locked_accounts
from adapters.sql.money.credit import apply_by_itself
from adapters.sql.money.ledger import balance, post, posted
from adapters.sql.money.refund_schedule import next_lookups
from domain.error import ErrorCode, Refused
from domain.ledger import Transfer, TransferKind, credit_of, part_transfer, reversal
from domain.letter.base import Reader
from domain.letter.refund import RefundParties
from domain.refund import PartState, Refund, RefundOrder, RefundPart, RefundState

_SETTLING = (PartState.SUCCEEDED, PartState.CONVERTED, PartState.CLOSED)
"""What the ledger knows of a part; until then it is due."""


class SqlRefunds:
    """The `RefundStore` of running refunds, and what is known of all of them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def book(self, order: RefundOrder, refund: Refund, at: datetime) -> None:
        """Post what each part's state says, once each, and keep the record."""
        async with writing(self._engine) as session:
            row = await _known(session, order.refund_id, lock=True)
            if len(row.record.journal) > len(refund.journal):
                return
            accounts = await locked_accounts(session, {order.source, order.target})
            target = accounts[order.target]
            before = await posted(session, _ids(order, refund.parts, at))
            transfers = [
                transfer for part in refund.parts for transfer in _due(order, part, before, at)
            ]
            _require_convertible(transfers, target)
            await _require_unused(session, transfers, target)
            await post(session, transfers)
            await apply_by_itself(session, target, at)
            row.state, row.record = refund.state, refund

    async def refund_parties(self, order: RefundOrder) -> RefundParties:
        """Whom the refund concerns, as the directory knows them now (TXT-1)."""
        async with reading(self._engine) as session:
            target = await known_account(session, order.target)
            source = await known_account(session, order.source)
            payee = await session.get_one(PersonRow, order.payee)
            return RefundParties(
                account_name=target.name,
                payee=_reader(payee, order, source.time_zone),
                admins=tuple(
                    _reader(admin, order, target.time_zone)
                    for admin in await admins_of(session, target.id)
                ),
                collection=target.collection,
            )

    async def next_lookups(self, order: RefundOrder, after: datetime) -> tuple[datetime, ...]:
        """The next business days' look-ups after `after`, by the source account's calendar."""
        async with reading(self._engine) as session:
            source = await known_account(session, order.source)
            return next_lookups(source, order.requested_at, after)

    async def latest(self, refund_id: str) -> Refund:
        """The refund as it is kept. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            return (await _known(session, refund_id)).record

    async def order_of(self, refund_id: str) -> RefundOrder:
        """What was asked for. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            return (await _known(session, refund_id)).ordered

    async def by_key(self, key: str) -> RefundOrder | None:
        """The refund that a provider's idempotency key belongs to, if any."""
        async with reading(self._engine) as session:
            row = await session.get(RefundRow, key.partition("/")[0])
            return row.ordered if row else None

    async def unfinished(self) -> list[Refund]:
        """Those that have not come to rest, oldest first: a workflow runs for each (REF-6)."""
        resting = [state for state in RefundState if state.finished]
        query = (
            select(RefundRow)
            .where(RefundRow.state.not_in(resting))
            .order_by(RefundRow.requested_at, RefundRow.refund_id)
        )
        async with reading(self._engine) as session:
            return [row.record for row in await session.scalars(query)]

    async def listed(self, state: RefundState | None) -> list[Refund]:
        """All refunds, or those in `state`, oldest first."""
        query = select(RefundRow).order_by(RefundRow.requested_at, RefundRow.refund_id)
        if state:
            query = query.where(RefundRow.state == state)
        async with reading(self._engine) as session:
            return [row.record for row in await session.scalars(query)]


def _reader(person: PersonRow, order: RefundOrder, time_zone: str) -> Reader:
    """The person, in their own language and zone as far as they are known (TXT-1)."""
    return Reader(
        email=person.email,
        name=person.name,
        locale=person.locale or order.locale or "en",
        time_zone=person.time_zone or time_zone,
    )


async def _known(session: AsyncSession, refund_id: str, *, lock: bool = False) -> RefundRow:
    row = await session.get(RefundRow, refund_id, with_for_update=lock or None)
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"There is no refund {refund_id}.")
    return row


def _ids(order: RefundOrder, parts: Iterable[RefundPart], at: datetime) -> Iterator[str]:
    """Every entry that may have been posted for these parts."""
    for part in parts:
        for state in _SETTLING:
            if transfer := part_transfer(order, part, state, at):
                yield transfer.id


def _due(
    order: RefundOrder, part: RefundPart, before: Mapping[str, Transfer], at: datetime
) -> Iterator[Transfer]:
    """What has to be posted for a part, given what was."""
    wanted = part_transfer(order, part, part.state, at)
    if wanted is None or wanted.id in before:
        return
    for state in _SETTLING:
        other = part_transfer(order, part, state, at)
        if other and other.id in before:
            # Converted or given up, and it has arrived after all (REF-4).
            yield reversal(before[other.id], at)
    yield wanted


def _require_convertible(transfers: Iterable[Transfer], target: AccountRow) -> None:
    converted = [entry for entry in transfers if entry.kind is TransferKind.CONVERTED]
    if any(entry.amount.currency != target.currency for entry in converted):
        raise Refused(ErrorCode.CURRENCY_MISMATCH, f"{target.id} pays in {target.currency}.")
    if converted and target.state == "closed":
        raise Refused(ErrorCode.CONFLICT, f"{target.id} is closed: credit would be stranded there.")


async def _require_unused(
    session: AsyncSession, transfers: Iterable[Transfer], target: AccountRow
) -> None:
    credit = credit_of(target.id)
    taken_back = [entry.amount for entry in transfers if entry.debited == credit]
    if not taken_back:
        return
    left = await balance(session, credit, taken_back[0].currency)
    if sum((amount.amount for amount in taken_back), start=Decimal(0)) > left.amount:
        raise Refused(
            ErrorCode.CONFLICT, "The refund has arrived, but its credit has been used already."
        )
