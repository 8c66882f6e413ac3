"""The record of changes to things that have no journal of their own (OPS-8)."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import ChangeRow
from adapters.sql.database.transaction import reading, writing
from domain.change import Change


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
            return [
                Change(
                    at=row.at,
                    by=row.by,
                    action=row.action,
                    account=row.account_id,
                    subject=row.subject,
                )
                for row in await session.scalars(query)
            ]


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
