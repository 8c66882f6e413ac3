"""The author of a ledger entry may be replaced by a pseudonym (OPS-9); the rest stays immutable."""

from alembic import op

revision = "0011"
down_revision = "0010"

_GUARDED = "number, id, at, kind, debited, credited, currency, amount, invoice"


def upgrade() -> None:
    """Refuse updates of every column but the author."""
    _replace_triggers(f"UPDATE OF {_GUARDED}")


def downgrade() -> None:
    """Refuse updates of every column."""
    _replace_triggers("UPDATE")


def _replace_triggers(event: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER transfers_refuse_UPDATE")
        op.execute(
            f"""
            CREATE TRIGGER transfers_refuse_UPDATE BEFORE {event} ON transfers
            BEGIN SELECT RAISE(ABORT, 'the ledger is immutable'); END
            """
        )
        return
    op.execute("DROP TRIGGER transfers_refuse_change ON transfers")
    op.execute(
        f"""
        CREATE TRIGGER transfers_refuse_change
        BEFORE {event} OR DELETE OR TRUNCATE ON transfers
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_ledger()
        """
    )
