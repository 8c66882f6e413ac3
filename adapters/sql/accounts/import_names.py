"""Names in an import file that only one account can have: managed domains and vanity URLs."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AccountRow, ManagedDomainRow
from adapters.sql.database.transaction import chunked
from adapters.sql.managed_domain import release_domains
from domain.account import Account
from domain.account_file import InputError, NumberedAccount


@dataclass(frozen=True)
class _Named:
    """The names that the file gives an account."""

    number: int
    account: str
    domains: Sequence[str]
    vanity_url: str | None


class NamesInFile:
    """The names in a file, and the accounts in the store that have them."""

    def __init__(self) -> None:
        self._named: list[_Named] = []
        self._domains: dict[str, str] = {}
        self._vanity_urls: dict[str, str] = {}
        self._sets_domains: set[str] = set()
        self._sets_vanity_url: set[str] = set()

    async def add(self, session: AsyncSession, group: Sequence[NumberedAccount]) -> None:
        """Add the names of some accounts of the file."""
        accounts = [account for _, account in group]
        self._sets_domains |= _setting("managed_domains", accounts)
        self._sets_vanity_url |= _setting("vanity_url", accounts)
        self._named += [
            _Named(number, each.id, each.managed_domains, each.vanity_url)
            for number, each in group
            if each.managed_domains or each.vanity_url
        ]
        for some in chunked([name for each in accounts for name in each.managed_domains]):
            verified = await session.execute(
                select(ManagedDomainRow.domain, ManagedDomainRow.account_id).where(
                    ManagedDomainRow.domain.in_(some), ManagedDomainRow.verified_at.is_not(None)
                )
            )
            self._domains |= {domain: account for domain, account in verified}
        for some in chunked([each.vanity_url for each in accounts if each.vanity_url]):
            found = await session.execute(
                select(AccountRow.vanity_url, AccountRow.id).where(AccountRow.vanity_url.in_(some))
            )
            self._vanity_urls |= {label: account for label, account in found if label}

    def errors(self) -> Iterator[InputError]:
        """Yield the names that two accounts would have after the import (INV-18, TRF-5)."""
        domains = _unless_set(self._domains, self._sets_domains)
        vanity_urls = _unless_set(self._vanity_urls, self._sets_vanity_url)
        for named in self._named:
            for place, domain in enumerate(named.domains):
                if (holder := domains.setdefault(domain, named.account)) != named.account:
                    yield (
                        f"accounts[{named.number}].managed_domains[{place}]",
                        f"{domain} is managed by {holder}",
                    )
            label = named.vanity_url
            if label and (holder := vanity_urls.setdefault(label, named.account)) != named.account:
                yield (
                    f"accounts[{named.number}].vanity_url",
                    f"{label} is the vanity URL of {holder}",
                )


def _setting(field: str, accounts: Sequence[Account]) -> set[str]:
    """Return the accounts for which the file sets the field."""
    return {each.id for each in accounts if field in each.model_fields_set}


def _unless_set(holders: Mapping[str, str], renamed: Set[str]) -> dict[str, str]:
    """Return the holders whose names the file does not set."""
    return {name: holder for name, holder in holders.items() if holder not in renamed}


async def release_names(
    session: AsyncSession, named: Sequence[Account], accounts: Mapping[str, AccountRow]
) -> None:
    """Release the names that the file takes from known accounts.

    Before any name is set, because the database refuses a name of two accounts even for a moment.
    """
    renamed: list[str] = []
    for account in named:
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
