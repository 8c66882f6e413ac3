"""Growing and shrinking pools, and serving the users who wait (ASG-5, ADD-5, ADD-6).

The caller has locked the account.
"""

from collections.abc import Sequence, Set
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import (
    NO_CAPACITY,
    WORKPLACE,
    AssignmentRow,
    HeldLicenseRow,
    MembershipRow,
)
from adapters.sql.licenses.counter import (
    Pools,
    add_bought,
    enlarge_by_import,
    pools_of,
)
from adapters.sql.licenses.letter import queue_assignment_letters
from adapters.sql.licenses.license import (
    assign_addon,
    assign_base_license,
    remove_license,
    users_of,
)
from adapters.sql.outbox import signal_workflow
from domain.assignment import AssignmentState, assignment_workflow
from domain.error import ErrorCode, Refused
from domain.license import Sku, cannot_serve, missing_license, users_to_release
from domain.outbox import LICENSES_FREED


async def grow(
    session: AsyncSession, account: str, sku: Sku, capacity: int, *, quantity: int, at: datetime
) -> None:
    """Add bought licenses to the pool, and serve the users who wait."""
    await add_bought(session, account, sku, capacity, quantity)
    await assign_waiting(session, account, at)


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
    """Remove licenses from the pool; return the users whose license ended.

    `release` names users whose license ends first. With a base license the add-ons end, too
    (ASG-7). The pool never becomes smaller than the number of reserved seats (INV-15): licenses
    that are kept for them count as named by the import file, as no order pays for them.
    """
    pool = (await pools_of(session, account)).get((sku, capacity))
    if pool is None:
        return []
    left = max(pool.bought - quantity, pool.reserved)
    held = await holders(session, account, sku, capacity)
    released = users_to_release(held, release, left - pool.reserved)
    users = await users_of(session, account, released)
    for email in released:
        await remove_license(session, users[email], sku)
    kept = left - (pool.bought - quantity)
    if kept:
        await enlarge_by_import(session, account, sku, capacity, kept)
    await add_bought(session, account, sku, capacity, -quantity)
    await assign_waiting(session, account, at)
    return released


async def holders(session: AsyncSession, account: str, sku: Sku, capacity: int) -> list[str]:
    """Return the users who hold a license of this pool, the earliest assignment first."""
    users = select(MembershipRow.email).where(
        MembershipRow.account_id == account, MembershipRow.until.is_(None)
    )
    match sku:
        case Sku.WORKPLACE:
            query = users.where(MembershipRow.licensed).order_by(
                MembershipRow.licensed_at.nulls_first(), MembershipRow.id
            )
        case Sku.LARGE_MEETING | Sku.WEBINAR:
            query = (
                users.join(HeldLicenseRow, HeldLicenseRow.membership_id == MembershipRow.id)
                .where(HeldLicenseRow.sku == sku, HeldLicenseRow.capacity == capacity)
                .order_by(HeldLicenseRow.assigned_at, MembershipRow.id)
            )
    return list(await session.scalars(query))


async def leave(session: AsyncSession, user: MembershipRow, at: datetime) -> None:
    """Return the licenses of a user who leaves the account, and end their waiting (TRF-3)."""
    # The caller's query did not load the add-ons of the user.
    await users_of(session, user.account_id, [user.email])
    left = await remove_license(session, user, Sku.WORKPLACE)
    user.addon_left, user.webinar_left = left.get(Sku.LARGE_MEETING), left.get(Sku.WEBINAR)
    rows = await waiting(session, user.account_id, user.email)
    for row in rows:
        end_waiting(row, AssignmentState.REFUSED, not_a_user_error(row.account_id, row.email))
    await announce(session, set(rows), at)
    await assign_waiting(session, user.account_id, at)


async def waiting(
    session: AsyncSession, account: str, email: str | None = None
) -> Sequence[AssignmentRow]:
    """Return the waiting assignments of an account, or of one user, the oldest first."""
    query = select(AssignmentRow).where(
        AssignmentRow.account_id == account, AssignmentRow.state == AssignmentState.WAITING
    )
    if email is not None:
        query = query.where(AssignmentRow.email == email)
    return (await session.scalars(query.order_by(AssignmentRow.number))).all()


