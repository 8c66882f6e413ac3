"""The ledger, settlements and refunds."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)
# An integer key of SQLite numbers itself only as INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

TEN_THOUSANDTHS = 4

TRANSFERS = sa.table(
    "transfers",
    sa.column("id", sa.Text()),
    sa.column("at", MOMENT),
    sa.column("kind", sa.Text()),
    sa.column("debited", sa.Text()),
    sa.column("credited", sa.Text()),
    sa.column("currency", sa.Text()),
    sa.column("amount", sa.BigInteger()),
)

_IMMUTABLE = {
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
    """Make the tables of the money, and post what is known already."""
    _ledger()
    _settlements()
    _refunds()
    _invoices()
    _post_what_is_known(op.get_bind())
    for statement in _IMMUTABLE[op.get_bind().dialect.name]:
        op.execute(statement)


def _ledger() -> None:
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
    op.create_index("transfers_by_debited", "transfers", ["debited"])
    op.create_index("transfers_by_credited", "transfers", ["credited"])
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


def _settlements() -> None:
    op.create_table(
        "settlements",
        sa.Column("invitation_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("quote", sa.JSON(), nullable=False),
        sa.CheckConstraint("kind IN ('refund', 'transfer')", name=op.f("ck_settlements_kind")),
        sa.ForeignKeyConstraint(
            ["invitation_id"],
            ["invitations.invitation_id"],
            name=op.f("fk_settlements_invitations"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_settlements_accounts")
        ),
        sa.PrimaryKeyConstraint("invitation_id", name=op.f("pk_settlements")),
    )


def _refunds() -> None:
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
        sa.CheckConstraint("amount > 0", name=op.f("ck_provider_refunds_amount")),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'failed')", name=op.f("ck_provider_refunds_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_provider_refunds_accounts")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_provider_refunds")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_provider_refunds_provider_id")),
    )
    op.create_index("provider_refunds_by_payment", "provider_refunds", ["account_id", "payment"])


def _invoices() -> None:
    op.add_column("invoices", sa.Column("amount_named", sa.Text(), nullable=True))
    op.execute("UPDATE invoices SET amount_named = amount_due")
    with op.batch_alter_table("invoices") as table:
        table.alter_column("amount_named", existing_type=sa.Text(), nullable=False)


Entry = dict[str, object]


def _post_what_is_known(connection: sa.Connection) -> None:
    """Payments of open accounts, and credit, as an import would post them now."""
    entries = [*_payments(connection), *_credits(connection)]
    op.bulk_insert(TRANSFERS, [entry for entry in entries if entry["amount"]])
    op.execute(
        """
        INSERT INTO balances (ledger_account, currency, amount)
        SELECT ledger_account, currency, sum(amount) FROM (
            SELECT credited AS ledger_account, currency, amount FROM transfers
            UNION ALL SELECT debited, currency, -amount FROM transfers
        ) AS movements GROUP BY ledger_account, currency
        """
    )


def _payments(connection: sa.Connection) -> Iterator[Entry]:
    rows = connection.execute(
        sa.text(
            "SELECT a.id, p.method, p.amount, a.currency"
            " FROM payments p JOIN accounts a ON a.id = p.account_id WHERE a.state = 'open'"
            " ORDER BY a.id, p.id"
        )
    )
    for number, (account, method, amount, currency) in enumerate(rows, start=1):
        giver = "opening" if method == "credit" else "methods"
        yield {
            **_entry("payment", number, currency, amount),
            "debited": f"{giver}/{account}",
            "credited": f"prepaid/{account}",
        }


def _credits(connection: sa.Connection) -> Iterator[Entry]:
    rows = connection.execute(sa.text("SELECT id, credit, currency FROM accounts ORDER BY id"))
    for number, (account, amount, currency) in enumerate(rows, start=1):
        yield {
            **_entry("opening", number, currency, amount),
            "debited": f"opening/{account}",
            "credited": f"credit/{account}",
        }


def _entry(kind: str, number: int, currency: str, amount: str) -> Entry:
    return {
        "id": f"migrated/{kind}/{number}",
        "at": datetime.now(UTC),
        "kind": kind,
        "currency": currency,
        "amount": int(Decimal(amount).scaleb(TEN_THOUSANDTHS)),
    }
