"""The licenses of one user: a base license, and possibly an add-on of each kind (ASG).

The caller has locked the account, and calls `assign_waiting` afterwards where a license may
have become free.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from adapters.sql.database.schema import (
    NO_CAPACITY,
    AssignmentRow,
    HeldLicenseRow,
    MeetingRow,
    MembershipRow,
    WebinarRow,
)
from adapters.sql.database.transaction import chunked
from adapters.sql.licenses.counter import return_license, take_free_license
from domain.account import Meeting
from domain.assignment import AssignmentState
from domain.license import ADDONS, CAPACITY_WITHOUT_ADDON, Sku

_HOSTED: Final[Mapping[Sku, type[MeetingRow] | type[WebinarRow]]] = MappingProxyType(
    {Sku.LARGE_MEETING: MeetingRow, Sku.WEBINAR: WebinarRow}
)
"""The events whose capacity an add-on sets (ASG-3, ASG-8)."""


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
        users |= {user.email: user for user in found.unique()}
    return users


async def assign_base_license(session: AsyncSession, user: MembershipRow, at: datetime) -> bool:
    """Assign a free base license to a basic user; return whether the user has one now."""
    if not user.licensed and await take_free_license(
        session, user.account_id, Sku.WORKPLACE, NO_CAPACITY
    ):
        user.licensed, user.licensed_at = True, at
    return user.licensed


async def assign_addon(
    session: AsyncSession, user: MembershipRow, sku: Sku, capacity: int, at: datetime
) -> bool:
    """Assign a free add-on to a licensed user; return whether the user holds it now.

    The same add-on again consumes nothing; another one of its kind returns to its pool (ASG-4).
    """
    if user.capacity_held(sku) == capacity:
        return True
    if not await take_free_license(session, user.account_id, sku, capacity):
        return False
    await release_addon(session, user, sku)
    user.held.append(
        HeldLicenseRow(account_id=user.account_id, sku=sku, capacity=capacity, assigned_at=at)
    )
    await resize_hosted(session, user.email, sku, capacity)
    return True


async def release_addon(session: AsyncSession, user: MembershipRow, sku: Sku) -> int | None:
    """Return the user's add-on to its pool; return its capacity, None if there is none."""
    held = user.addon_held(sku)
    if held is None:
        return None
    user.held.remove(held)
    await return_license(session, user.account_id, sku, held.capacity)
    await resize_hosted(session, user.email, sku, CAPACITY_WITHOUT_ADDON)
    await _release_assignments(session, user, sku)
    return held.capacity


async def release_base_license(session: AsyncSession, user: MembershipRow) -> None:
    """Return the base license of a user without an add-on to its pool, if there is one."""
    if user.licensed:
        user.licensed, user.licensed_at = False, None
        await return_license(session, user.account_id, Sku.WORKPLACE, NO_CAPACITY)
        await _release_assignments(session, user, Sku.WORKPLACE)


async def remove_license(session: AsyncSession, user: MembershipRow, sku: Sku) -> dict[Sku, int]:
    """Release the user's license; a base license is released with the add-ons that need it.

    Return the capacities of the released add-ons.
    """
    released = {
        each: capacity
        for each in addons_with(sku)
        if (capacity := await release_addon(session, user, each)) is not None
    }
    if sku is Sku.WORKPLACE:
        await release_base_license(session, user)
    return released


def addons_with(sku: Sku) -> Sequence[Sku]:
    """Return the kinds of add-ons that are released with a license (ASG-7)."""
    return ADDONS if sku is Sku.WORKPLACE else (sku,)


async def hosted_by(session: AsyncSession, email: str, sku: Sku) -> Sequence[Meeting]:
    """Return the meetings or webinars of a user that the add-on concerns."""
    rows = _HOSTED[sku]
    found = await session.scalars(select(rows).where(rows.host == email).order_by(rows.position))
    return [Meeting.model_validate(row, from_attributes=True) for row in found]


async def resize_hosted(session: AsyncSession, host: str, sku: Sku, capacity: int) -> None:
    """Set the capacity of all meetings or webinars of the host at once (ASG-3, ASG-8)."""
    rows = _HOSTED[sku]
    await session.execute(update(rows).where(rows.host == host).values(capacity=capacity))


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
