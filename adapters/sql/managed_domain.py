"""Rows of managed domains: each domain has at most one account that has verified it (INV-18)."""

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AccountRow, ManagedDomainRow
from adapters.sql.database.transaction import insert_missing


async def add_domains(
    session: AsyncSession, account: str, domains: Iterable[str], at: datetime
) -> None:
    """Add those of `domains` that the account does not have; each has a token of its own."""
    await insert_missing(
        session,
        ManagedDomainRow,
        [
            {
                "account_id": account,
                "domain": domain,
                "token": secrets.token_hex(16),
                "added_at": at,
            }
            for domain in domains
        ],
    )


async def verify_listed_domains(session: AsyncSession, account: AccountRow, at: datetime) -> None:
    """Add and verify the domains that the account lists."""
    await add_domains(session, account.id, account.managed_domains, at)
    for row in await session.scalars(
        select(ManagedDomainRow).where(
            ManagedDomainRow.account_id == account.id,
            ManagedDomainRow.domain.in_(account.managed_domains),
            ManagedDomainRow.verified_at.is_(None),
        )
    ):
        row.verified_at = at


async def release_domains(
    session: AsyncSession, account: AccountRow, *, kept: Collection[str] = ()
) -> None:
    """Remove the verified domains of the account but those in `kept`."""
    removed = [domain for domain in account.managed_domains if domain not in kept]
    if removed:
        account.managed_domains = tuple(
            domain for domain in account.managed_domains if domain in kept
        )
        await session.execute(
            delete(ManagedDomainRow).where(
                ManagedDomainRow.account_id == account.id, ManagedDomainRow.domain.in_(removed)
            )
        )
