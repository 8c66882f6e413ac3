"""What the built-in payment provider has charged."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table of the charges."""
    op.create_table(
        "provider_charges",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state = 'declined' OR amount > 0", name=op.f("ck_provider_charges_amount")
        ),
        sa.CheckConstraint(
            "state IN ('succeeded', 'declined')", name=op.f("ck_provider_charges_state")
        ),
        sa.CheckConstraint(
            "(state = 'declined') = (failure IS NOT NULL)",
            name=op.f("ck_provider_charges_failure"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_provider_charges_accounts")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_provider_charges")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_provider_charges_provider_id")),
    )
