"""The licenses of one user: a base license, and possibly an add-on (ASG).

The caller has locked the account, and calls `assign_waiting` afterwards where a license may
have become free.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from adapters.sql.database.schema import (
    NO_CAPACITY,
    AssignmentRow,
    HeldLicenseRow,
    MeetingRow,
    MembershipRow,
)
from adapters.sql.database.transaction import chunked
from adapters.sql.licenses.counter import return_license, take_free_license
from domain.account import Meeting
from domain.assignment import AssignmentState
from domain.license import CAPACITY_WITHOUT_ADDON, Sku


async def users_of(
    session: AsyncSession, account: str, emails: Collection[str]
) -> dict[str, MembershipRow]:
    """Return the users of the account among `emails`, by address, with their add-ons loaded."""
    users: dict[str, MembershipRow] = {}
    for some in chunked(list(emails)):
        found = await session.scalars(
            select(MembershipRow)
            .where(
                MembershipRow.account_id == account,
                MembershipRow.email.in_(some),
                MembershipRow.until.is_(None),
            )
            .options(joinedload(MembershipRow.held))
        )
        users |= {user.email: user for user in found}
    return users


async def assign_base_license(session: AsyncSession, user: MembershipRow, at: datetime) -> bool:
    """Assign a free base license to a basic user; return whether the user has one now."""
    if not user.licensed and await take_free_license(
        session, user.account_id, Sku.WORKPLACE, NO_CAPACITY
    ):
        user.licensed, user.licensed_at = True, at
    return user.licensed


async def assign_addon(
    session: AsyncSession, user: MembershipRow, capacity: int, at: datetime
) -> bool:
    """Assign a free add-on to a licensed user; return whether the user holds it now.

    The same add-on again consumes nothing; another one returns to its pool (ASG-4).
    """
    if user.addon_held == capacity:
        return True
    if not await take_free_license(session, user.account_id, Sku.LARGE_MEETING, capacity):
        return False
    await release_addon(session, user)
    user.held = HeldLicenseRow(
        account_id=user.account_id, sku=Sku.LARGE_MEETING, capacity=capacity, assigned_at=at
    )
    await resize_meetings(session, user.email, capacity)
    return True


async def release_addon(session: AsyncSession, user: MembershipRow) -> int | None:
    """Return the user's add-on to its pool; return its capacity, None if there is none."""
    capacity = user.addon_held
    if capacity is None:
        return None
    user.held = None
    await return_license(session, user.account_id, Sku.LARGE_MEETING, capacity)
    await resize_meetings(session, user.email, CAPACITY_WITHOUT_ADDON)
    await _release_assignments(session, user, Sku.LARGE_MEETING)
    return capacity


async def release_base_license(session: AsyncSession, user: MembershipRow) -> None:
    """Return the base license of a user without an add-on to its pool, if there is one."""
    if user.licensed:
        user.licensed, user.licensed_at = False, None
        await return_license(session, user.account_id, Sku.WORKPLACE, NO_CAPACITY)
        await _release_assignments(session, user, Sku.WORKPLACE)


async def remove_license(session: AsyncSession, user: MembershipRow, sku: Sku) -> int | None:
    """Release the user's add-on, and the base license if `sku` names it.

    Return the capacity of the add-on, None if there was none.
    """
    capacity = await release_addon(session, user)
    if sku is Sku.WORKPLACE:
        await release_base_license(session, user)
    return capacity


async def meetings_of(session: AsyncSession, email: str) -> Sequence[Meeting]:
    """Return the meetings that a user hosts, with their present capacity."""
    rows = await session.scalars(
        select(MeetingRow).where(MeetingRow.host == email).order_by(MeetingRow.position)
    )
    return [Meeting.model_validate(row, from_attributes=True) for row in rows]


async def resize_meetings(session: AsyncSession, host: str, capacity: int) -> None:
    """Set the capacity of all meetings of the host at once (ASG-3)."""
    await session.execute(
        update(MeetingRow).where(MeetingRow.host == host).values(capacity=capacity)
    )


async def _release_assignments(session: AsyncSession, user: MembershipRow, sku: Sku) -> None:
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
