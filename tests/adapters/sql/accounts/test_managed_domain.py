"""Managed domains and vanity URLs: each has one account, whatever is imported or verified."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.store import SqlStore
from clients.managed_domain import ManagedDomainClient
from domain.account import Account, Directory
from domain.error import ErrorCode, Refused
from domain.journal import ENGINE
from domain.managed_domain import ManagedDomain, ManagedDomainState
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.account import NOON, account, directory
from tests.builders.invitation import StoreScenario

DOMAIN = "shared.example"
VERIFIED, PENDING = ManagedDomainState.VERIFIED, ManagedDomainState.PENDING


class Published:
    """A DNS in which every record that was added is published."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}

    def publish(self, domain: ManagedDomain) -> None:
        self.records.setdefault(domain.record.name, []).append(domain.record.value)

    async def txt_records(self, name: str) -> Sequence[str]:
        return self.records.get(name, [])


@pytest.fixture
def domains(store: SqlStore) -> ManagedDomainClient:
    return ManagedDomainClient(store.managed_domains, Published())


async def imported(store: SqlStore, *accounts: object) -> None:
    await store.directory.import_(directory(*accounts))


async def mistakes_of(store: SqlStore, *accounts: object) -> dict[str, str]:
    before = await store.directory.export(None)
    with pytest.raises(Refused) as refused:
        await imported(store, *accounts)
    assert refused.value.code is ErrorCode.INVALID_INPUT
    assert await store.directory.export(None) == before
    found = cast(list[dict[str, str]], refused.value.details["mistakes"])
    return {mistake["path"]: mistake["reason"] for mistake in found}


async def exported(store: SqlStore, name: str) -> Account:
    [found] = (await store.directory.export(name)).accounts
    return found


async def publish_and_verify(domains: ManagedDomainClient, name: str) -> ManagedDomain:
    assert isinstance(domains.resolver, Published)
    domains.resolver.publish(await domains.add(name, DOMAIN, NOON))
    return await domains.verify(name, DOMAIN, NOON)


async def test_an_import_cannot_take_the_domain_of_another_account(store: SqlStore) -> None:
    """INV-18: the error names the account that has the domain, also within one file."""
    await imported(store, account("one", managed_domains=[DOMAIN]))
    assert await mistakes_of(
        store,
        account("two", managed_domains=["two.example", "SHARED.example"]),
        account("three", managed_domains=["two.example"]),
    ) == {
        "accounts[0].managed_domains[1]": "shared.example is managed by one",
        "accounts[1].managed_domains[0]": "two.example is managed by two",
    }


async def test_a_file_can_move_a_domain_to_another_account(store: SqlStore) -> None:
    """INV-18: the accounts are compared after the import, in any order of the file."""
    await imported(
        store,
        account("one", managed_domains=[DOMAIN], vanity_url="first"),
        account("two", managed_domains=["two.example"], vanity_url="second"),
    )
    await imported(
        store,
        account("one", managed_domains=["two.example"], vanity_url="second"),
        account("two", managed_domains=[DOMAIN], vanity_url="first"),
    )
    one, two = (await store.directory.export(None)).accounts
    assert (one.managed_domains, one.vanity_url) == (("two.example",), "second")
    assert (two.managed_domains, two.vanity_url) == ((DOMAIN,), "first")
    assert [each.domain for each in await store.managed_domains.list("one")] == ["two.example"]
    assert (await store.audit()).violations == ()


async def test_an_import_that_names_no_domains_keeps_them(store: SqlStore) -> None:
    """Contract, `import`: members that the file does not name stay, and so do pending domains."""
    await imported(store, account("one", managed_domains=[DOMAIN], vanity_url="first"))
    pending = await store.managed_domains.add("one", "more.example", NOON)
    await imported(store, account("one"))
    assert (await exported(store, "one")).managed_domains == (DOMAIN,)
    assert (await exported(store, "one")).vanity_url == "first"
    await store.directory.import_(await store.directory.export(None))
    assert (await store.managed_domains.list("one"))[0] == pending


async def test_a_domain_that_a_file_removes_must_be_proven_again(
    store: SqlStore, domains: ManagedDomainClient
) -> None:
    """INV-18: it gets a new token, and another account can verify it."""
    await imported(store, account("one", managed_domains=[DOMAIN, DOMAIN]), account("two"))
    [before] = await store.managed_domains.list("one")
    await imported(store, account("one", managed_domains=[]))
    assert await store.managed_domains.list("one") == []
    assert (await publish_and_verify(domains, "two")).state is VERIFIED
    again = await domains.add("one", DOMAIN, NOON)
    assert again.record.name == before.record.name
    assert again.record.value != before.record.value


