"""The account's page, by real requests of admins and operators."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from clients.managed_domain import ManagedDomainClient
from domain.account import Directory
from portal.session import COOKIE
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_sign_in import OPERATOR, csrf_of, portal_of, session_of
from tests.world import ADMIN, MEMBER, OWNER, World

DOMAIN = "acme.example"


class FakeDns:
    """TXT records that a test publishes."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}

    async def txt_records(self, name: str) -> list[str]:
        return self.records.get(name, [])


@pytest.fixture
async def admin(visitor: Visitor) -> Visitor:
    """Sign an admin in."""
    await session_of(visitor, ADMIN)
    return visitor


@pytest.fixture
async def operator(world: World) -> AsyncIterator[Visitor]:
    """Sign an operator in."""
    async with portal_of(world, operators=frozenset({OPERATOR})) as visitor:
        await session_of(visitor, OPERATOR)
        yield visitor


def path_of(visitor: Visitor, page: str = "/account") -> str:
    return f"/admin/{visitor.world.account}{page}"


async def account_page(visitor: Visitor, query: str = "") -> ReadPage:
    return await visitor.get(path_of(visitor, f"/account{query}"))


async def post(visitor: Visitor, page: str, **form: str) -> ReadPage:
    token = csrf_of(await account_page(visitor))
    return await visitor.post(path_of(visitor, page), csrf_token=token, **form)


def with_dns(visitor: Visitor) -> FakeDns:
    """Replace DNS for the clients of the portal."""
    clients, dns = visitor.world.clients, FakeDns()
    clients.managed_domains = ManagedDomainClient(clients.store.managed_domains, dns)
    return dns


async def test_the_account_is_exported_as_a_file(admin: Visitor) -> None:
    """The JSON of `export`, never cached, and importable."""
    page = await account_page(admin)
    assert (page.status, page.name) == (200, "account")
    file = await admin.web.get(path_of(admin, "/account/export"))
    assert file.status_code == 200
    name = f"{admin.world.account}.json"
    assert file.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert (file.headers["cache-control"], file.headers["content-type"]) == (
        "no-store",
        "application/json",
    )
    exported = await admin.world.export(admin.world.account)
    assert file.json() == json.loads(exported.model_dump_json(by_alias=True))
    await admin.world.store.directory.import_(Directory.model_validate(file.json()))


async def test_a_member_exports_nothing(visitor: Visitor) -> None:
    """INV-1: the answer for an account that does not exist."""
    await session_of(visitor, MEMBER)
    assert (await visitor.get(path_of(visitor, "/account/export"))).status == 404


async def test_a_domain_is_added_and_verified(admin: Visitor) -> None:
    """INV-18: the record to publish is shown, and looked for on request."""
    dns = with_dns(admin)
    for _ in range(2):
        assert (await post(admin, "/domains/add", domain=" ACME.example ")).status == 303
    page = await account_page(admin)
    assert page.all("data-domain") == [DOMAIN]
    [domain] = await admin.world.store.managed_domains.list(admin.world.account)
    assert domain.record.name in page.text
    assert domain.record.value in page.text
    missing = await post(admin, "/domains/verify", domain=DOMAIN)
    assert (missing.status, missing.name, missing.error) == (409, "account", "not_found")
    assert f"DNS does not show the record of {DOMAIN} yet." in missing.text
    dns.records[domain.record.name] = [domain.record.value]
    assert (await post(admin, "/domains/verify", domain=DOMAIN)).status == 303
    page = await account_page(admin)
    assert "Verified" in page.text
    assert domain.record.value not in page.text
    changes = await admin.world.store.changes.listed(admin.world.account)
    made = [(each.action, each.by) for each in changes if each.action.startswith("domain")]
    assert made == [("domain add", ADMIN), ("domain verify", ADMIN)]


