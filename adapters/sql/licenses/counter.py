"""The counters of license pools, changed only here, each by one UPDATE (ASG-6).

A license is taken or reserved only while one is free; CHECK constraints refuse every other
overdrawn pool.

The caller has locked the account. Each statement also updates the pools loaded in the session.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import NO_CAPACITY, WORKPLACE, LicensePoolRow
from adapters.sql.database.transaction import insert_missing
from domain.license import ImportedCount, Sku

Pools = Mapping[tuple[str, int], LicensePoolRow]
"""Pools by SKU and capacity."""

_FREE: Final = LicensePoolRow.bought - LicensePoolRow.assigned - LicensePoolRow.reserved


async def pools_of(session: AsyncSession, account: str) -> Pools:
    """Return all pools of an account, those of base licenses first."""
    rows = await session.scalars(
        select(LicensePoolRow)
        .where(LicensePoolRow.account_id == account)
        .order_by(LicensePoolRow.sku != WORKPLACE, LicensePoolRow.sku, LicensePoolRow.capacity)
    )
    return {(row.sku, row.capacity): row for row in rows}


async def take_free_license(session: AsyncSession, account: str, sku: Sku, capacity: int) -> bool:
    """Assign one free license of the pool; return False if there is none.

    The statement checks and assigns at once, so that no pool is ever overdrawn (ASG-6).
    """
    taken = await session.scalar(
        update(LicensePoolRow)
        .where(_is_pool(account, sku, capacity), _FREE > 0)
        .values(assigned=LicensePoolRow.assigned + 1)
        .returning(LicensePoolRow.account_id)
    )
    return taken is not None


async def return_license(session: AsyncSession, account: str, sku: Sku, capacity: int) -> None:
    """Return one assigned license to its pool; the database refuses to go below zero."""
    await session.execute(
        update(LicensePoolRow)
        .where(_is_pool(account, sku, capacity))
        .values(assigned=LicensePoolRow.assigned - 1)
    )


async def free_base_licenses(session: AsyncSession, account: str) -> int:
    """Return how many base licenses are neither assigned nor reserved."""
    return (await session.scalars(select(_FREE).where(_is_base(account)))).one()


async def reserve(session: AsyncSession, account: str) -> bool:
    """Reserve one free base license; return False if there is none (INV-15)."""
    reserved = await session.scalar(
        update(LicensePoolRow)
        .where(_is_base(account), _FREE > 0)
        .values(reserved=LicensePoolRow.reserved + 1)
        .returning(LicensePoolRow.account_id)
    )
    return reserved is not None


async def assign_reserved(session: AsyncSession, account: str) -> None:
    """Assign one reserved base license; the database refuses to go below zero (INV-15)."""
    await session.execute(
        update(LicensePoolRow)
        .where(_is_base(account))
        .values(assigned=LicensePoolRow.assigned + 1, reserved=LicensePoolRow.reserved - 1)
    )


async def release_reserved(session: AsyncSession, account: str) -> None:
    """Release one reserved base license; the database refuses to go below zero (INV-15)."""
    await session.execute(
        update(LicensePoolRow).where(_is_base(account)).values(reserved=LicensePoolRow.reserved - 1)
    )


async def add_bought(session: AsyncSession, account: str, sku: Sku, capacity: int, by: int) -> None:
    """Add bought licenses to the pool, or remove some with a negative number."""
    await _create(session, account, sku, capacity)
    await session.execute(
        update(LicensePoolRow)
        .where(_is_pool(account, sku, capacity))
        .values(bought=LicensePoolRow.bought + by)
    )


async def enlarge_by_import(
    session: AsyncSession, account: str, sku: Sku, capacity: int, by: int
) -> None:
    """Add bought licenses that count as named by the import file."""
    await _create(session, account, sku, capacity)
    await session.execute(
        update(LicensePoolRow)
        .where(_is_pool(account, sku, capacity))
        .values(bought=LicensePoolRow.bought + by, bought_named=LicensePoolRow.bought_named + by)
    )


async def set_imported(
    session: AsyncSession, pool: LicensePoolRow, count: ImportedCount, assigned: int
) -> None:
    """Set the size of the pool, and its number of assigned licenses, from an import file."""
    await session.execute(
        update(LicensePoolRow)
        .where(_is_pool(pool.account_id, Sku(pool.sku), pool.capacity))
        .values(bought=count.bought, bought_named=count.named, assigned=assigned)
    )


async def _create(session: AsyncSession, account: str, sku: Sku, capacity: int) -> None:
    key = {"account_id": account, "sku": sku, "capacity": capacity}
    empty = {"bought": 0, "assigned": 0, "reserved": 0}
    await insert_missing(session, LicensePoolRow, [key | empty])


def _is_base(account: str) -> ColumnElement[bool]:
    return _is_pool(account, Sku.WORKPLACE, NO_CAPACITY)


def _is_pool(account: str, sku: Sku, capacity: int) -> ColumnElement[bool]:
    return (
        (LicensePoolRow.account_id == account)
        & (LicensePoolRow.sku == sku)
        & (LicensePoolRow.capacity == capacity)
    )
