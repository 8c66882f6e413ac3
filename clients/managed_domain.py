"""The client of managed domains: who controls a domain is proven by a DNS record (INV-18)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adapters.public_mail import is_public_mail_domain
from adapters.sql.accounts.managed_domain import SqlManagedDomains
from domain.address import normalized
from domain.author import THEMSELVES, Author
from domain.error import ErrorCode, Refused
from domain.managed_domain import ManagedDomain, ManagedDomainState, parse_domain


class TxtResolver(Protocol):
    """Look-ups of TXT records."""

    async def txt_records(self, name: str) -> Sequence[str]:
        """Return the TXT records of a name; none if it has none or does not exist.

        Raises Unavailable when DNS does not answer.
        """


@dataclass(frozen=True)
class ManagedDomainClient:
    """The managed domains of accounts."""

    domains: SqlManagedDomains
    resolver: TxtResolver
    author: Author = THEMSELVES

    async def add(
        self, account: str, domain: str, at: datetime, *, by: str | None = None
    ) -> ManagedDomain:
        """Add a domain, pending; a repetition returns the same one.

        `by` is the owner or admin in whose name it is added, if any.

        Raises Refused: `invalid_input` (no domain, or a public mail domain), `not_found`,
        `conflict` (a closed account).
        """
        name = parse_domain(domain)
        if is_public_mail_domain(name):
            raise Refused(ErrorCode.INVALID_INPUT, f"{name} belongs to a public mail service.")
        return await self.domains.add(account, name, at, by=self._author(by))

    async def verify(
        self, account: str, domain: str, at: datetime, *, by: str | None = None
    ) -> ManagedDomain:
        """Verify that the domain has the account's record; a verified one is not looked up.

        Raises Refused: `invalid_input`, `not_found` (no such domain, or no such record),
        `conflict` (another account has verified it); Unavailable when DNS does not answer.
        """
        pending = await self.domains.verifiable(account, parse_domain(domain))
        if pending.state is ManagedDomainState.VERIFIED:
            return pending
        record = pending.record
        published = await self.resolver.txt_records(record.name)
        if record.value not in (value.strip() for value in published):
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"{record.name} has no TXT record with the value {record.value}. "
                "It may take some time until DNS shows a new record.",
                record=record.model_dump(),
            )
        return await self.domains.verify(pending, at, by=self._author(by))

    async def list(self, account: str) -> list[ManagedDomain]:
        """Return the domains of an account, by name. Raises Refused: `not_found`."""
        return await self.domains.list(account)

    def _author(self, by: str | None) -> str:
        return self.author.acting_for(normalized(by)) if by else self.author.name
