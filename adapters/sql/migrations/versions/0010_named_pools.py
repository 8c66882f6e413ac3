"""What a file said last of each pool: the rest was bought here."""

import json
from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

# An integer key of SQLite numbers itself only as INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

POOLS = sa.table(
    "license_pools",
    sa.column("account_id", sa.Text()),
    sa.column("sku", sa.Text()),
    sa.column("capacity", sa.BigInteger()),
    sa.column("bought", sa.BigInteger()),
    sa.column("bought_named", sa.BigInteger()),
)


def upgrade() -> None:
    """Take what no living order has bought for what a file has named."""
    op.add_column(
        "license_pools",
        sa.Column("bought_named", WHOLE_NUMBER, nullable=False, server_default="0"),
    )
    op.execute(POOLS.update().values(bought_named=POOLS.c.bought))
    for (account, sku, capacity), quantity in _ordered(op.get_bind()).items():
        op.execute(
            POOLS.update()
            .where(POOLS.c.account_id == account, POOLS.c.sku == sku, POOLS.c.capacity == capacity)
            .values(bought_named=POOLS.c.bought - quantity)
        )


def _ordered(connection: sa.Connection) -> Counter[tuple[str, str, int]]:
    rows = connection.execute(
        sa.text("SELECT account_id, record FROM orders WHERE state NOT IN ('cancelled', 'ended')")
    )
    ordered: Counter[tuple[str, str, int]] = Counter()
    for account, column in rows.all():
        # SQLite keeps JSON as text; PostgreSQL's driver may have read it.
        order: dict[str, Any] = json.loads(column) if isinstance(column, str) else column
        if order["paid_until"]:
            ordered[account, order["sku"], order["capacity"] or 0] += order["quantity"]
    return ordered
