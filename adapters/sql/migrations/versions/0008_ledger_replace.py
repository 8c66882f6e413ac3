"""SQLite refuses to replace an entry of the ledger (CRD-1)."""

from alembic import op

revision = "0008"
down_revision = "0007"

# `INSERT OR REPLACE` deletes the row without firing the trigger that refuses deletes, unless the
# connection has set `recursive_triggers`. PostgreSQL fires the trigger that refuses updates.
_REFUSE_REPLACE = """
CREATE TRIGGER transfers_refuse_REPLACE BEFORE INSERT ON transfers
WHEN EXISTS (SELECT 1 FROM transfers WHERE id = NEW.id OR number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'the ledger is immutable'); END
"""


def upgrade() -> None:
    """Create the trigger."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_REFUSE_REPLACE)


def downgrade() -> None:
    """Drop it."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER transfers_refuse_REPLACE")
