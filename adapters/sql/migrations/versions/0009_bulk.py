"""Batches of people to invite, and what became of each row."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables of batches and their rows."""
    op.create_table(
        "bulk_batches",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("filed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ordered", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_bulk_batches")),
    )
    op.create_index("bulk_batches_by_digest", "bulk_batches", ["digest"])
    op.create_table(
        "bulk_rows",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("person", sa.JSON(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("invitation_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "result IN ('invited', 'already_invited', 'refused')",
            name=op.f("ck_bulk_rows_result"),
        ),
        sa.CheckConstraint(
            "(invitation_id IS NOT NULL) = (result IN ('invited', 'already_invited'))"
            " OR result IS NULL",
            name=op.f("ck_bulk_rows_invitation"),
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["bulk_batches.batch_id"], name=op.f("fk_bulk_rows_bulk_batches")
        ),
        sa.ForeignKeyConstraint(
            ["invitation_id"],
            ["invitations.invitation_id"],
            name=op.f("fk_bulk_rows_invitations"),
        ),
        sa.PrimaryKeyConstraint("batch_id", "position", name=op.f("pk_bulk_rows")),
    )
