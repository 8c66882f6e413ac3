"""Add-on licenses as rows, who waits for which, and signals beside the first."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

MOMENT = sa.DateTime(timezone=True)
# An integer key of SQLite numbers itself only as INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

ADDON = "large-meeting"

POOLS = sa.table(
    "license_pools",
    sa.column("account_id", sa.Text()),
    sa.column("sku", sa.Text()),
    sa.column("capacity", sa.BigInteger()),
    sa.column("bought", sa.BigInteger()),
    sa.column("assigned", sa.BigInteger()),
    sa.column("reserved", sa.BigInteger()),
)
HELD = sa.table(
    "held_licenses",
    sa.column("membership_id", sa.BigInteger()),
    sa.column("account_id", sa.Text()),
    sa.column("sku", sa.Text()),
    sa.column("capacity", sa.BigInteger()),
    sa.column("assigned_at", MOMENT),
)
MEETINGS = sa.table(
    "meetings", sa.column("host", sa.Text()), sa.column("capacity", sa.BigInteger())
)
MEMBERSHIPS = sa.table(
    "memberships", sa.column("id", sa.BigInteger()), sa.column("addon_left", sa.BigInteger())
)

Holding = tuple[int, str, str, int]
"""A membership, its account, its user, and the capacity that they hold."""


def upgrade() -> None:
    """Make the tables, and rows of the lists that accounts and users had."""
    _licenses()
    _assignments()
    op.add_column(
        "announcements",
        sa.Column("signal", sa.Text(), nullable=False, server_default="directory_changed"),
    )
    op.add_column("memberships", sa.Column("licensed_at", MOMENT, nullable=True))
    op.add_column("memberships", sa.Column("addon_left", WHOLE_NUMBER, nullable=True))
    _take_over(op.get_bind())
    op.drop_column("accounts", "pools")
    op.drop_column("memberships", "addons")


def _licenses() -> None:
    op.create_table(
        "held_licenses",
        sa.Column("membership_id", WHOLE_NUMBER, autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("capacity", WHOLE_NUMBER, nullable=False),
        sa.Column("assigned_at", MOMENT, nullable=False),
        sa.CheckConstraint("sku <> 'workplace'", name=op.f("ck_held_licenses_addon")),
        sa.ForeignKeyConstraint(
            ["account_id", "sku", "capacity"],
            ["license_pools.account_id", "license_pools.sku", "license_pools.capacity"],
            name=op.f("fk_held_licenses_license_pools"),
        ),
        sa.ForeignKeyConstraint(
            ["membership_id"], ["memberships.id"], name=op.f("fk_held_licenses_memberships")
        ),
        sa.PrimaryKeyConstraint("membership_id", name=op.f("pk_held_licenses")),
    )
    op.create_index("held_licenses_by_pool", "held_licenses", ["account_id", "sku", "capacity"])


def _assignments() -> None:
    op.create_table(
        "assignment_requests",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("ordered", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_assignment_requests_accounts")
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_assignment_requests")),
    )
    op.create_table(
        "assignments",
        sa.Column("number", WHOLE_NUMBER, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("capacity", WHOLE_NUMBER, nullable=False),
        sa.Column("gives_base_license", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.CheckConstraint(
            "state IN ('requested', 'waiting', 'assigned', 'released', 'refused')",
            name=op.f("ck_assignments_state"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_assignments_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["assignment_requests.request_id"],
            name=op.f("fk_assignments_assignment_requests"),
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_assignments")),
        sa.UniqueConstraint("request_id", "email", name=op.f("uq_assignments_request_id")),
    )
    op.create_index("assignments_by_user", "assignments", ["account_id", "email"])
    op.create_index(
        "waiting_assignments",
        "assignments",
        ["account_id"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )


def _take_over(connection: sa.Connection) -> None:
    """What nobody had to keep to before: one each, with a base license, out of a pool."""
    held = _held(connection)
    bought = _bought(connection)
    assigned = Counter((account, capacity) for _, account, _, capacity in held)
    pools = [
        {
            "account_id": account,
            "sku": ADDON,
            "capacity": capacity,
            "bought": max(bought[account, capacity], assigned[account, capacity]),
            "assigned": assigned[account, capacity],
            "reserved": 0,
        }
        for account, capacity in sorted(bought.keys() | assigned.keys())
    ]
    now = datetime.now(UTC)
    licenses = [
        {
            "membership_id": membership,
            "account_id": account,
            "sku": ADDON,
            "capacity": capacity,
            "assigned_at": now,
        }
        for membership, account, _, capacity in held
    ]
    if pools:
        op.bulk_insert(POOLS, pools)
    if licenses:
        op.bulk_insert(HELD, licenses)
    for _, _, host, capacity in held:
        op.execute(MEETINGS.update().where(MEETINGS.c.host == host).values(capacity=capacity))


def _held(connection: sa.Connection) -> Sequence[Holding]:
    """Whoever holds more than one keeps the largest; who has left, left it behind."""
    rows = connection.execute(
        sa.text("SELECT id, account_id, email, licensed, until, addons FROM memberships")
    )
    held: list[Holding] = []
    for membership, account, email, licensed, until, addons in rows.all():
        capacity = max((addon["capacity"] for addon in _listed(addons)), default=0)
        if capacity and until is not None:
            op.execute(
                MEMBERSHIPS.update()
                .where(MEMBERSHIPS.c.id == membership)
                .values(addon_left=capacity)
            )
        elif capacity and licensed:
            held.append((membership, account, email, capacity))
    return held


def _bought(connection: sa.Connection) -> Counter[tuple[str, int]]:
    bought: Counter[tuple[str, int]] = Counter()
    for account, pools in connection.execute(sa.text("SELECT id, pools FROM accounts")):
        for pool in _listed(pools):
            bought[account, pool["capacity"]] += pool["bought"]
    return bought


def _listed(column: str | list[dict[str, int]]) -> list[dict[str, int]]:
    """SQLite keeps JSON as text; PostgreSQL's driver may have read it."""
    listed: list[dict[str, int]] = json.loads(column) if isinstance(column, str) else column
    return listed
