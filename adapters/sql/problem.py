"""The failing activities that workers have found (OPS-5)."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import ProblemRow
from adapters.sql.database.transaction import reading, writing
from domain.attention import AttentionKind, Problem

_KIND: Final = AttentionKind.ACTIVITY_FAILING


class SqlProblems:
    """The activities that were failing when a worker last tried them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def report(self, problem: Problem) -> None:
        """Insert or update the row of this activity."""
        row = ProblemRow(
            key=problem.key,
            kind=_KIND,
            workflow_id=problem.activity[0],
            # Temporal has it, as a search attribute of the workflow.
            account_id="",
            since=problem.since,
            message=problem.message,
        )
        async with writing(self._engine) as session:
            await session.merge(row)

    async def settle(self, keys: Sequence[str]) -> None:
        """Delete the rows of activities that no longer fail."""
        async with writing(self._engine) as session:
            await session.execute(delete(ProblemRow).where(ProblemRow.key.in_(keys)))

    async def open(self) -> list[Problem]:
        """Return the reported activities; some may have succeeded or ended since.

        The one that has been failing longest is the first.
        """
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(ProblemRow).where(ProblemRow.kind == _KIND).order_by(ProblemRow.since)
            )
            return [Problem(key=row.key, since=row.since, message=row.message) for row in rows]
