"""Runs of reminders, and which of them reminded an invitee last."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

MOMENT = sa.DateTime(timezone=True)
# An integer key of SQLite numbers itself only as INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table of the runs."""
    op.create_table(
        "reminder_runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("found", WHOLE_NUMBER, nullable=False),
        sa.Column("reminded", WHOLE_NUMBER, nullable=False),
        sa.Column("digests", WHOLE_NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_reminder_runs")),
    )
    op.create_index("reminder_runs_by_start", "reminder_runs", ["started_at"])
    op.add_column("invitations", sa.Column("reminded_by", sa.Text(), nullable=True))
    op.create_index("invitations_by_reminder_run", "invitations", ["reminded_by"])
