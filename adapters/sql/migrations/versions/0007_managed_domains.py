"""Give each managed domain and each vanity URL to one account (INV-18, TRF-5)."""

import secrets
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from domain.error import ErrorCode, Refused

revision = "0007"
down_revision = "0006"

MOMENT = sa.DateTime(timezone=True)

ACCOUNTS = sa.table(
    "accounts",
    sa.column("id", sa.Text()),
    sa.column("state", sa.Text()),
    sa.column("vanity_url", sa.Text()),
    sa.column("managed_domains", sa.JSON()),
)


def upgrade() -> None:
    """Create the domains of the accounts, verified. Raises `Refused(conflict)` if two share one."""
    # A closed account has no use for its domains, and another one may need them.
    op.execute(ACCOUNTS.update().where(ACCOUNTS.c.state == "closed").values(managed_domains=[]))
    # Host names have no case.
    op.execute(ACCOUNTS.update().values(vanity_url=sa.func.lower(ACCOUNTS.c.vanity_url)))
    accounts = op.get_bind().execute(sa.select(ACCOUNTS).order_by(ACCOUNTS.c.id)).all()
    domains = [
        (row.id, domain) for row in accounts for domain in dict.fromkeys(row.managed_domains)
    ]
    _require_one_account(domains, "managed_domains")
    _require_one_account(
        [(row.id, row.vanity_url) for row in accounts if row.vanity_url is not None], "vanity_url"
    )
    table = op.create_table(
        "managed_domains",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.Column("verified_at", MOMENT, nullable=True),
        sa.CheckConstraint("domain = lower(domain)", name=op.f("ck_managed_domains_domain")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_managed_domains_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "domain", name=op.f("pk_managed_domains")),
    )
    verified = sa.text("verified_at IS NOT NULL")
    op.create_index(
        "one_account_per_domain",
        "managed_domains",
        ["domain"],
        unique=True,
        sqlite_where=verified,
        postgresql_where=verified,
    )
    op.create_index("one_account_per_vanity_url", "accounts", ["vanity_url"], unique=True)
    at = datetime.now(UTC)
    op.bulk_insert(
        table,
        [
            {
                "account_id": account,
                "domain": domain,
                "token": secrets.token_hex(16),
                "added_at": at,
                "verified_at": at,
            }
            for account, domain in domains
        ],
    )


def _require_one_account(names: Iterable[tuple[str, str]], member: str) -> None:
    holders = defaultdict[str, list[str]](list)
    for account, name in names:
        holders[name].append(account)
    shared = [f"{name}: {', '.join(some)}" for name, some in holders.items() if len(some) > 1]
    if shared:
        raise Refused(
            ErrorCode.CONFLICT,
            f"Accounts share names that only one account can have ({'; '.join(shared)}). Import "
            f"them with the version before, with other `{member}`, and repeat the setup.",
        )


def downgrade() -> None:
    """Drop pending domains and the uniqueness; accounts keep their verified domains."""
    op.drop_index("one_account_per_vanity_url", "accounts")
    op.drop_table("managed_domains")
