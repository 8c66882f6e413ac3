"""The mark of a restored database, and the differences that wait for operators (OPS-6)."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.change import record_changes
from adapters.sql.database.schema import DivergenceRow, SettingRow
from adapters.sql.database.transaction import RESTORED, insert_missing, reading, writing
from domain.journal import OPERATOR
from domain.reconciliation import Divergence


class SqlRestore:
    """The mark of a restored database, and the differences that wait for operators."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def mark(self, *, by: str = OPERATOR) -> None:
        """Mark the database as restored: workers start no work until the mark is removed."""
        marked = {"key": RESTORED, "value": datetime.now(UTC).isoformat()}
        async with writing(self._engine) as session:
            await insert_missing(session, SettingRow, [marked])
            now = datetime.now(UTC)
            await record_changes(session, "setup --restored", ["database"], by=by, at=now)

    async def is_marked(self) -> bool:
        """Return whether workers must not start any work."""
        async with reading(self._engine) as session:
            found = select(SettingRow.key).where(SettingRow.key == RESTORED)
            return await session.scalar(found) is not None

    async def remove_mark(self) -> None:
        """Remove the mark: workers continue."""
        async with writing(self._engine) as session:
            await session.execute(delete(SettingRow).where(SettingRow.key == RESTORED))

    async def known(self, divergences: Iterable[Divergence]) -> set[str]:
        """Return the keys of those that operators know."""
        keys = [each.key for each in divergences]
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(DivergenceRow.key).where(DivergenceRow.key.in_(keys))
            )
            return set(rows)

    async def report(self, divergences: Iterable[Divergence]) -> None:
        """Put the differences on the operators' list, once each."""
        now = datetime.now(UTC)
        rows = [
            {
                "key": each.key,
                "subject": each.subject,
                "account_id": each.account,
                "since": now,
                "message": f"{each.kind}: the store has {each.store or 'nothing'}, elsewhere it is"
                f" {each.elsewhere or 'unknown'}. {each.remedy}",
            }
            for each in divergences
        ]
        async with writing(self._engine) as session:
            await insert_missing(session, DivergenceRow, rows)

    async def settle(self, number: int, *, by: str = OPERATOR) -> bool:
        """Settle a difference; return whether it was on the operators' list."""
        async with writing(self._engine) as session:
            settled = await session.scalar(
                update(DivergenceRow)
                .where(DivergenceRow.number == number, DivergenceRow.settled_at.is_(None))
                .values(settled_at=datetime.now(UTC))
                .returning(DivergenceRow.number)
            )
            if settled is None:
                return False
            now = datetime.now(UTC)
            await record_changes(session, "reconcile --settled", [str(number)], by=by, at=now)
            return True
