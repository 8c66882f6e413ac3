"""Announcements to waiting invitations, the chat of before joining, and what was ordered."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# An integer key of SQLite numbers itself only as INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the outbox; members of before have all their messages on their account."""
    op.create_table(
        "announcements",
        sa.Column("number", WHOLE_NUMBER, nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_announcements")),
        sqlite_autoincrement=True,
    )
    op.add_column(
        "memberships",
        sa.Column("chat_before", WHOLE_NUMBER, nullable=False, server_default="0"),
    )
    # Of invitations from before, only their workflows know what was ordered.
    op.add_column("invitations", sa.Column("ordered", sa.JSON(), nullable=True))
    op.create_index("invitations_by_invitee", "invitations", ["email"])
