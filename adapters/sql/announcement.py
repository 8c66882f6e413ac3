"""The outbox: which workflows have to be told that the store has changed (BLK-4).

Written in the transaction that makes the change, so that no crash loses it; whoever tells
them may do so twice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import UNANSWERED, AnnouncementRow, InvitationRow, MembershipRow
from adapters.sql.database.transaction import batches, reading, writing
from domain.account import Role
from domain.announcement import Announcement


class SqlAnnouncements:
    """What has yet to be told."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def oldest(self, limit: int) -> list[Announcement]:
        """At most `limit` announcements, the oldest first."""
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(AnnouncementRow).order_by(AnnouncementRow.number).limit(limit)
            )
            return [Announcement.model_validate(row, from_attributes=True) for row in rows]

    async def done(self, number: int) -> None:
        """It was told, or there is nobody left to tell. On repeat: nothing."""
        async with writing(self._engine) as session:
            await session.execute(delete(AnnouncementRow).where(AnnouncementRow.number == number))


async def announce(session: AsyncSession, accounts: Iterable[str], at: datetime) -> None:
    """Something changed on `accounts`: their owners may be free to leave, or no longer.

    The accounts are locked. Pending invitations are told as well as blocked ones: an
    acceptance under way may have found what is cleared now.
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
    """Something changed for these people: all their open invitations look again."""
    for some in batches(emails):
        rows = await session.scalars(
            select(InvitationRow)
            .where(InvitationRow.email.in_(some), UNANSWERED)
            .order_by(InvitationRow.invitation_id)
        )
        for row in rows:
            announce_change(session, row, at)


def announce_change(session: AsyncSession, row: InvitationRow, at: datetime) -> None:
    """This invitation was changed, perhaps ended, and its workflow does not know.

    Without a workflow there is nobody to tell: it is told once it has one.
    """
    if row.run_id:
        session.add(AnnouncementRow(workflow_id=row.record.workflow_id, run_id=row.run_id, at=at))
