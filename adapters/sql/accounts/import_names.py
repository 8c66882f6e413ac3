"""Names in an import file that only one account can have: managed domains and vanity URLs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AccountRow, ManagedDomainRow
from adapters.sql.database.transaction import chunked
from adapters.sql.managed_domain import release_domains
from domain.account import Account, Directory
from domain.account_file import InputError


@dataclass(frozen=True)
class NameHolders:
    """The accounts in the store that have the names of a file."""

    domains: Mapping[str, str]
    vanity_urls: Mapping[str, str]

    def errors(self, directory: Directory) -> Iterator[InputError]:
        """Yield the names that two accounts would have after the import (INV-18, TRF-5)."""
        domains = _unless_set(self.domains, directory, "managed_domains")
        vanity_urls = _unless_set(self.vanity_urls, directory, "vanity_url")
        for number, account in enumerate(directory.accounts):
            for place, domain in enumerate(account.managed_domains):
                if (holder := domains.setdefault(domain, account.id)) != account.id:
                    yield (
                        f"accounts[{number}].managed_domains[{place}]",
                        f"{domain} is managed by {holder}",
                    )
            label = account.vanity_url
            if label and (holder := vanity_urls.setdefault(label, account.id)) != account.id:
                yield f"accounts[{number}].vanity_url", f"{label} is the vanity URL of {holder}"


def _unless_set(holders: Mapping[str, str], directory: Directory, field: str) -> dict[str, str]:
    """Return the holders whose names the file does not set."""
    renamed = {each.id for each in directory.accounts if field in each.model_fields_set}
    return {name: holder for name, holder in holders.items() if holder not in renamed}


async def name_holders(session: AsyncSession, directory: Directory) -> NameHolders:
    """Return the accounts that have the names of the file."""
    domains: dict[str, str] = {}
    for some in chunked([name for each in directory.accounts for name in each.managed_domains]):
        verified = await session.execute(
            select(ManagedDomainRow.domain, ManagedDomainRow.account_id).where(
                ManagedDomainRow.domain.in_(some), ManagedDomainRow.verified_at.is_not(None)
            )
        )
        domains |= {domain: account for domain, account in verified}
    vanity_urls: dict[str, str] = {}
    for some in chunked([each.vanity_url for each in directory.accounts if each.vanity_url]):
        found = await session.execute(
            select(AccountRow.vanity_url, AccountRow.id).where(AccountRow.vanity_url.in_(some))
        )
        vanity_urls |= {label: account for label, account in found if label}
    return NameHolders(domains, vanity_urls)


async def release_names(
    session: AsyncSession, directory: Directory, accounts: Mapping[str, AccountRow]
) -> None:
    """Release the names that the file takes from known accounts.

    Before any name is set, because the database refuses a name of two accounts even for a moment.
    """
    renamed: list[str] = []
    for account in directory.accounts:
        if (known := accounts.get(account.id)) is None:
            continue
        if "managed_domains" in account.model_fields_set:
            await release_domains(session, known, kept=account.managed_domains)
        if _changes_vanity_url(account, known):
            renamed.append(account.id)
    for some in chunked(renamed):
        await session.execute(
            update(AccountRow).where(AccountRow.id.in_(some)).values(vanity_url=None)
        )


def _changes_vanity_url(account: Account, known: AccountRow) -> bool:
    # A stored text that is no label reads as null, and null must replace it.
    return "vanity_url" in account.model_fields_set and (
        account.vanity_url is None or account.vanity_url != known.vanity_url
    )
