"""What the built-in content service has moved."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table of what was moved."""
    op.create_table(
        "moved_items",
        sa.Column("invitation_id", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invitation_id"],
            ["invitations.invitation_id"],
            name=op.f("fk_moved_items_invitations"),
        ),
        sa.PrimaryKeyConstraint("invitation_id", "item", name=op.f("pk_moved_items")),
    )
