"""Orders of licenses and their invoices."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

MOMENT = sa.DateTime(timezone=True)
# An integer key of SQLite numbers itself only as INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of the orders."""
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("bought_on", sa.Text(), nullable=False),
        sa.Column("billing_day", WHOLE_NUMBER, nullable=False),
        sa.Column("billing_month", WHOLE_NUMBER, nullable=True),
        sa.Column("reduced_after", WHOLE_NUMBER, nullable=True),
        sa.Column("released", sa.JSON(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'review', 'placed', 'paid', 'active', 'payment_failed', "
            "'cancelled', 'ended')",
            name=op.f("ck_orders_state"),
        ),
        sa.CheckConstraint("billing_day BETWEEN 1 AND 31", name=op.f("ck_orders_billing_day")),
        sa.CheckConstraint("billing_month BETWEEN 1 AND 12", name=op.f("ck_orders_billing_month")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_orders_accounts")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
    )
    op.create_index("orders_by_account", "orders", ["account_id"])
    op.create_table(
        "order_invoices",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("number", WHOLE_NUMBER, autoincrement=False, nullable=False),
        sa.Column("period_start", sa.Text(), nullable=False),
        sa.Column("period_end", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("from_credit", sa.BigInteger(), nullable=False),
        sa.Column("credit_tried", WHOLE_NUMBER, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("payment", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'paid', 'failed', 'void')", name=op.f("ck_order_invoices_state")
        ),
        sa.CheckConstraint(
            "from_credit BETWEEN 0 AND amount", name=op.f("ck_order_invoices_from_credit")
        ),
        sa.CheckConstraint(
            "payment IS NULL OR state = 'paid'", name=op.f("ck_order_invoices_payment")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.order_id"], name=op.f("fk_order_invoices_orders")
        ),
        sa.PrimaryKeyConstraint("order_id", "number", name=op.f("pk_order_invoices")),
        sa.UniqueConstraint("order_id", "period_start", name=op.f("uq_order_invoices_order_id")),
        sa.UniqueConstraint("payment", name=op.f("uq_order_invoices_payment")),
    )
