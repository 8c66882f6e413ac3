"""The pools of an account: they grow, shrink, and serve who waits (ASG-5, ADD-5, ADD-6).

Whoever calls has locked the account.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import (
    NO_CAPACITY,
    WORKPLACE,
    AnnouncementRow,
    AssignmentRow,
    HeldLicenseRow,
    LicensePoolRow,
    MembershipRow,
)
from adapters.sql.database.transaction import insert_missing
from adapters.sql.licenses.license import give_addon, give_base, take_addon, take_base, users_of
from domain.announcement import LICENSES_FREED
from domain.assignment import AssignmentState, assignment_workflow
from domain.error import ErrorCode, Refused
from domain.license import Sku

PAID_USERS_ONLY = "Only paid users can enable this feature"

Pools = Mapping[tuple[str, int], LicensePoolRow]
"""By what they are pools of, and its capacity."""


async def grow(
    session: AsyncSession, account: str, sku: Sku, capacity: int, *, quantity: int, at: datetime
) -> None:
    """Licenses were bought: they join the pool, and who waits is served."""
    await enlarge(session, account, sku, capacity, quantity)
    await serve_waiting(session, account, at)


async def shrink(
    session: AsyncSession,
    account: str,
    sku: Sku,
    capacity: int,
    *,
    quantity: int,
    release: Sequence[str],
    at: datetime,
) -> list[str]:
    """Licenses have ended; whom they were taken from.

    That is who is named in `release`, and then, while more are assigned than are left, the
    user to whom one was assigned last. A base license takes the add-on along (ASG-7). Seats
    that are promised to invitations stay (INV-15): for them the pool stays larger.
    """
    pool = await _pool(session, account, sku, capacity)
    if pool is None:
        return []
    left = max(pool.bought - quantity, pool.reserved)
    held = await holders(session, account, sku, capacity)
    named = [email for email in held if email in set(release)]
    kept = [email for email in held if email not in set(release)]
    released = [*named, *reversed(kept[left - pool.reserved :])]
    users = await users_of(session, account, released)
    for email in released:
        await take(session, users[email], sku)
    await enlarge(session, account, sku, capacity, left - pool.bought)
    await serve_waiting(session, account, at)
    return released


async def enlarge(session: AsyncSession, account: str, sku: Sku, capacity: int, by: int) -> None:
    """That many more were bought, or fewer; nobody is served yet."""
    pool = {"account_id": account, "sku": sku, "capacity": capacity}
    empty = {"bought": 0, "assigned": 0, "reserved": 0}
    await insert_missing(session, LicensePoolRow, [pool | empty])
    await session.execute(
        update(LicensePoolRow).filter_by(**pool).values(bought=LicensePoolRow.bought + by)
    )


async def holders(session: AsyncSession, account: str, sku: Sku, capacity: int) -> list[str]:
    """Who holds a license of this pool, the longest first."""
    users = select(MembershipRow.email).where(
        MembershipRow.account_id == account, MembershipRow.until.is_(None)
    )
    match sku:
        case Sku.WORKPLACE:
            query = users.where(MembershipRow.licensed).order_by(
                MembershipRow.licensed_at.nulls_first(), MembershipRow.id
            )
        case Sku.LARGE_MEETING:
            query = (
                users.join(HeldLicenseRow, HeldLicenseRow.membership_id == MembershipRow.id)
                .where(HeldLicenseRow.capacity == capacity)
                .order_by(HeldLicenseRow.assigned_at, MembershipRow.id)
            )
    return list(await session.scalars(query))


async def take(session: AsyncSession, user: MembershipRow, sku: Sku) -> int | None:
    """Take a license from them, a base license with the add-on; the capacity of that."""
    capacity = await take_addon(session, user)
    if sku is Sku.WORKPLACE:
        await take_base(session, user)
    return capacity


async def leave(session: AsyncSession, user: MembershipRow, at: datetime) -> None:
    """The user leaves the account: their licenses go back, and they wait no longer (TRF-3)."""
    user.addon_left = await take(session, user, Sku.WORKPLACE)
    rows = await waiting(session, user.account_id, user.email)
    for row in rows:
        end_waiting(row, AssignmentState.REFUSED, not_a_user(row.account_id, row.email))
    announce_freed(session, user.account_id, {row.request_id for row in rows}, at)
    await session.flush()
    await serve_waiting(session, user.account_id, at)


async def waiting(
    session: AsyncSession, account: str, email: str | None = None
) -> Sequence[AssignmentRow]:
    """Who waits for a license of the account, or what one user waits for; the oldest first."""
    await session.flush()
    query = select(AssignmentRow).where(
        AssignmentRow.account_id == account, AssignmentRow.state == AssignmentState.WAITING
    )
    if email is not None:
        query = query.where(AssignmentRow.email == email)
    return (await session.scalars(query.order_by(AssignmentRow.number))).all()


def end_waiting(row: AssignmentRow, state: AssignmentState, why: Refused | None = None) -> None:
    """They do not wait any more."""
    row.state, row.error = state, why.as_json() if why else None


def not_a_user(account: str, email: str) -> Refused:
    """The answer about somebody who is not on the account."""
    return Refused(ErrorCode.NOT_FOUND, f"{email} is not a user of {account}.")


async def serve_waiting(session: AsyncSession, account: str, at: datetime) -> None:
    """Give what is free to who waits for it, the oldest first, and have them told (ASG-5).

    Also to who waited for a base license that has arrived (ASG-1).
    """
    changed: set[str] = set()
    # Whoever is served may return what another waits for, who then has their turn.
    while rows := await waiting(session, account):
        users = await users_of(session, account, {row.email for row in rows})
        pools = await pools_of(session, account)
        served: set[str] = set()
        for row in rows:
            # One before it may have ended its waiting.
            if row.waits:
                served |= await serve(session, row, users[row.email], pools, at)
        if not served:
            break
        changed |= served
    announce_freed(session, account, changed, at)


async def serve(
    session: AsyncSession, row: AssignmentRow, user: MembershipRow, pools: Pools, at: datetime
) -> set[str]:
    """Assign what is asked if there is one, else let them wait for it.

    The requests in which that has changed anything.
    """
    before = row.state, row.error
    row.held_before = _holds(row, user)
    if not _hopeless(row, user, pools) and await _given(session, row, user, at):
        end_waiting(row, AssignmentState.ASSIGNED)
        return {row.request_id, *await _overtaken(session, row)}
    row.state, row.error = AssignmentState.WAITING, _lacking(row, user).as_json()
    return {row.request_id} if (row.state, row.error) != before else set()


def _holds(row: AssignmentRow, user: MembershipRow) -> bool:
    """Whether they have the very license that is asked for."""
    if row.sku == Sku.WORKPLACE:
        return user.licensed
    return user.held is not None and user.held.capacity == row.capacity


def _hopeless(row: AssignmentRow, user: MembershipRow, pools: Pools) -> bool:
    """Whether there is no need to try: hundreds may wait for one license."""
    if _holds(row, user):
        # Who has it already takes nothing.
        return False
    if row.sku == Sku.WORKPLACE:
        wanted = (WORKPLACE, NO_CAPACITY)
    elif user.licensed:
        wanted = (row.sku, row.capacity)
    elif row.gives_base_license:
        wanted = (WORKPLACE, NO_CAPACITY)
    else:
        return True
    return wanted not in pools or pools[wanted].free < 1


async def _given(
    session: AsyncSession, row: AssignmentRow, user: MembershipRow, at: datetime
) -> bool:
    if row.sku == Sku.WORKPLACE or row.gives_base_license:
        licensed = await give_base(session, user, at)
    else:
        licensed = user.licensed
    if row.sku == Sku.WORKPLACE or not licensed:
        return licensed
    return await give_addon(session, user, row.capacity, at)


def _lacking(row: AssignmentRow, user: MembershipRow) -> Refused:
    """What they wait for."""
    if row.sku == Sku.LARGE_MEETING and not user.licensed:
        return Refused(ErrorCode.BASE_LICENSE_REQUIRED, PAID_USERS_ONLY)
    what = f"Large Meeting {row.capacity}" if row.capacity else "base"
    return Refused(ErrorCode.INSUFFICIENT_LICENSES, f"{row.account_id} has no free {what} license.")


async def _overtaken(session: AsyncSession, row: AssignmentRow) -> set[str]:
    """Who has got a license waits no longer for the same, nor for what was asked before it.

    The requests in which they did.
    """
    others = [
        other
        for other in await waiting(session, row.account_id, row.email)
        if other.sku == row.sku and (other.capacity == row.capacity or other.number < row.number)
    ]
    for other in others:
        if other.capacity == row.capacity:
            other.held_before = True
            end_waiting(other, AssignmentState.ASSIGNED)
        else:
            end_waiting(
                other,
                AssignmentState.REFUSED,
                Refused(ErrorCode.CONFLICT, f"{row.email} has got another license since."),
            )
    return {other.request_id for other in others}


def announce_freed(session: AsyncSession, account: str, requests: Set[str], at: datetime) -> None:
    """The workflows of these requests look again."""
    for request_id in sorted(requests):
        session.add(
            AnnouncementRow(
                workflow_id=assignment_workflow(account, request_id),
                run_id="",
                at=at,
                signal=LICENSES_FREED,
            )
        )


async def pools_of(session: AsyncSession, account: str) -> Pools:
    """All pools of an account as they are now, those of base licenses first."""
    await session.flush()
    rows = await session.scalars(
        select(LicensePoolRow)
        .where(LicensePoolRow.account_id == account)
        .order_by(LicensePoolRow.sku != WORKPLACE, LicensePoolRow.sku, LicensePoolRow.capacity)
        .execution_options(populate_existing=True)
    )
    return {(row.sku, row.capacity): row for row in rows}


async def _pool(
    session: AsyncSession, account: str, sku: Sku, capacity: int
) -> LicensePoolRow | None:
    return (await pools_of(session, account)).get((sku, capacity))
