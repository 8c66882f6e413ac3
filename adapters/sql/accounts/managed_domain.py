"""Managed domains, and their verification (INV-18)."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.change import record_changes
from adapters.sql.database.schema import AccountRow, ManagedDomainRow
from adapters.sql.database.transaction import IMPORT_LOCK, advisory_lock, reading, writing
from adapters.sql.managed_domain import add_domains
from adapters.sql.membership import require_account
from domain.error import ErrorCode, Refused
from domain.journal import OPERATOR
from domain.managed_domain import ManagedDomain, ManagedDomainState, challenge


class SqlManagedDomains:
    """The managed domains of accounts, pending and verified."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(
        self, account: str, domain: str, at: datetime, *, by: str = OPERATOR
    ) -> ManagedDomain:
        """Add a domain with a new token, or return it as it was added before.

        Raises Refused: `not_found`, `conflict` (a closed account).
        """
        async with writing(self._engine) as session:
            await _require_open(session, account)
            if await session.get(ManagedDomainRow, (account, domain)) is None:
                await add_domains(session, account, [domain], at)
                await record_changes(session, "domain add", [domain], by=by, at=at, account=account)
            return _managed_domain(await session.get_one(ManagedDomainRow, (account, domain)))

    async def verifiable(self, account: str, domain: str) -> ManagedDomain:
        """Return a domain of the account that no other account has verified.

        Raises Refused: `not_found`, `conflict`.
        """
        async with reading(self._engine) as session:
            await require_account(session, account)
            return _managed_domain(await _require_verifiable(session, account, domain))

    async def verify(
        self, proven: ManagedDomain, at: datetime, *, by: str = OPERATOR
    ) -> ManagedDomain:
        """Make the domain a verified one of its account; a repetition changes nothing.

        Raises Refused: `not_found` (it was removed), `conflict` (another account has verified it,
        or the account is closed).
        """
        async with writing(self._engine) as session:
            # An import, or another account, may verify the same domain.
            await advisory_lock(session, IMPORT_LOCK)
            account = await _require_open(session, proven.account)
            row = await _require_verifiable(session, proven.account, proven.domain)
            if _managed_domain(row).record != proven.record:
                # It was removed and added again while DNS was read.
                raise _not_added(proven.account, proven.domain)
            if row.verified_at is None:
                row.verified_at = at
                account.managed_domains = (*account.managed_domains, row.domain)
                await record_changes(
                    session, "domain verify", [row.domain], by=by, at=at, account=account.id
                )
            return _managed_domain(row)

    async def list(self, account: str) -> list[ManagedDomain]:
        """Return the domains of an account, by name. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            await require_account(session, account)
            rows = await session.scalars(
                select(ManagedDomainRow)
                .where(ManagedDomainRow.account_id == account)
                .order_by(ManagedDomainRow.domain)
            )
            return [_managed_domain(row) for row in rows]


async def _require_open(session: AsyncSession, account: str) -> AccountRow:
    row = await require_account(session, account, lock=True)
    if row.state == "closed":
        raise Refused(ErrorCode.CONFLICT, f"{account} is closed.")
    return row


async def _require_verifiable(session: AsyncSession, account: str, domain: str) -> ManagedDomainRow:
    row = await session.get(ManagedDomainRow, (account, domain))
    if row is None:
        raise _not_added(account, domain)
    other = await session.scalar(
        select(ManagedDomainRow.account_id).where(
            ManagedDomainRow.domain == domain,
            ManagedDomainRow.verified_at.is_not(None),
            ManagedDomainRow.account_id != account,
        )
    )
    if other is not None:
        raise Refused(ErrorCode.CONFLICT, f"{other} has verified {domain}.")
    return row


def _not_added(account: str, domain: str) -> Refused:
    return Refused(
        ErrorCode.NOT_FOUND,
        f"{account} has no domain {domain}: run `seatflow domain add {account} {domain}` first.",
    )


def _managed_domain(row: ManagedDomainRow) -> ManagedDomain:
    verified = row.verified_at is not None
    return ManagedDomain(
        account=row.account_id,
        domain=row.domain,
        state=ManagedDomainState.VERIFIED if verified else ManagedDomainState.PENDING,
        added_at=row.added_at,
        verified_at=row.verified_at,
        record=challenge(row.domain, row.token),
    )
