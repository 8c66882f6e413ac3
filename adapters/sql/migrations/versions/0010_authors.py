"""The authors of ledger entries, and of changes to things without a journal (OPS-8)."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the column, and create the table."""
    # The default also serves workers of the release before, which name no author.
    op.add_column("transfers", sa.Column("by", sa.Text(), nullable=False, server_default="unknown"))
    op.create_table(
        "changes",
        sa.Column("number", WHOLE_NUMBER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index("changes_by_account", "changes", ["account_id", "number"])


def downgrade() -> None:
    """Drop the table and the column."""
    op.drop_table("changes")
    op.drop_column("transfers", "by")