def end_waiting(row: AssignmentRow, state: AssignmentState, reason: Refused | None = None) -> None:
    """Set the state of an assignment that no longer waits."""
    row.state, row.error = state, reason.as_json() if reason else None


def not_a_user_error(account: str, email: str) -> Refused:
    """Return the refusal of a request about a person who is not on the account."""
    return Refused(ErrorCode.NOT_FOUND, f"{email} is not a user of {account}.")


async def assign_waiting(session: AsyncSession, account: str, at: datetime) -> None:
    """Assign free licenses to waiting users, the oldest first, and announce it (ASG-5)."""
    await announce(session, await serve_waiting(session, account, at), at)


async def serve_waiting(session: AsyncSession, account: str, at: datetime) -> set[AssignmentRow]:
    """Assign free licenses to waiting users, the oldest first; return the changed assignments.

    This includes users who waited for a base license and have one now (ASG-1).
    """
    changed: set[AssignmentRow] = set()
    # A user who is served may return a license that another one waits for.
    while rows := await waiting(session, account):
        users = await users_of(session, account, {row.email for row in rows})
        pools = await pools_of(session, account)
        served: set[AssignmentRow] = set()
        for row in rows:
            # Serving an earlier row may have ended the waiting of this one.
            if row.waits:
                served |= await assign_waiting_row(session, row, users[row.email], pools, at)
        if not served:
            break
        changed |= served
    return changed


async def assign_waiting_row(
    session: AsyncSession, row: AssignmentRow, user: MembershipRow, pools: Pools, at: datetime
) -> set[AssignmentRow]:
    """Assign the license if one is free, else make the user wait for it.

    Return the changed assignments.
    """
    before = row.state, row.error
    row.held_before = _holds(row, user)
    if not _cannot_serve(row, user, pools) and await _assign(session, row, user, at):
        end_waiting(row, AssignmentState.ASSIGNED)
        return {row, *await _end_older_requests(session, row)}
    reason = missing_license(
        row.account_id,
        Sku(row.sku),
        row.capacity,
        licensed=user.licensed,
        gives_base_license=row.gives_base_license,
    )
    row.state, row.error = AssignmentState.WAITING, reason.as_json()
    return {row} if (row.state, row.error) != before else set()


def _holds(row: AssignmentRow, user: MembershipRow) -> bool:
    """Return whether the user has the requested license already."""
    sku = Sku(row.sku)
    return user.licensed if sku is Sku.WORKPLACE else user.capacity_held(sku) == row.capacity


def _cannot_serve(row: AssignmentRow, user: MembershipRow, pools: Pools) -> bool:
    """Return whether no license is free for the user.

    This saves statements: hundreds of users may wait for the same license.
    """
    free = {key: pool.free for key, pool in pools.items()}
    return cannot_serve(
        Sku(row.sku),
        held=_holds(row, user),
        licensed=user.licensed,
        gives_base_license=row.gives_base_license,
        free_base=free.get((WORKPLACE, NO_CAPACITY), 0),
        free_addons=free.get((row.sku, row.capacity), 0),
    )


async def _assign(
    session: AsyncSession, row: AssignmentRow, user: MembershipRow, at: datetime
) -> bool:
    if row.sku == Sku.WORKPLACE or row.gives_base_license:
        await assign_base_license(session, user, at)
    if row.sku == Sku.WORKPLACE or not user.licensed:
        return user.licensed
    return await assign_addon(session, user, Sku(row.sku), row.capacity, at)


async def _end_older_requests(session: AsyncSession, row: AssignmentRow) -> list[AssignmentRow]:
    """End the user's waiting for the same license, and for others requested before (ASG-4).

    Return these assignments.
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
                Refused(
                    ErrorCode.CONFLICT, f"{row.email} has been assigned another license since."
                ),
            )
    return others


async def announce(
    session: AsyncSession, changed: Set[AssignmentRow], at: datetime, *, by: str | None = None
) -> None:
    """Queue the letters about the changed assignments, and signal their workflows.

    The workflow of the request `by` makes the change itself and is not signaled.
    """
    await queue_assignment_letters(session, changed, at)
    for request_id, account in sorted({(row.request_id, row.account_id) for row in changed}):
        if request_id != by:
            signal_workflow(
                session,
                assignment_workflow(account, request_id),
                LICENSES_FREED,
                account=account,
                at=at,
            )