@pytest.mark.parametrize("domain", ["", "not a domain", "gmail.com", "a@b.example"])
async def test_a_wrong_domain_is_refused_with_the_entered_value(
    admin: Visitor, domain: str
) -> None:
    """INV-18: public mail domains cannot be managed."""
    page = await post(admin, "/domains/add", domain=domain)
    assert (page.status, page.name, page.error) == (422, "account", "invalid_input")
    assert f'value="{domain}" aria-invalid="true"' in page.html


async def test_a_domain_of_another_account_is_a_conflict(admin: Visitor) -> None:
    """INV-18: one account has it."""
    world = admin.world
    with_dns(admin)
    await world.imported(
        "boreal", users=[("boss@boreal.example", "owner")], managed_domains=[DOMAIN]
    )
    await post(admin, "/domains/add", domain=DOMAIN)
    page = await post(admin, "/domains/verify", domain=DOMAIN)
    assert (page.status, page.error) == (409, "conflict")
    assert "boreal" not in page.html
    unknown = await post(admin, "/domains/verify", domain="unknown.example")
    assert unknown.status == 404


async def test_an_operators_change_names_both(operator: Visitor) -> None:
    """OPS-8: in the store and on the page."""
    await post(operator, "/domains/add", domain=DOMAIN)
    [*_, change] = await operator.world.store.changes.listed(operator.world.account)
    assert change.by == f"operator {OPERATOR} for {OWNER}"
    page = await account_page(operator)
    assert f"operator {OPERATOR} for {OWNER}" in page.text
    assert f"Added the domain {DOMAIN}" in page.text


async def test_activity_names_people_fifty_a_page(admin: Visitor) -> None:
    """OPS-8: the newest first, each change once."""
    world = admin.world
    await world.remove_user(world.account, MEMBER)
    page = await account_page(admin)
    assert f"Removed {MEMBER}, who keeps an account of their own" in page.text
    numbers = [str(n) for n in range(70)]
    await world.store.changes.record(
        "remove-room", *numbers, by=ADMIN, at=datetime.now(UTC), account=world.account
    )
    await world.store.changes.record(
        "remove-room", "secret", by=ADMIN, at=datetime.now(UTC), account="other"
    )
    page = await account_page(admin)
    [more] = re.findall(r"\?(after=\d+)", page.html)
    older = await account_page(admin, f"?{more}")
    found = re.findall(r"Removed the room (\w+)", page.text + older.text)
    assert found == numbers[::-1]
    assert len(page.all("data-action")) == 50
    assert (await account_page(admin, "?after=%00")).status == 200


async def test_a_person_sees_and_ends_their_sessions(admin: Visitor) -> None:
    """Only their own: another person's session cannot be ended here."""
    sessions = admin.world.clients.sessions
    elsewhere = await sessions.open(ADMIN)
    owners = await sessions.open(OWNER)
    page = await account_page(admin)
    assert len(page.all("data-session")) == 2
    assert page.text.count("this browser") == 1
    [owner] = await sessions.listed(OWNER)
    await post(admin, "/sessions/revoke", session=owner.id)
    assert await sessions.find(owners.cookie)
    found = await sessions.find(elsewhere.cookie)
    assert found
    assert (await post(admin, "/sessions/revoke", session=found.id)).status == 303
    assert await sessions.find(elsewhere.cookie) is None
    assert (await account_page(admin)).status == 200


async def test_a_person_signs_out_everywhere(admin: Visitor) -> None:
    """This browser as well; others stay signed in."""
    sessions = admin.world.clients.sessions
    elsewhere, owners = await sessions.open(ADMIN), await sessions.open(OWNER)
    answer = await post(admin, "/sessions/revoke-all")
    assert (answer.status, answer.response.headers["location"]) == (303, "/sign-in")
    assert await sessions.listed(ADMIN) == []
    assert await sessions.find(elsewhere.cookie) is None
    assert await sessions.find(owners.cookie)
    assert (await account_page(admin)).status == 303
    assert COOKIE in admin.web.cookies
