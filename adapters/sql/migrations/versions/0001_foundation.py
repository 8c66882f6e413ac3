"""The directory, invitations and letters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
# An integer key of SQLite numbers itself only as INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    _accounts()
    _money()
    _people()
    _invitations()
    _memberships()
    _letters_and_settings()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("billing_day", WHOLE_NUMBER, nullable=True),
        sa.Column("billing_customer", sa.Text(), nullable=True),
        sa.Column("vanity_url", sa.Text(), nullable=True),
        sa.Column("managed_domains", sa.JSON(), nullable=False),
        sa.Column("pools", sa.JSON(), nullable=False),
        sa.Column("locked_settings", sa.JSON(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_accounts_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "license_pools",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("capacity", WHOLE_NUMBER, autoincrement=False, nullable=False),
        sa.Column("bought", WHOLE_NUMBER, nullable=False),
        sa.Column("assigned", WHOLE_NUMBER, nullable=False),
        sa.Column("reserved", WHOLE_NUMBER, nullable=False),
        sa.CheckConstraint("assigned + reserved <= bought", name=op.f("ck_license_pools_free")),
        sa.CheckConstraint("assigned >= 0", name=op.f("ck_license_pools_assigned")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_license_pools_reserved")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_license_pools_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "sku", "capacity", name=op.f("pk_license_pools")),
    )


def _money() -> None:
    op.create_table(
        "payment_methods",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("declines", WHOLE_NUMBER, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_payment_methods_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_payment_methods")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("quantity", WHOLE_NUMBER, nullable=False),
        sa.Column("cycle", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Text(), nullable=False),
        sa.Column("period_end", sa.Text(), nullable=False),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.Column("cancellation_pending", sa.Boolean(), nullable=False),
        sa.Column("discount", sa.Text(), nullable=False),
        sa.Column("tax", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_subscriptions_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_subscriptions")),
    )
    op.create_table(
        "payments",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
        sa.Column("refundable", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "subscription_id"],
            ["subscriptions.account_id", "subscriptions.id"],
            name=op.f("fk_payments_subscriptions"),
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_payments")),
    )
    op.create_table(
        "invoices",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("amount_due", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invoices_accounts")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_invoices")),
    )


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("recordings", WHOLE_NUMBER, nullable=False),
        sa.Column("contacts", WHOLE_NUMBER, nullable=False),
        sa.Column("chat_messages", WHOLE_NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("email", name=op.f("pk_people")),
    )
    op.create_table(
        "meetings",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("capacity", WHOLE_NUMBER, nullable=True),
        sa.Column("join_url", sa.Text(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["host"], ["people.email"], name=op.f("fk_meetings_people")),
        sa.PrimaryKeyConstraint("host", "id", name=op.f("pk_meetings")),
    )
    op.create_table(
        "webinars",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("capacity", WHOLE_NUMBER, nullable=True),
        sa.Column("join_url", sa.Text(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["host"], ["people.email"], name=op.f("fk_webinars_people")),
        sa.PrimaryKeyConstraint("host", "id", name=op.f("pk_webinars")),
    )
    op.create_table(
        "rooms",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_rooms_accounts")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_rooms")),
    )


def _invitations() -> None:
    op.create_table(
        "invitations",
        sa.Column("invitation_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("invitee_key", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("seat_reserved", sa.Boolean(), nullable=False),
        sa.Column("claimed_at", MOMENT, nullable=False),
        sa.Column("quiet_since", MOMENT, nullable=True),
        sa.Column("deadline", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (state IN ('completed', 'declined', 'revoked', "
            "'expired', 'undeliverable', 'superseded'))",
            name=op.f("ck_invitations_ended"),
        ),
        sa.CheckConstraint(
            "NOT seat_reserved OR state IN ('announced', 'sent', 'pending', 'blocked')",
            name=op.f("ck_invitations_seat"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_invitations_accounts")
        ),
        sa.PrimaryKeyConstraint("invitation_id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("run_id", name=op.f("uq_invitations_run_id")),
    )
    op.create_index("invitations_by_email", "invitations", ["account_id", "email"], unique=False)
    op.create_index(
        "one_live_invitation",
        "invitations",
        ["account_id", "invitee_key"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("licensed", sa.Boolean(), nullable=False),
        sa.Column("addons", sa.JSON(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("invitation_id", sa.Text(), nullable=True),
        sa.Column("since", MOMENT, nullable=True),
        sa.Column("until", MOMENT, nullable=True),
        sa.Column("leaving", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(origin = 'invitation') = (invitation_id IS NOT NULL)",
            name=op.f("ck_memberships_invitation"),
        ),
        sa.CheckConstraint(
            "origin = 'import' OR since IS NOT NULL", name=op.f("ck_memberships_since")
        ),
        sa.CheckConstraint(
            "origin IN ('import', 'invitation', 'unlink')", name=op.f("ck_memberships_origin")
        ),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'member')", name=op.f("ck_memberships_role")
        ),
        sa.CheckConstraint(
            "(until IS NULL) = (leaving IS NULL)", name=op.f("ck_memberships_leaving")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_memberships_accounts")
        ),
        sa.ForeignKeyConstraint(["email"], ["people.email"], name=op.f("fk_memberships_people")),
        sa.ForeignKeyConstraint(
            ["invitation_id"],
            ["invitations.invitation_id"],
            name=op.f("fk_memberships_invitations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint("invitation_id", name=op.f("uq_memberships_invitation_id")),
    )
    op.create_index("memberships_by_account", "memberships", ["account_id"], unique=False)
    op.create_index(
        "one_account_a_person",
        "memberships",
        ["email"],
        unique=True,
        sqlite_where=sa.text("until IS NULL"),
        postgresql_where=sa.text("until IS NULL"),
    )
    op.create_index(
        "one_owner_an_account",
        "memberships",
        ["account_id"],
        unique=True,
        sqlite_where=sa.text("until IS NULL AND role = 'owner'"),
        postgresql_where=sa.text("until IS NULL AND role = 'owner'"),
    )


def _letters_and_settings() -> None:
    op.create_table(
        "letters",
        sa.Column("letter_id", sa.Text(), nullable=False),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_letters")),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_settings")),
    )
