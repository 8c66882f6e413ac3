"""Licenses in an import file that orders of this store have bought (ADD-5)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import NO_CAPACITY, OrderRow
from adapters.sql.database.transaction import chunked
from domain.account import Account
from domain.order import ACCOUNT_CLOSED, Order


@dataclass(frozen=True)
class ExistingOrders:
    """The orders of this store among the subscription lines of a file."""

    orders: Mapping[tuple[str, str], Order]
    """Orders by account and id, ended ones included."""

    def counts(self, account: Account) -> Counter[tuple[str, int]]:
        """Return how many licenses of each pool the orders listed in the file have bought."""
        counted: Counter[tuple[str, int]] = Counter()
        for line in account.subscriptions:
            order = self.orders.get((account.id, line.id))
            # An order that ended with its account has no licenses left.
            if order and order.note != ACCOUNT_CLOSED:
                counted[order.sku, order.capacity or NO_CAPACITY] += line.quantity
        return counted

    def without(self, account: Account) -> Account:
        """Return the account without the lines of orders, which an import does not change."""
        lines = tuple(
            line for line in account.subscriptions if (account.id, line.id) not in self.orders
        )
        if len(lines) == len(account.subscriptions):
            return account
        return account.model_copy(update={"subscriptions": lines})


async def existing_orders(session: AsyncSession, accounts: Sequence[Account]) -> ExistingOrders:
    """Return all orders of these accounts."""
    ids = [account.id for account in accounts]
    orders: dict[tuple[str, str], Order] = {}
    for some in chunked(ids):
        rows = await session.scalars(select(OrderRow).where(OrderRow.account_id.in_(some)))
        orders |= {(row.account_id, row.order_id): row.record for row in rows}
    return ExistingOrders(orders)
