"""What one user holds: a base license, and perhaps an add-on beside it (ASG).

Whoever calls has locked the account, and lets `serve_waiting` follow where a license may
have come free.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from adapters.sql.database.schema import (
    NO_CAPACITY,
    AssignmentRow,
    HeldLicenseRow,
    LicensePoolRow,
    MeetingRow,
    MembershipRow,
)
from adapters.sql.database.transaction import batches
from domain.account import Meeting
from domain.assignment import AssignmentState
from domain.license import CAPACITY_WITHOUT_ADDON, Sku


async def claim(session: AsyncSession, account: str, sku: Sku, capacity: int) -> bool:
    """Take one license out of the pool; whether there was one.

    One statement looks and takes: no pool is ever overdrawn, whatever else runs (ASG-6).
    """
    await session.flush()
    claimed = await session.scalar(
        update(LicensePoolRow)
        .where(
            _pool(account, sku, capacity),
            LicensePoolRow.assigned + LicensePoolRow.reserved < LicensePoolRow.bought,
        )
        .values(assigned=LicensePoolRow.assigned + 1)
        .returning(LicensePoolRow.account_id)
    )
    return claimed is not None


async def put_back(session: AsyncSession, account: str, sku: Sku, capacity: int) -> None:
    """Return one license, which somebody held, to its pool."""
    await session.flush()
    await session.execute(
        update(LicensePoolRow)
        .where(_pool(account, sku, capacity))
        .values(assigned=LicensePoolRow.assigned - 1)
    )


def _pool(account: str, sku: Sku, capacity: int) -> ColumnElement[bool]:
    return (
        (LicensePoolRow.account_id == account)
        & (LicensePoolRow.sku == sku)
        & (LicensePoolRow.capacity == capacity)
    )


async def users_of(
    session: AsyncSession, account: str, emails: Collection[str]
) -> dict[str, MembershipRow]:
    """Those of these people who are on the account, with what they hold now."""
    await session.flush()
    users: dict[str, MembershipRow] = {}
    for some in batches(list(emails)):
        found = await session.scalars(
            select(MembershipRow)
            .where(
                MembershipRow.account_id == account,
                MembershipRow.email.in_(some),
                MembershipRow.until.is_(None),
            )
            .options(selectinload(MembershipRow.held))
            .execution_options(populate_existing=True)
        )
        users |= {user.email: user for user in found}
    return users


async def give_base(session: AsyncSession, user: MembershipRow, at: datetime) -> bool:
    """Give a base license unless they have one; whether they have one then."""
    if user.licensed:
        return True
    if not await claim(session, user.account_id, Sku.WORKPLACE, NO_CAPACITY):
        return False
    user.licensed, user.licensed_at = True, at
    return True


async def give_addon(
    session: AsyncSession, user: MembershipRow, capacity: int, at: datetime
) -> bool:
    """Give an add-on to a licensed user; whether they have it then.

    The same again consumes nothing; another one goes back to its pool (ASG-4).
    """
    held = await session.get(HeldLicenseRow, user.id)
    if held and held.capacity == capacity:
        return True
    if not await claim(session, user.account_id, Sku.LARGE_MEETING, capacity):
        return False
    if held:
        await take_addon(session, user)
    session.add(
        HeldLicenseRow(
            membership_id=user.id,
            account_id=user.account_id,
            sku=Sku.LARGE_MEETING,
            capacity=capacity,
            assigned_at=at,
        )
    )
    await session.flush()
    await resize_meetings(session, user.email, capacity)
    return True


async def take_addon(session: AsyncSession, user: MembershipRow) -> int | None:
    """Take the add-on from them; its capacity, None if they hold none."""
    held = await session.get(HeldLicenseRow, user.id)
    if held is None:
        return None
    await session.delete(held)
    await put_back(session, user.account_id, Sku.LARGE_MEETING, held.capacity)
    await resize_meetings(session, user.email, CAPACITY_WITHOUT_ADDON)
    await _release(session, user, Sku.LARGE_MEETING)
    return held.capacity


async def take_base(session: AsyncSession, user: MembershipRow) -> bool:
    """Take the base license from who holds no add-on; whether they had one."""
    if not user.licensed:
        return False
    user.licensed, user.licensed_at = False, None
    await put_back(session, user.account_id, Sku.WORKPLACE, NO_CAPACITY)
    await _release(session, user, Sku.WORKPLACE)
    return True


async def meetings_of(session: AsyncSession, email: str) -> Sequence[Meeting]:
    """The meetings that a user hosts, with the capacity that they have now."""
    rows = await session.scalars(
        select(MeetingRow).where(MeetingRow.host == email).order_by(MeetingRow.position)
    )
    return [Meeting.model_validate(row, from_attributes=True) for row in rows]


async def resize_meetings(session: AsyncSession, host: str, capacity: int) -> None:
    """All of them, at once (ASG-3)."""
    await session.execute(
        update(MeetingRow).where(MeetingRow.host == host).values(capacity=capacity)
    )


async def _release(session: AsyncSession, user: MembershipRow, sku: Sku) -> None:
    """Whatever gave them the license: they have it no longer."""
    await session.execute(
        update(AssignmentRow)
        .where(
            AssignmentRow.account_id == user.account_id,
            AssignmentRow.email == user.email,
            AssignmentRow.sku == sku,
            AssignmentRow.state == AssignmentState.ASSIGNED,
        )
        .values(state=AssignmentState.RELEASED)
    )
