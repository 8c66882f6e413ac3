"""Count web requests; find a meeting or webinar by the id in its join link (TRF-5)."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the counts and the indexes."""
    op.create_table(
        "request_counts",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_request_counts")),
    )
    op.create_index("request_counts_by_time", "request_counts", ["since"])
    op.create_index("meetings_by_id", "meetings", ["id"])
    op.create_index("webinars_by_id", "webinars", ["id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("webinars_by_id", "webinars")
    op.drop_index("meetings_by_id", "meetings")
    op.drop_table("request_counts")
