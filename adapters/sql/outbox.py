"""The outbox of signals to workflows whose data in the store has changed (BLK-4).

A row is written in the transaction that makes the change, so that no crash loses it. The
relay may send a signal twice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import UNANSWERED, AnnouncementRow, InvitationRow, MembershipRow
from adapters.sql.database.transaction import chunked, reading, writing
from domain.account import Role
from domain.outbox import Announcement


class SqlAnnouncements:
    """The announcements that have not been sent yet."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def oldest(self, limit: int) -> list[Announcement]:
        """Return at most `limit` announcements, the oldest first."""
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(AnnouncementRow).order_by(AnnouncementRow.number).limit(limit)
            )
            return [Announcement.model_validate(row, from_attributes=True) for row in rows]

    async def done(self, number: int) -> None:
        """Delete an announcement that was sent, or whose workflow has ended; may be repeated."""
        async with writing(self._engine) as session:
            await session.execute(delete(AnnouncementRow).where(AnnouncementRow.number == number))


async def announce(session: AsyncSession, accounts: Iterable[str], at: datetime) -> None:
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
    await announce_to(session, owners.all(), at)


async def announce_to(session: AsyncSession, emails: Sequence[str], at: datetime) -> None:
    """Announce a change to all open invitations of these people."""
    for some in chunked(emails):
        rows = await session.scalars(
            select(InvitationRow)
            .where(InvitationRow.email.in_(some), UNANSWERED)
            .order_by(InvitationRow.invitation_id)
        )
        for row in rows:
            announce_change(session, row, at)


def announce_change(session: AsyncSession, row: InvitationRow, at: datetime) -> None:
    """Announce a change of the invitation, possibly its end, to its workflow.

    An invitation that is not bound to a run is announced when it is bound.
    """
    if row.run_id:
        session.add(AnnouncementRow(workflow_id=row.record.workflow_id, run_id=row.run_id, at=at))
