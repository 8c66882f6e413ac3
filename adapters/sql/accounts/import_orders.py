"""What a file says of licenses, beside what was bought here by orders (ADD-5).

Files name how many there are, and may be older than an order or its end: what a file says
anew is the difference to what it said before.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import NO_CAPACITY, LicensePoolRow, OrderRow
from adapters.sql.database.transaction import batches
from domain.account import Account, Directory
from domain.order import ACCOUNT_CLOSED, Order


@dataclass(frozen=True)
class Ordered:
    """The lines of a file that orders have brought into this store."""

    orders: Mapping[tuple[str, str], Order]
    """By account and id, also those that are over now."""

    def counts(self, account: Account) -> Counter[tuple[str, int]]:
        """How many of each pool were bought by orders when the file was written."""
        counted: Counter[tuple[str, int]] = Counter()
        for line in account.subscriptions:
            order = self.orders.get((account.id, line.id))
            # With its account went its licenses, and the file says so.
            if order and order.note != ACCOUNT_CLOSED:
                counted[order.sku, order.capacity or NO_CAPACITY] += line.quantity
        return counted

    def without(self, account: Account) -> Account:
        """The account but for these lines: what was bought here stays as it is."""
        lines = tuple(
            line for line in account.subscriptions if (account.id, line.id) not in self.orders
        )
        if len(lines) == len(account.subscriptions):
            return account
        return account.model_copy(update={"subscriptions": lines})


async def ordered_here(session: AsyncSession, directory: Directory) -> Ordered:
    """All orders of the accounts that the file names."""
    ids = [account.id for account in directory.accounts]
    orders: dict[tuple[str, str], Order] = {}
    for some in batches(ids):
        rows = await session.scalars(select(OrderRow).where(OrderRow.account_id.in_(some)))
        orders |= {(row.account_id, row.order_id): row.record for row in rows}
    return Ordered(orders)


def name_bought(pool: LicensePoolRow, named: int, ordered: int) -> None:
    """Bring the pool to what a file has named, and remember that."""
    if named != pool.bought:
        pool.bought, pool.bought_named = bought_then(pool, named, ordered), named - ordered


def bought_then(pool: LicensePoolRow | None, named: int, ordered: int) -> int:
    """How many there are once a file has named so many, `ordered` of them bought by orders.

    Whoever names as many as there are, or as were named before, changes nothing.
    """
    if pool is None or named == pool.bought:
        return named
    return pool.bought + named - ordered - pool.bought_named
