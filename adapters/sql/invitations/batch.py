"""Batches of invitations in the store, with one result per row (REM-3)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Select, bindparam, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import Base, BatchPersonRow, InvitationRow
from adapters.sql.database.schema import BatchRow as StoredBatchRow
from adapters.sql.database.transaction import advisory_lock, reading, writing
from adapters.sql.invitations.record import bind_run, stored_invitation
from adapters.sql.membership import require_paid_account
from domain.batch import Batch, BatchProgress, BatchRow, FinishedRow, RowOutcome
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState

_ROWS_PER_FETCH: Final = 1000

_ROWS: Final = Base.metadata.tables[BatchPersonRow.__tablename__]
_KEEP: Final = (
    update(_ROWS)
    .where(
        _ROWS.c.batch_id == bindparam("of_batch"),
        _ROWS.c.position == bindparam("at"),
        _ROWS.c.result.is_(None),
    )
    .values({name: bindparam(name) for name in ("result", "error", "invitation_id")})
)
"""The update of a row that has no result yet."""


class SqlBatches:
    """The `BatchStore` of running batches, with queries for commands."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def current_id(self, digest: str) -> str:
        """Return the id of the batch for a request with this digest.

        Once its results were reported, a repeated request is a new batch.
        """
        async with reading(self._engine) as session:
            reported = await session.scalar(
                select(func.count())
                .select_from(StoredBatchRow)
                .where(StoredBatchRow.digest == digest, StoredBatchRow.reported_at.is_not(None))
            )
        return f"{digest[:16]}-{(reported or 0) + 1}"

    async def file(
        self, batch: Batch, digest: str, rows: Sequence[BatchRow], at: datetime
    ) -> Batch:
        """Store the request once, and return it as stored.

        A request that is repeated before any row was invited replaces the stored one. Raises
        Refused: `conflict`, if another request has that id; `not_found`, `not_authorized`,
        `target_not_paid`, if the requester may not invite any more (INV-1).
        """
        async with writing(self._engine) as session:
            await advisory_lock(session, f"batch {batch.batch_id}")
            # A requester who has left since the request was checked may have been forgotten.
            await require_paid_account(session, batch.account, batch.by, lock=True)
            kept = await session.get(StoredBatchRow, batch.batch_id)
            if kept and kept.digest != digest:
                raise Refused(ErrorCode.CONFLICT, f"The batch {batch.batch_id} is another request.")
            if kept:
                if not await _has_started(session, batch.batch_id):
                    # The workflow never started, so the policy of the repeated request applies.
                    kept.ordered = batch
                return kept.ordered
            session.add(
                StoredBatchRow(batch_id=batch.batch_id, digest=digest, filed_at=at, ordered=batch)
            )
            await session.execute(
                insert(BatchPersonRow),
                [_row_values(batch.batch_id, row) for row in rows],
            )
            return batch

    async def report(self, batch_id: str, at: datetime) -> None:
        """Record that the results were reported to the requester."""
        async with writing(self._engine) as session:
            await session.execute(
                update(StoredBatchRow)
                .where(StoredBatchRow.batch_id == batch_id, StoredBatchRow.reported_at.is_(None))
                .values(reported_at=at)
            )

    async def waiting(self, batch_id: str, limit: int) -> list[BatchRow]:
        """Return the first rows without a result, in the order of the request."""
        async with reading(self._engine) as session:
            rows = await session.execute(
                select(BatchPersonRow.position, BatchPersonRow.person)
                .where(BatchPersonRow.batch_id == batch_id, BatchPersonRow.result.is_(None))
                .order_by(BatchPersonRow.position)
                .limit(limit)
            )
            return [BatchRow(position=position, person=person) for position, person in rows]

    async def progress(self, batch_id: str) -> BatchProgress:
        """Return the counts of results. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            counted = await session.execute(
                select(BatchPersonRow.result, func.count())
                .where(BatchPersonRow.batch_id == batch_id)
                .group_by(BatchPersonRow.result)
            )
            rows = {result: count for result, count in counted}
        if not rows:
            raise Refused(ErrorCode.NOT_FOUND, f"There is no batch {batch_id}.")
        return BatchProgress(
            total=sum(rows.values()),
            invited=rows.get("invited", 0),
            already_invited=rows.get("already_invited", 0),
            refused=rows.get("refused", 0),
        )

    async def find(self, batch_id: str) -> Batch | None:
        """Return the stored request, if any."""
        async with reading(self._engine) as session:
            row = await session.get(StoredBatchRow, batch_id)
            return row.ordered if row else None

    async def keep(self, batch_id: str, outcomes: Sequence[RowOutcome]) -> None:
        """Store the results of these rows, and bind their invitations to the started runs.

        A row whose claim has been released stays without a result. A row with a result keeps it:
        an attempt that was given up may still run, and its refusals may name a person who has been
        forgotten since (OPS-9).
        """
        async with writing(self._engine) as session:
            started = {o.invitation_id: o.run_id for o in outcomes if o.invitation_id and o.run_id}
            invitations = await session.scalars(
                select(InvitationRow)
                .where(InvitationRow.invitation_id.in_(started))
                .order_by(InvitationRow.invitation_id)
                .with_for_update()
            )
            bound = set[str | None]()
            for invitation in invitations:
                bind_run(session, invitation, started[invitation.invitation_id] or "")
                bound.add(invitation.invitation_id)
            done = [o for o in outcomes if o.run_id is None or o.invitation_id in bound]
            if done:
                await session.execute(
                    _KEEP,
                    [
                        {"of_batch": batch_id, "at": outcome.position}
                        | outcome.model_dump(include={"result", "error", "invitation_id"})
                        for outcome in done
                    ],
                )

    async def unsent_count(self, batch_id: str) -> int:
        """Return how many invitation e-mails the mail server has neither accepted nor refused."""
        async with reading(self._engine) as session:
            query = _invitations_of(batch_id).where(InvitationRow.state == InvitationState.SENT)
            return await session.scalar(select(func.count()).select_from(query.subquery())) or 0

    async def results(self, batch_id: str) -> list[FinishedRow]:
        """Return every row with a result, in the order of the request, with its invitation."""
        found = list[FinishedRow]()
        async with reading(self._engine) as session:
            rows = await session.stream(
                select(BatchPersonRow, InvitationRow)
                .outerjoin(
                    InvitationRow, InvitationRow.invitation_id == BatchPersonRow.invitation_id
                )
                .where(BatchPersonRow.batch_id == batch_id, BatchPersonRow.result.is_not(None))
                .order_by(BatchPersonRow.position)
                .execution_options(yield_per=_ROWS_PER_FETCH)
            )
            async for row, invitation in rows:
                assert row.result is not None, "the query excludes rows without a result"
                found.append(
                    FinishedRow(
                        person=row.person,
                        result=row.result,
                        error=row.error,
                        stored=stored_invitation(invitation) if invitation else None,
                    )
                )
        return found


def _row_values(batch_id: str, row: BatchRow) -> dict[str, object]:
    return {
        "batch_id": batch_id,
        "position": row.position,
        "person": row.person,
        "result": "refused" if row.refused else None,
        "error": row.refused,
    }


def _invitations_of(batch_id: str) -> Select[str]:
    return (
        select(InvitationRow.invitation_id)
        .join(BatchPersonRow, BatchPersonRow.invitation_id == InvitationRow.invitation_id)
        .where(BatchPersonRow.batch_id == batch_id)
    )


async def _has_started(session: AsyncSession, batch_id: str) -> bool:
    """Return whether any row of the batch was invited."""
    of_the_batch = BatchPersonRow.batch_id == batch_id
    invited = BatchPersonRow.result.in_(("invited", "already_invited"))
    return bool(await session.scalar(select(exists().where(of_the_batch, invited))))