async def test_an_import_verifies_a_pending_domain_and_keeps_its_token(store: SqlStore) -> None:
    """INV-18: the operator who imports vouches for it."""
    await imported(store, account("one"))
    pending = await store.managed_domains.add("one", DOMAIN, NOON)
    assert pending.state is PENDING
    await imported(store, account("one", managed_domains=[DOMAIN]))
    [verified] = await store.managed_domains.list("one")
    assert (verified.state, verified.record) == (VERIFIED, pending.record)


async def test_verified_domains_are_exported_and_pending_ones_are_not(
    store: SqlStore, domains: ManagedDomainClient
) -> None:
    """Contract, `export`: importing an export gives the same export."""
    await imported(store, account("one", managed_domains=["one.example"]))
    await publish_and_verify(domains, "one")
    await domains.add("one", "pending.example", NOON)
    first = await store.directory.export(None)
    assert first.accounts[0].managed_domains == ("one.example", DOMAIN)
    await store.directory.import_(Directory.model_validate_json(first.model_dump_json()))
    assert await store.directory.export(None) == first
    assert (await store.audit()).violations == ()


async def test_only_a_verified_domain_admits_people(scenario: StoreScenario) -> None:
    """INV-18: before the proof, people are invited as usual; after it, they join at once."""
    store = scenario.store
    domains = ManagedDomainClient(store.managed_domains, Published())
    invite = scenario.new_invite(f"ann@{DOMAIN}")
    sent = await scenario.claim(invite)
    joining = after(InvitationMachine, sent, "join", at=NOON, by=ENGINE)
    await domains.add("acme", DOMAIN, NOON)
    with pytest.raises(Refused) as refused:
        await scenario.join_by_managed_domain(invite, joining)
    assert refused.value.code is ErrorCode.CONFLICT
    await publish_and_verify(domains, "acme")
    assert (await scenario.join_by_managed_domain(invite, joining)).state.accepted
    assert invite.email in await scenario.users("acme")


async def test_of_two_concurrent_verifications_one_wins(
    store: SqlStore, domains: ManagedDomainClient
) -> None:
    """INV-18: the others get `conflict`, and the store is consistent."""
    names = [f"a{number}" for number in range(5)]
    await imported(store, *(account(name) for name in names))
    outcomes = await asyncio.gather(
        *(publish_and_verify(domains, name) for name in names), return_exceptions=True
    )
    lost = [each for each in outcomes if isinstance(each, BaseException)]
    assert [each.code for each in lost if isinstance(each, Refused)] == [ErrorCode.CONFLICT] * 4
    assert len(lost) == 4
    assert (await store.audit()).violations == ()


async def test_an_import_and_a_verification_at_once_have_one_winner(
    store: SqlStore, domains: ManagedDomainClient
) -> None:
    """INV-18: the other is refused, with its own code."""
    await imported(store, account("one"), account("two"))
    outcomes = await asyncio.gather(
        publish_and_verify(domains, "one"),
        imported(store, account("two", managed_domains=[DOMAIN])),
        return_exceptions=True,
    )
    [lost] = [each for each in outcomes if isinstance(each, BaseException)]
    assert isinstance(lost, Refused)
    assert lost.code in {ErrorCode.CONFLICT, ErrorCode.INVALID_INPUT}
    assert (await store.audit()).violations == ()


async def test_an_owner_who_leaves_releases_the_domains_of_the_account(
    scenario: StoreScenario,
) -> None:
    """INV-18, SRC-2: the target account can then verify them."""
    store = scenario.store
    await imported(store, account("solo", managed_domains=["solo.example"]))
    await scenario.send_and_accept(scenario.new_invite("sue@solo.example"))
    assert (await exported(store, "solo")).state == "closed"
    assert await store.managed_domains.list("solo") == []
    await imported(store, account("acme", plan="business", managed_domains=["solo.example"]))
    assert (await store.audit()).violations == ()


async def test_a_closed_account_verifies_nothing(store: SqlStore) -> None:
    """SRC-2: neither a new domain nor one that it added before."""
    await imported(store, account("one"))
    pending = await store.managed_domains.add("one", DOMAIN, NOON)
    await imported(store, account("one", state="closed"))
    for refused in (
        store.managed_domains.add("one", "more.example", NOON),
        store.managed_domains.verify(pending, NOON),
    ):
        with pytest.raises(Refused, match="closed") as error:
            await refused
        assert error.value.code is ErrorCode.CONFLICT


