"""The record of changes to things that have no journal of their own (OPS-8)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import ChangeRow, MembershipRow
from adapters.sql.database.transaction import number_of, reading, writing
from domain.change import Change, ChangeListing, NamedChange

ROWS_PER_PAGE: Final = 50

_MEMBERSHIP: Final = "membership/"


class SqlChanges:
    """The changes without a journal."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def record(
        self, action: str, *subjects: str, by: str, at: datetime, account: str | None = None
    ) -> None:
        """Record changes that were made outside of the store."""
        async with writing(self._engine) as session:
            await record_changes(session, action, subjects, by=by, at=at, account=account)

    async def listed(self, account: str | None = None) -> list[Change]:
        """Return all changes, or those of an account, the oldest first."""
        query = select(ChangeRow).order_by(ChangeRow.number)
        if account is not None:
            query = query.where(ChangeRow.account_id == account)
        async with reading(self._engine) as session:
            return [_change(row) for row in await session.scalars(query)]

    async def page(self, account: str, after: str | None = None) -> ChangeListing:
        """Return a page of an account's changes, the newest first, with the people in them."""
        query = select(ChangeRow).where(ChangeRow.account_id == account)
        if (number := number_of(after)) is not None:
            query = query.where(ChangeRow.number < number)
        query = query.order_by(ChangeRow.number.desc()).limit(ROWS_PER_PAGE + 1)
        async with reading(self._engine) as session:
            rows = (await session.scalars(query)).all()
            shown = rows[:ROWS_PER_PAGE]
            people = await _people(session, account, shown)
        return ChangeListing(
            rows=tuple(
                NamedChange(change=_change(row), person=people.get(_membership_id(row)))
                for row in shown
            ),
            more=str(shown[-1].number) if len(rows) > len(shown) else None,
        )


def _change(row: ChangeRow) -> Change:
    return Change(
        at=row.at, by=row.by, action=row.action, account=row.account_id, subject=row.subject
    )


def _membership_id(row: ChangeRow) -> int | None:
    """Return the membership that the subject ends with, if any."""
    _, found, number = row.subject.rpartition(_MEMBERSHIP)
    return number_of(number) if found else None


async def _people(
    session: AsyncSession, account: str, rows: Sequence[ChangeRow]
) -> Mapping[int | None, str]:
    """Return the addresses of the memberships that are subjects."""
    ids = {number for row in rows if (number := _membership_id(row)) is not None}
    found = await session.execute(
        select(MembershipRow.id, MembershipRow.email).where(
            MembershipRow.id.in_(ids), MembershipRow.account_id == account
        )
    )
    return {number: email for number, email in found}


async def record_changes(
    session: AsyncSession,
    action: str,
    subjects: Iterable[str],
    *,
    by: str,
    at: datetime,
    account: str | None = None,
) -> None:
    """Record a change of each subject, in the transaction that makes it."""
    rows = [
        {"at": at, "by": by, "action": action, "account_id": account, "subject": subject}
        for subject in subjects
    ]
    if rows:
        await session.execute(insert(ChangeRow), rows)


async def record_change_once(
    session: AsyncSession, action: str, subject: str, *, by: str, at: datetime, account: str
) -> None:
    """Record a change whose activity may be repeated; a repetition records nothing."""
    known = select(ChangeRow.number).where(
        ChangeRow.action == action, ChangeRow.subject == subject, ChangeRow.at == at
    )
    if await session.scalar(known) is None:
        await record_changes(session, action, [subject], by=by, at=at, account=account)
