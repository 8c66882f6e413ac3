"""Checks of managed domains (AUD)."""

from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AccountRow, ManagedDomainRow
from domain.audit import Violation

_RULE = "INV-18"


async def managed_domain_violations(session: AsyncSession) -> list[Violation]:
    """Return the domains of several accounts, and accounts that list what they did not verify."""
    accounts = await session.execute(select(AccountRow.id, AccountRow.managed_domains))
    listed = {(domain, account) for account, domains in accounts for domain in domains}
    rows = await session.execute(
        select(ManagedDomainRow.domain, ManagedDomainRow.account_id).where(
            ManagedDomainRow.verified_at.is_not(None)
        )
    )
    verified = {(domain, account) for domain, account in rows}
    holders = defaultdict[str, list[str]](list)
    for domain, account in sorted(listed | verified):
        holders[domain].append(account)
    return [
        *(
            Violation(rule=_RULE, subject=domain, message=f"managed by {', '.join(some)}")
            for domain, some in holders.items()
            if len(some) > 1
        ),
        *(
            Violation(rule=_RULE, subject=account, message=f"lists {domain}, but never verified it")
            for domain, account in sorted(listed - verified)
        ),
        *(
            Violation(
                rule=_RULE, subject=account, message=f"verified {domain}, but does not list it"
            )
            for domain, account in sorted(verified - listed)
        ),
    ]
