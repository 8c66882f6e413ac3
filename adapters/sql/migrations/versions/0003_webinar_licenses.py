"""A user may hold one add-on of each kind: Large Meeting and webinar (ASG-8)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the kind to the key of the held licenses, and the webinar license left behind."""
    _set_key("membership_id", "sku")
    # In place: other tables refer to the memberships, so they cannot be copied.
    op.add_column("memberships", sa.Column("webinar_left", WHOLE_NUMBER, nullable=True))


def _set_key(*columns: str) -> None:
    with op.batch_alter_table("held_licenses") as table:
        table.drop_constraint(op.f("pk_held_licenses"), type_="primary")
        table.create_primary_key(op.f("pk_held_licenses"), list(columns))


def downgrade() -> None:
    """Drop the webinar licenses that users hold or left, and their pools."""
    op.drop_column("memberships", "webinar_left")
    for name in ("held_licenses", "license_pools"):
        op.execute(f"DELETE FROM {name} WHERE sku = 'webinar'")
    _set_key("membership_id")
