"""Searches read the store alone, page by page, and show what people hold."""

from datetime import timedelta
from itertools import chain

import pytest

from domain.assignment import AssignLicenses
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState
from domain.license import Sku
from domain.remedy import Removal
from domain.search import PageRequest
from tests.builders.account import ADMIN, NOON, OWNER, account, directory, eur, user
from tests.builders.invitation import StoreScenario
from tests.builders.refund import request_refund

LEE = "lee@crowd.example"
LATER = NOON + timedelta(hours=2)


async def pages_of_accounts(scenario: StoreScenario, limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    after: str | None = None
    while True:
        page = await scenario.store.search.accounts(None, PageRequest(limit=limit, after=after))
        assert page.total == 5
        pages.append([found.id for found in page.accounts])
        after = page.next_cursor
        if after is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
async def test_the_pages_have_every_account_once(scenario: StoreScenario, limit: int) -> None:
    """The last page has no cursor, also when it is full."""
    pages = await pages_of_accounts(scenario, limit)
    assert [*chain(*pages)] == ["acme", "crowd", "rich", "solo", "zeta"]
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1]


async def test_an_account_shows_what_it_owes_beside_its_credit(scenario: StoreScenario) -> None:
    """QUO-7: the balance owed and the credit are two amounts; neither is taken off the other."""
    credited = account(
        "crowd", user("kim@crowd.example", "owner"), collection="net_terms", credit="5.00"
    )
    await scenario.store.directory.import_(directory(credited))
    [found] = (await scenario.store.search.accounts("crowd", PageRequest())).accounts
    assert (found.balance_owed, found.credit) == (eur("9.90"), eur("5.00"))
    assert (found.owner, found.users, found.state) == ("kim@crowd.example", 2, "open")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("ACME", ["acme"]),
        ("Rich", ["rich"]),
        ("olga@", ["acme"]),
        (ADMIN, []),
        ("müller", ["umlaut"]),
        ("MÜLLER", ["umlaut"]),
        ("100%", ["umlaut"]),
        ("10_%", []),
        ("e", ["acme", "zeta", "crowd", "rich", "solo", "umlaut"]),
    ],
)
async def test_a_query_is_a_part_of_id_name_or_owner(
    scenario: StoreScenario, query: str, ids: list[str]
) -> None:
    """Case does not matter, also beyond ASCII; wildcards of SQL are plain characters."""
    umlaut = account("umlaut", user("u@umlaut.example", "owner"))
    await scenario.store.directory.import_(directory({**umlaut, "name": "Müller 100% GmbH"}))
    found = await scenario.store.search.accounts(query, PageRequest())
    assert [each.id for each in found.accounts] == sorted(ids)
    assert found.total == len(ids)


async def test_a_page_of_users_shows_what_they_hold_and_wait_for(scenario: StoreScenario) -> None:
    """ASG-5: `users` has the licenses of each user."""
    holder = user(OWNER, "owner", licensed=True, addons=[{"capacity": 500}])
    acme = account(
        "acme", holder, plan="business", pools=[{"capacity": 500, "bought": 1}], licenses=6
    )
    await scenario.store.directory.import_(directory(acme))
    request = AssignLicenses(
        request_id="r1", account="acme", sku=Sku.LARGE_MEETING, emails=(ADMIN,), by=OWNER
    )
    await scenario.store.assignments.assign(request, LATER)
    first = await scenario.store.search.users("acme", None, PageRequest(limit=1))
    assert [each.email for each in first.users] == [ADMIN]
    [admin] = first.users
    assert (admin.name, admin.licensed, admin.addons) == ("Adam", False, ())
    assert [(each.sku, each.capacity) for each in admin.waiting] == [(Sku.LARGE_MEETING, 500)]
    assert (first.total, first.next_cursor) == (2, ADMIN)
    second = await scenario.store.search.users("acme", None, PageRequest(after=first.next_cursor))
    [owner] = second.users
    assert (owner.email, owner.licensed, second.next_cursor) == (OWNER, True, None)
    assert [addon.capacity for addon in owner.addons] == [500]
    named = await scenario.store.search.users("acme", "aDAM", PageRequest())
    assert [each.email for each in named.users] == [ADMIN]
    licenses = (await scenario.store.search.find(ADMIN)).licenses
    assert [(each.sku, each.state, each.since) for each in licenses] == [
        (Sku.LARGE_MEETING, "waiting", LATER)
    ]


async def test_users_of_an_unknown_account_are_not_found(scenario: StoreScenario) -> None:
    """The refusal names the account, for near matches."""
    with pytest.raises(Refused) as refused:
        await scenario.store.search.users("amce", None, PageRequest())
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert refused.value.details == {"account": "amce"}


async def test_a_person_is_found_with_all_that_they_had(scenario: StoreScenario) -> None:
    """`find`: present and former accounts, invitations, refunds and licenses."""
    plan, _ = await request_refund(scenario)
    found = await scenario.store.search.find(plan.payee)
    assert [each.account for each in found.accounts] == [plan.source, plan.target]
    assert [each.until is None for each in found.accounts] == [False, True]
    assert found.accounts[0].left_by == "invitation"
    assert [each.state for each in found.invitations] == [InvitationState.ACCEPTED]
    assert found.invitations[0].link is None
    assert [each.refund_id for each in found.refunds] == [plan.refund_id]


async def test_a_removed_user_is_found_on_no_account(scenario: StoreScenario) -> None:
    """`find`: the membership that ended says when and why."""
    await scenario.store.remedies.remove_user("crowd", LEE, Removal.DELETE, LATER)
    [left] = (await scenario.store.search.find(LEE)).accounts
    assert (left.account, left.until, left.left_by) == ("crowd", LATER, "delete")


async def test_an_unknown_address_names_the_near_ones(scenario: StoreScenario) -> None:
    """`find`: a mistyped address is `not_found`."""
    with pytest.raises(Refused, match=r"Did you mean lee@crowd\.example") as refused:
        await scenario.store.search.find("lea@crowd.example")
    assert refused.value.details["near_matches"] == ["lee@crowd.example", "kim@crowd.example"]


@pytest.mark.parametrize(
    ("typed", "near"),
    [("amce", ["acme"]), ("Crowd", ["crowd"]), ("zet", ["zeta"]), ("qqqqqq", []), (" ", [])],
)
async def test_a_mistyped_account_has_near_matches(
    scenario: StoreScenario, typed: str, near: list[str]
) -> None:
    """The likeliest first; a part of the name counts too."""
    assert await scenario.store.search.near_accounts(typed) == near
