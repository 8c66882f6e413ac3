"""What was asked twice: who held a license before, and of which orders a buyer was told."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Nobody is told again of what is there."""
    op.add_column(
        "assignments",
        sa.Column("held_before", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("orders", sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE orders SET reported_at = opened_at")
