"""Add-on licenses as an import file lists them: pools, and what each user holds."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.accounts.import_orders import name_bought
from adapters.sql.database.schema import AccountRow, HeldLicenseRow
from adapters.sql.licenses.license import give_addon, resize_meetings, take_addon
from adapters.sql.licenses.pool import enlarge, pools_of
from domain.account import Account, Pool, User
from domain.license import Sku


async def take_in_addons(
    session: AsyncSession,
    row: AccountRow,
    account: Account,
    ordered: Mapping[tuple[str, int], int],
    at: datetime,
) -> None:
    """Bring pools and holders to what the file says; it was found to be sound.

    A pool that it does not name becomes as large as it has to be, as that of base licenses.
    """
    rows = await session.scalars(select(HeldLicenseRow).where(HeldLicenseRow.account_id == row.id))
    held = {license.membership_id: license.capacity for license in rows}
    users = {user.email: user for user in row.users}
    named = [
        (users[user.email], _held_then(user, held.get(users[user.email].id)))
        for user in account.users
    ]
    for membership, capacity in named:
        if held.get(membership.id, capacity) != capacity:
            await take_addon(session, membership)
    # Only now: the file may name fewer licenses than were assigned before.
    await _merge_pools(session, row.id, account.pools, ordered)
    for membership, capacity in named:
        if capacity is None:
            continue
        if not await give_addon(session, membership, capacity, at):
            await _enlarge(session, row.id, capacity, 1)
            await give_addon(session, membership, capacity, at)
        # Also those meetings that the file has added.
        await resize_meetings(session, membership.email, capacity)


def _held_then(user: User, before: int | None) -> int | None:
    """The capacity that a user holds after the import."""
    if "addons" not in user.model_fields_set:
        return before
    return next((addon.capacity for addon in user.addons), None)


async def _merge_pools(
    session: AsyncSession,
    account: str,
    pools: Sequence[Pool],
    ordered: Mapping[tuple[str, int], int],
) -> None:
    """Those that the file does not name stay."""
    known = await pools_of(session, account)
    for pool in pools:
        key = pool.sku, pool.capacity
        if key in known:
            name_bought(known[key], pool.bought, ordered[key])
        else:
            await _enlarge(session, account, pool.capacity, pool.bought)
    await session.flush()


async def _enlarge(session: AsyncSession, account: str, capacity: int, by: int) -> None:
    """So many more were there before anybody bought one here."""
    await enlarge(session, account, Sku.LARGE_MEETING, capacity, by)
    pool = (await pools_of(session, account))[Sku.LARGE_MEETING, capacity]
    pool.bought_named += by
    await session.flush()
