"""The initial schema: accounts, invitations, licenses, money and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
# SQLite numbers the rows of an integer key only when its type is INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_IMMUTABLE_LEDGER = {
    "sqlite": [
        f"""
        CREATE TRIGGER transfers_refuse_{event} BEFORE {event} ON transfers
        BEGIN SELECT RAISE(ABORT, 'the ledger is immutable'); END
        """
        for event in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        """
        CREATE FUNCTION refuse_to_change_the_ledger() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE restrict_violation USING MESSAGE = 'the ledger is immutable'; END $$
        """,
        """
        CREATE TRIGGER transfers_refuse_change
        BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_ledger()
        """,
    ],
}


def upgrade() -> None:
    """Create all tables, and the triggers that keep the ledger immutable."""
    _create_accounts()
    _create_license_pools()
    _create_payment_methods()
    _create_rooms()
    _create_subscriptions()
    _create_payments()
    _create_invoices()
    _create_people()
    _create_meetings_and_webinars()
    _create_invitations()
    _create_reminder_runs()
    _create_batches()
    _create_moved_items()
    _create_memberships()
    _create_held_licenses()
    _create_assignment_requests()
    _create_assignments()
    _create_orders()
    _create_order_invoices()
    _create_ledger()
    _create_settlements()
    _create_refunds()
    _create_provider_charges()
    _create_provider_refunds()
    _create_announcements()
    _create_letters_and_settings()
    for statement in _IMMUTABLE_LEDGER[op.get_bind().dialect.name]:
        op.execute(statement)


def _create_accounts() -> None:
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
        sa.Column("locked_settings", sa.JSON(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_accounts_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )


def _create_license_pools() -> None:
    op.create_table(
        "license_pools",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("capacity", WHOLE_NUMBER, autoincrement=False, nullable=False),
        sa.Column("bought", WHOLE_NUMBER, nullable=False),
        sa.Column("bought_named", WHOLE_NUMBER, server_default="0", nullable=False),
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


def _create_payment_methods() -> None:
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


def _create_rooms() -> None:
    op.create_table(
        "rooms",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_rooms_accounts")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_rooms")),
    )


def _create_subscriptions() -> None:
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


def _create_payments() -> None:
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


def _create_invoices() -> None:
    op.create_table(
        "invoices",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("amount_due", sa.Text(), nullable=False),
        sa.Column("amount_named", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invoices_accounts")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_invoices")),
    )


def _create_people() -> None:
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


def _create_meetings_and_webinars() -> None:
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


def _create_invitations() -> None:
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
        sa.Column("reminded_by", sa.Text(), nullable=True),
        sa.Column("deadline", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ordered", sa.JSON(), nullable=False),
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
    op.create_index("invitations_by_email", "invitations", ["account_id", "email"])
    op.create_index("invitations_by_invitee", "invitations", ["email"])
    op.create_index("invitations_by_reminder_run", "invitations", ["reminded_by"])
    op.create_index(
        "one_live_invitation",
        "invitations",
        ["account_id", "invitee_key"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _create_reminder_runs() -> None:
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


def _create_batches() -> None:
    op.create_table(
        "bulk_batches",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("filed_at", MOMENT, nullable=False),
        sa.Column("reported_at", MOMENT, nullable=True),
        sa.Column("ordered", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_bulk_batches")),
    )
    op.create_index("bulk_batches_by_digest", "bulk_batches", ["digest"])
    op.create_table(
        "bulk_rows",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("position", WHOLE_NUMBER, autoincrement=False, nullable=False),
        sa.Column("person", sa.JSON(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("invitation_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(invitation_id IS NOT NULL) = (result IN ('invited', 'already_invited'))"
            " OR result IS NULL",
            name=op.f("ck_bulk_rows_invitation"),
        ),
        sa.CheckConstraint(
            "result IN ('invited', 'already_invited', 'refused')", name=op.f("ck_bulk_rows_result")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["bulk_batches.batch_id"], name=op.f("fk_bulk_rows_bulk_batches")
        ),
        sa.ForeignKeyConstraint(
            ["invitation_id"], ["invitations.invitation_id"], name=op.f("fk_bulk_rows_invitations")
        ),
        sa.PrimaryKeyConstraint("batch_id", "position", name=op.f("pk_bulk_rows")),
    )


def _create_moved_items() -> None:
    op.create_table(
        "moved_items",
        sa.Column("invitation_id", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("count", WHOLE_NUMBER, nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invitation_id"],
            ["invitations.invitation_id"],
            name=op.f("fk_moved_items_invitations"),
        ),
        sa.PrimaryKeyConstraint("invitation_id", "item", name=op.f("pk_moved_items")),
    )


def _create_memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("licensed", sa.Boolean(), nullable=False),
        sa.Column("licensed_at", MOMENT, nullable=True),
        sa.Column("addon_left", WHOLE_NUMBER, nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("invitation_id", sa.Text(), nullable=True),
        sa.Column("since", MOMENT, nullable=True),
        sa.Column("until", MOMENT, nullable=True),
        sa.Column("leaving", sa.Text(), nullable=True),
        sa.Column("chat_before", WHOLE_NUMBER, server_default="0", nullable=False),
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
    op.create_index("memberships_by_account", "memberships", ["account_id"])
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


def _create_held_licenses() -> None:
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


def _create_assignment_requests() -> None:
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


def _create_assignments() -> None:
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
        sa.Column("held_before", sa.Boolean(), server_default=sa.false(), nullable=False),
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


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("bought_on", sa.Text(), nullable=False),
        sa.Column("billing_day", WHOLE_NUMBER, nullable=False),
        sa.Column("billing_month", WHOLE_NUMBER, nullable=True),
        sa.Column("reduced_after", WHOLE_NUMBER, nullable=True),
        sa.Column("released", sa.JSON(), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=True),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'review', 'placed', 'paid', 'active', 'payment_failed', "
            "'cancelled', 'ended')",
            name=op.f("ck_orders_state"),
        ),
        sa.CheckConstraint("billing_day BETWEEN 1 AND 31", name=op.f("ck_orders_billing_day")),
        sa.CheckConstraint("billing_month BETWEEN 1 AND 12", name=op.f("ck_orders_billing_month")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_orders_accounts")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
    )
    op.create_index("orders_by_account", "orders", ["account_id"])


def _create_order_invoices() -> None:
    op.create_table(
        "order_invoices",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("number", WHOLE_NUMBER, autoincrement=False, nullable=False),
        sa.Column("period_start", sa.Text(), nullable=False),
        sa.Column("period_end", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("from_credit", sa.BigInteger(), nullable=False),
        sa.Column("credit_tried", WHOLE_NUMBER, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("payment", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "payment IS NULL OR state = 'paid'", name=op.f("ck_order_invoices_payment")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'paid', 'failed', 'void')", name=op.f("ck_order_invoices_state")
        ),
        sa.CheckConstraint(
            "from_credit BETWEEN 0 AND amount", name=op.f("ck_order_invoices_from_credit")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.order_id"], name=op.f("fk_order_invoices_orders")
        ),
        sa.PrimaryKeyConstraint("order_id", "number", name=op.f("pk_order_invoices")),
        sa.UniqueConstraint("order_id", "period_start", name=op.f("uq_order_invoices_order_id")),
        sa.UniqueConstraint("payment", name=op.f("uq_order_invoices_payment")),
    )


def _create_ledger() -> None:
    op.create_table(
        "transfers",
        sa.Column("number", WHOLE_NUMBER, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("debited", sa.Text(), nullable=False),
        sa.Column("credited", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.CheckConstraint("amount > 0", name=op.f("ck_transfers_amount")),
        sa.CheckConstraint("debited <> credited", name=op.f("ck_transfers_parties")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_transfers")),
        sa.UniqueConstraint("id", name=op.f("uq_transfers_id")),
    )
    op.create_index("transfers_by_credited", "transfers", ["credited"])
    op.create_index("transfers_by_debited", "transfers", ["debited"])
    op.create_table(
        "balances",
        sa.Column("ledger_account", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "amount >= 0 OR ledger_account NOT LIKE 'credit/%'"
            " AND ledger_account NOT LIKE 'prepaid/%'"
            " AND ledger_account NOT LIKE 'refund_due/%'",
            name=op.f("ck_balances_overdrawn"),
        ),
        sa.PrimaryKeyConstraint("ledger_account", "currency", name=op.f("pk_balances")),
    )


def _create_settlements() -> None:
    op.create_table(
        "settlements",
        sa.Column("invitation_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("quote", sa.JSON(), nullable=False),
        sa.CheckConstraint("kind IN ('refund', 'transfer')", name=op.f("ck_settlements_kind")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_settlements_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["invitation_id"],
            ["invitations.invitation_id"],
            name=op.f("fk_settlements_invitations"),
        ),
        sa.PrimaryKeyConstraint("invitation_id", name=op.f("pk_settlements")),
    )


def _create_refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("refund_id", sa.Text(), nullable=False),
        sa.Column("invitation_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("ordered", sa.JSON(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invitation_id"], ["invitations.invitation_id"], name=op.f("fk_refunds_invitations")
        ),
        sa.PrimaryKeyConstraint("refund_id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("invitation_id", name=op.f("uq_refunds_invitation_id")),
    )


def _create_provider_charges() -> None:
    op.create_table(
        "provider_charges",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'declined') = (failure IS NOT NULL)", name=op.f("ck_provider_charges_failure")
        ),
        sa.CheckConstraint(
            "state = 'declined' OR amount > 0", name=op.f("ck_provider_charges_amount")
        ),
        sa.CheckConstraint(
            "state IN ('succeeded', 'declined')", name=op.f("ck_provider_charges_state")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_provider_charges_accounts")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_provider_charges")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_provider_charges_provider_id")),
    )


def _create_provider_refunds() -> None:
    op.create_table(
        "provider_refunds",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("payment", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'failed')", name=op.f("ck_provider_refunds_outcome")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_provider_refunds_amount")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_provider_refunds_accounts")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_provider_refunds")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_provider_refunds_provider_id")),
    )
    op.create_index("provider_refunds_by_payment", "provider_refunds", ["account_id", "payment"])


def _create_announcements() -> None:
    op.create_table(
        "announcements",
        sa.Column("number", WHOLE_NUMBER, nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("signal", sa.Text(), server_default="directory_changed", nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_announcements")),
        sqlite_autoincrement=True,
    )


def _create_letters_and_settings() -> None:
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


def downgrade() -> None:
    """Drop everything."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_to_change_the_ledger()")


_TABLES = (
    "accounts",
    "license_pools",
    "payment_methods",
    "rooms",
    "subscriptions",
    "payments",
    "invoices",
    "people",
    "meetings",
    "webinars",
    "invitations",
    "reminder_runs",
    "bulk_batches",
    "bulk_rows",
    "moved_items",
    "memberships",
    "held_licenses",
    "assignment_requests",
    "assignments",
    "orders",
    "order_invoices",
    "transfers",
    "balances",
    "settlements",
    "refunds",
    "provider_charges",
    "provider_refunds",
    "announcements",
    "letters",
    "settings",
)
"""All tables, each after those that it refers to."""
