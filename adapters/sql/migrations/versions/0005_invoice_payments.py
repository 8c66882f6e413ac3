"""Payments of invoices: the provider's id, or the reference of a payment elsewhere (BLK-2)."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

COLUMNS = ("payment", "paid_outside", "paid_by")
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the number of charges, the payment and its author."""
    op.add_column(
        "invoices", sa.Column("charges", WHOLE_NUMBER, nullable=False, server_default="0")
    )
    for name in COLUMNS:
        op.add_column("invoices", sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    for name in (*COLUMNS, "charges"):
        op.drop_column("invoices", name)