async def test_a_proof_of_an_earlier_token_is_refused(store: SqlStore) -> None:
    """INV-18: the domain was removed and added again while DNS was read."""
    await imported(store, account("one", managed_domains=[DOMAIN]))
    [earlier] = await store.managed_domains.list("one")
    await imported(store, account("one", managed_domains=[]))
    await store.managed_domains.add("one", DOMAIN, NOON)
    with pytest.raises(Refused) as refused:
        await store.managed_domains.verify(earlier, NOON + timedelta(hours=1))
    assert refused.value.code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE managed_domains SET domain = 'one.example' WHERE account_id = 'two'",
        "UPDATE managed_domains SET domain = 'Two.example' WHERE account_id = 'two'",
        "UPDATE managed_domains SET account_id = 'nobody' WHERE account_id = 'two'",
        "UPDATE accounts SET vanity_url = 'first' WHERE id = 'two'",
    ],
)
async def test_the_database_itself_gives_a_name_to_one_account(
    engine: AsyncEngine, store: SqlStore, statement: str
) -> None:
    """INV-18, TRF-5: indexes and constraints refuse each of these statements."""
    await imported(
        store,
        account("one", managed_domains=["one.example"], vanity_url="first"),
        account("two", managed_domains=["two.example"], vanity_url="second"),
    )
    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(text(statement))


@pytest.mark.parametrize(
    "label",
    [
        "",
        "https://evil.example/x",
        "evil.example",
        "evil.example/",
        "evil.example#",
        "a@evil",
        "-acme",
        "acme-",
        "ac_me",
        "bücher",
        "\N{KELVIN SIGN}",
        "a" * 64,
        "acme\n",
    ],
)
def test_a_vanity_url_is_one_dns_label(label: str) -> None:
    """TRF-5: a join link leads to a host under the meeting domain, and to no other."""
    with pytest.raises(ValueError, match="one DNS label"):
        directory(account("one", vanity_url=label))


@pytest.mark.parametrize("label", ["a", "A-1", "0", "xn--bcher-kva", "a" * 63])
async def test_a_vanity_url_is_kept_in_lower_case(store: SqlStore, label: str) -> None:
    """TRF-5: host names have no case."""
    await imported(store, account("one", vanity_url=label))
    assert (await exported(store, "one")).vanity_url == label.lower()


async def test_a_vanity_url_has_one_account(store: SqlStore) -> None:
    """TRF-5: meeting ids are unique for one host only, so a link would be ambiguous."""
    await imported(store, account("one", vanity_url="acme"))
    assert await mistakes_of(
        store, account("two", vanity_url="ACME"), account("three", vanity_url="three")
    ) == {"accounts[0].vanity_url": "acme is the vanity URL of one"}
    assert await mistakes_of(
        store, account("two", vanity_url="both"), account("three", vanity_url="both")
    ) == {"accounts[1].vanity_url": "both is the vanity URL of two"}
    await imported(store, account("one", vanity_url=None), account("two", vanity_url="acme"))
    assert (await exported(store, "two")).vanity_url == "acme"


@pytest.mark.parametrize(
    "stored", ["https://evil.example/x", "evil.example", "-a", "a-", "", "a" * 64]
)
async def test_a_stored_text_that_is_no_label_makes_no_links(
    scenario: StoreScenario, stored: str
) -> None:
    """TRF-5: the audit lists it, the account works without it, and an import replaces it."""
    store = scenario.store
    statement = text("UPDATE accounts SET vanity_url = :label WHERE id = 'acme'")
    async with scenario.engine.begin() as connection:
        await connection.execute(statement, {"label": stored})
    [violation] = (await store.audit()).violations
    assert (violation.rule, violation.subject) == ("TRF-5", "acme")
    assert (await exported(store, "acme")).vanity_url is None
    preview = await scenario.preview(scenario.new_invite("new@person.example"))
    assert "evil" not in preview.model_dump_json()
    await store.directory.import_(await store.directory.export("acme"))
    assert (await store.audit()).violations == ()


async def test_the_audit_names_a_domain_of_two_accounts(scenario: StoreScenario) -> None:
    """AUD, INV-18: whatever has changed the list of an account."""
    await imported(scenario.store, account("solo", managed_domains=["solo.example"]))
    async with scenario.engine.begin() as connection:
        await connection.execute(
            text("UPDATE accounts SET managed_domains = '[\"solo.example\"]' WHERE id = 'acme'")
        )
    found = (await scenario.store.audit()).violations
    assert {(each.rule, each.subject, each.message) for each in found} == {
        ("INV-18", "solo.example", "managed by acme, solo"),
        ("INV-18", "acme", "lists solo.example, but never verified it"),
    }
