"""The outbox of signals to workflows whose data in the store has changed (BLK-4).

A row is written in the transaction that makes the change, so that no crash loses it. The
relay may send a signal twice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import UNANSWERED, InvitationRow, MembershipRow, OutboxRow
from adapters.sql.database.transaction import chunked, reading, writing
from domain.account import Role
from domain.outbox import WorkflowSignal


class SqlOutbox:
    """The signals that have not been sent yet."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def oldest(self, limit: int) -> list[WorkflowSignal]:
        """Return at most `limit` signals, the oldest first."""
        async with reading(self._engine) as session:
            rows = await session.scalars(select(OutboxRow).order_by(OutboxRow.number).limit(limit))
            return [WorkflowSignal.model_validate(row, from_attributes=True) for row in rows]

    async def done(self, number: int) -> None:
        """Delete a signal that was sent, or whose workflow has ended; may be repeated."""
        async with writing(self._engine) as session:
            await session.execute(delete(OutboxRow).where(OutboxRow.number == number))


async def signal_owners(session: AsyncSession, accounts: Iterable[str], at: datetime) -> None:
    """Insert a row for each unanswered invitation of the owners of `accounts`.

    Its workflow then rechecks the blockers. The caller has locked the accounts. Pending
    invitations are included, because an acceptance in progress may have found a blocker that is
    cleared now.
    """
    owners = await session.scalars(
        select(MembershipRow.email).where(
            MembershipRow.account_id.in_(list(accounts)),
            MembershipRow.until.is_(None),
            MembershipRow.role == Role.OWNER,
        )
    )
    await signal_invitees(session, owners.all(), at)


async def signal_invitees(session: AsyncSession, emails: Sequence[str], at: datetime) -> None:
    """Insert a row for each unanswered invitation of these people."""
    for some in chunked(emails):
        rows = await session.scalars(
            select(InvitationRow)
            .where(InvitationRow.email.in_(some), UNANSWERED)
            .order_by(InvitationRow.invitation_id)
        )
        for row in rows:
            signal_invitation(session, row, at)


def signal_invitation(session: AsyncSession, row: InvitationRow, at: datetime) -> None:
    """Insert a row for the workflow of a changed invitation, possibly one that has ended.

    An invitation that is not bound to a run gets its row when it is bound.
    """
    if row.run_id:
        session.add(OutboxRow(workflow_id=row.record.workflow_id, run_id=row.run_id, at=at))
