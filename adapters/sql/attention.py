"""The cases of the operators' list that the store knows (OPS-5)."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import JSON, and_, func, not_, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import (
    AccountRow,
    BalanceRow,
    DivergenceRow,
    InvitationRow,
    MembershipRow,
    OutboxRow,
    RefundRow,
    TransferRow,
)
from adapters.sql.database.transaction import reading
from adapters.sql.outbox import COLUMNS, NO_SEARCH, follow_up
from adapters.sql.reversal import reversal_cases
from domain.account import Role
from domain.attention import (
    AttentionCase,
    case_of_credit,
    case_of_divergence,
    case_of_unanswered_request,
    cases_of_move,
    cases_of_refund,
)
from domain.ledger import credit_of
from domain.money import rounded
from domain.outbox import REPORTED_AFTER, case_of_follow_up
from domain.refund import RefundState

MAX_ROWS: Final = 500
"""Rows of the outbox that are listed; `outbox list` prints all of them."""

_ZERO: Final = Decimal(0)
REQUEST_ANSWERED_WITHIN: Final = timedelta(days=1)
"""The time after which a refund whose request has no answer is listed."""

_OPEN_STATES: Final = (RefundState.OVERDUE, RefundState.FAILED)


class SqlAttention:
    """Queries for cases that need an operator."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def cases(self, at: datetime | None = None) -> list[AttentionCase]:
        """Return every open case at `at`, by default now, the oldest first."""
        async with reading(self._engine) as session:
            found = [case for find in _FINDERS async for case in find(session)]
            unanswered = _unanswered_request_cases(session, at or datetime.now(UTC))
            found += [case async for case in unanswered]
        return sorted(found, key=lambda case: (case.since, case.id))


async def _refund_cases(session: AsyncSession) -> AsyncIterator[AttentionCase]:
    record = type_coerce(RefundRow.record, JSON)
    not_reversed = record["not_reversed", "at"].as_string()
    failing = record["lookup_failure", "since"].as_string()
    rows = await session.scalars(
        select(RefundRow).where(
            or_(RefundRow.state.in_(_OPEN_STATES), not_reversed.is_not(None), failing.is_not(None))
        )
    )
    for row in rows:
        for case in cases_of_refund(row.ordered, row.record):
            yield case


async def _unanswered_request_cases(
    session: AsyncSession, at: datetime
) -> AsyncIterator[AttentionCase]:
    rows = await session.scalars(
        select(RefundRow).where(
            RefundRow.state == RefundState.REQUESTED,
            RefundRow.requested_at <= at - REQUEST_ANSWERED_WITHIN,
        )
    )
    for row in rows:
        yield case_of_unanswered_request(row.ordered, row.record)


async def _credit_cases(session: AsyncSession) -> AsyncIterator[AttentionCase]:
    """Yield credit on closed accounts, since the owner left.

    If the account was imported as closed, the case is as old as its last credit.
    """
    credit = credit_of("") + AccountRow.id
    left = (
        select(func.max(MembershipRow.until))
        .where(MembershipRow.account_id == AccountRow.id, MembershipRow.role == Role.OWNER)
        .scalar_subquery()
    )
    credited = (
        select(func.max(TransferRow.at)).where(TransferRow.credited == credit).scalar_subquery()
    )
    rows = await session.execute(
        select(AccountRow.id, BalanceRow.amount, BalanceRow.currency, left, credited)
        .join(BalanceRow, BalanceRow.ledger_account == credit)
        .where(AccountRow.state == "closed", BalanceRow.amount != _ZERO)
    )
    for account, amount, currency, left_at, credited_at in rows:
        yield case_of_credit(account, rounded(amount, currency), left_at or credited_at)


async def _move_cases(session: AsyncSession) -> AsyncIterator[AttentionCase]:
    """Yield failed moves of present users; users who have left took their data along."""
    with_errors = type_coerce(InvitationRow.record, JSON)["with_errors"].as_boolean()
    rows = await session.scalars(
        select(InvitationRow)
        .join(MembershipRow, MembershipRow.invitation_id == InvitationRow.invitation_id)
        .where(MembershipRow.until.is_(None), with_errors.is_(True))
    )
    for row in rows:
        for case in cases_of_move(row.record):
            yield case


async def _outbox_cases(session: AsyncSession) -> AsyncIterator[AttentionCase]:
    """Yield the rows that were given up, or that have waited for a day (OPS-1).

    At most `MAX_ROWS`, the oldest first. A search is repeated for ever: it is a case if the last
    one that succeeded is older than a day.
    """
    day_ago = datetime.now(UTC) - REPORTED_AFTER
    waiting = and_(NO_SEARCH, or_(OutboxRow.given_up.is_(True), OutboxRow.created_at <= day_ago))
    search = and_(not_(NO_SEARCH), OutboxRow.failure.is_not(None), OutboxRow.at <= day_ago)
    rows = select(*COLUMNS).where(or_(waiting, search)).order_by(OutboxRow.number).limit(MAX_ROWS)
    for row in await session.execute(rows):
        yield case_of_follow_up(follow_up(row))


async def _divergence_cases(session: AsyncSession) -> AsyncIterator[AttentionCase]:
    rows = select(DivergenceRow).where(DivergenceRow.settled_at.is_(None))
    for row in await session.scalars(rows.order_by(DivergenceRow.number)):
        yield case_of_divergence(row.number, row.subject, row.account_id, row.since, row.message)


_FINDERS: Final[tuple[Callable[[AsyncSession], AsyncIterator[AttentionCase]], ...]] = (
    _refund_cases,
    _credit_cases,
    _move_cases,
    _outbox_cases,
    reversal_cases,
    _divergence_cases,
)
"""One query for each kind of case."""
