"""Add-on licenses in an import file: pools, and the licenses of each user."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AccountRow, MembershipRow
from adapters.sql.licenses.counter import enlarge_by_import, pools_of, set_imported
from adapters.sql.licenses.license import assign_addon, release_addon, resize_hosted
from domain.account import Account, Pool, User
from domain.license import ADDONS, Sku, imported_count


async def import_addons(
    session: AsyncSession,
    row: AccountRow,
    account: Account,
    ordered: Mapping[tuple[str, int], int],
    at: datetime,
) -> None:
    """Set pools and holders as the validated file names them.

    A pool that it does not name becomes as large as needed.
    """
    users = {user.email: user for user in row.users}
    named = [
        (users[user.email], sku, _capacity_after(user, users[user.email], sku))
        for user in account.users
        for sku in ADDONS
    ]
    for membership, sku, capacity in named:
        if membership.capacity_held(sku) != capacity:
            await release_addon(session, membership, sku)
    # After the releases: the file may name fewer licenses than were assigned before.
    await _merge_pools(session, row.id, account.pools, ordered)
    for membership, sku, capacity in named:
        if capacity is None:
            continue
        if not await assign_addon(session, membership, sku, capacity, at):
            await enlarge_by_import(session, row.id, sku, capacity, 1)
            await assign_addon(session, membership, sku, capacity, at)
        # The file may have added meetings or webinars.
        await resize_hosted(session, membership.email, sku, capacity)


def _capacity_after(user: User, before: MembershipRow, sku: Sku) -> int | None:
    """Return the capacity of the user's add-on of this kind after the import."""
    if "addons" not in user.model_fields_set:
        return before.capacity_held(sku)
    return next((addon.capacity for addon in user.addons if addon.sku == sku), None)


async def _merge_pools(
    session: AsyncSession,
    account: str,
    pools: Sequence[Pool],
    ordered: Mapping[tuple[str, int], int],
) -> None:
    """Set the size of the pools that the file names."""
    known = await pools_of(session, account)
    for pool in pools:
        key = pool.sku, pool.capacity
        row = known.get(key)
        if row is None:
            await enlarge_by_import(session, account, Sku(pool.sku), pool.capacity, pool.bought)
        else:
            count = imported_count(
                row.bought, row.bought_named, named=pool.bought, ordered=ordered[key]
            )
            await set_imported(session, row, count, row.assigned)
