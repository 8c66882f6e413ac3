"""The outbox holds everything that follows a commit, and problems wait for operators (OPS-1)."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the kind, the lease and the letter of each row; create the problems."""
    _add_columns()
    _fill_columns()
    _add_constraints()
    op.create_table(
        "problems",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_problems")),
    )


def _add_columns() -> None:
    with op.batch_alter_table("announcements") as table:
        table.add_column(sa.Column("kind", sa.Text()))
        table.add_column(sa.Column("key", sa.Text()))
        table.add_column(sa.Column("account_id", sa.Text()))
        table.add_column(sa.Column("letter", sa.JSON()))
        table.add_column(sa.Column("created_at", MOMENT))
        table.add_column(sa.Column("due_at", MOMENT))
        table.add_column(sa.Column("attempts", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
        table.add_column(sa.Column("failure", sa.Text()))
        table.add_column(sa.Column("given_up", sa.Boolean()))


def _fill_columns() -> None:
    """Make each existing row a signal that is due since it was written."""
    rows = sa.table("announcements", *(sa.column(name) for name in _FILLED), sa.column("at"))
    op.execute(
        rows.update().values(
            kind="signal",
            account_id="",
            created_at=rows.c.at,
            due_at=rows.c.at,
            attempts=0,
            given_up=sa.false(),
        )
    )


_FILLED = ("kind", "account_id", "created_at", "due_at", "attempts", "given_up")


def _add_constraints() -> None:
    with op.batch_alter_table(
        "announcements", table_kwargs={"sqlite_autoincrement": True}
    ) as table:
        for name in _FILLED:
            table.alter_column(name, nullable=False)
        table.alter_column("signal", nullable=True, server_default=None)
        table.create_unique_constraint(op.f("uq_announcements_key"), ["key"])
        table.create_check_constraint(
            op.f("ck_announcements_kind"),
            "kind IN ('signal', 'start', 'claim', 'letter', 'sweep')",
        )
        table.create_check_constraint(
            op.f("ck_announcements_signal"), "(kind = 'signal') = (signal IS NOT NULL)"
        )
        table.create_index("announcements_by_due_time", ["due_at"])


def downgrade() -> None:
    """Drop the problems and everything but signals."""
    op.drop_table("problems")
    op.execute("DELETE FROM announcements WHERE kind <> 'signal'")
    with op.batch_alter_table(
        "announcements", table_kwargs={"sqlite_autoincrement": True}
    ) as table:
        table.drop_index("announcements_by_due_time")
        for check in ("kind", "signal"):
            table.drop_constraint(op.f(f"ck_announcements_{check}"), type_="check")
        table.drop_constraint(op.f("uq_announcements_key"), type_="unique")
        table.alter_column("signal", nullable=False, server_default="directory_changed")
        for name in (*_FILLED, "key", "letter", "failure"):
            table.drop_column(name)
