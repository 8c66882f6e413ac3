"""The failing activities and broken invariants that workers have found (OPS-4, OPS-5)."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import ProblemRow
from adapters.sql.database.transaction import reading, writing
from domain.attention import AttentionKind, Problem


class SqlProblems:
    """The problems of activities when a worker last tried them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def report(self, problem: Problem) -> None:
        """Insert or update the row of this problem."""
        row = ProblemRow(
            key=problem.key,
            kind=problem.kind,
            workflow_id=problem.activity[0],
            # Temporal has it, as a search attribute of the workflow.
            account_id="",
            since=problem.since,
            message=problem.message,
        )
        async with writing(self._engine) as session:
            await session.merge(row)

    async def settle(self, keys: Sequence[str]) -> None:
        """Delete the rows of problems that are over."""
        async with writing(self._engine) as session:
            await session.execute(delete(ProblemRow).where(ProblemRow.key.in_(keys)))

    async def open(self) -> list[Problem]:
        """Return the reported problems, the oldest first; some may be over."""
        async with reading(self._engine) as session:
            rows = await session.scalars(select(ProblemRow).order_by(ProblemRow.since))
            return [
                Problem(
                    kind=AttentionKind(row.kind), key=row.key, since=row.since, message=row.message
                )
                for row in rows
            ]
