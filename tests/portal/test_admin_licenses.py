"""The page of users and licenses: pools, the list, and changes for one user and for many."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import Page, expect

from domain.assignment import AssignLicenses
from domain.license import LicensePool, Sku
from tests.portal.browser import PHONE, chromium, reading, require_accessible
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_sign_in import (
    OPERATOR,
    STRANGER,
    csrf_of,
    portal_of,
    session_of,
    statements,
)
from tests.world import ADMIN, ANN, BASIC, BOB, CLEO, LICENSED, MEMBER, OWNER, World

LARGE = "large-meeting"
MEETING = {"id": "m", "topic": "All hands", "starts_at": "2026-04-01T09:00:00Z"}


async def imported(
    world: World, *, licensed: Sequence[str] = LICENSED, licenses: int = 3, **pools: int
) -> None:
    """Import users, some with a base license; `large500=2` are two Large Meeting licenses."""
    users: list[dict[str, object]] = [
        {"email": OWNER, "role": "owner", "name": "Olga Owner"},
        {"email": ADMIN, "role": "admin"},
        {"email": MEMBER, "role": "member"},
        {"email": BASIC, "role": "member", "name": "Basil Basic", "meetings": [MEETING]},
        *(
            {
                "email": email,
                "role": "member",
                "licensed": email in licensed,
                "meetings": [{**MEETING, "id": email}],
            }
            for email in LICENSED
        ),
    ]
    await world.imported(
        world.account,
        licenses=licenses,
        pools=[
            {
                "sku": LARGE if name.startswith("large") else "webinar",
                "capacity": int(re.sub(r"\D", "", name)),
                "bought": bought,
            }
            for name, bought in pools.items()
        ],
    )
    await world.import_users(world.account, users)


@pytest.fixture
async def admin(visitor: Visitor) -> Visitor:
    """Return the visitor, signed in as an admin."""
    await session_of(visitor, ADMIN)
    return visitor


async def listed(visitor: Visitor, query: str = "") -> ReadPage:
    page = await visitor.get(f"/admin/{visitor.world.account}/licenses{query}")
    assert (page.status, page.name, page.error) == (200, "licenses", None)
    return page


async def post(visitor: Visitor, action: str, *emails: str, **fields: str) -> ReadPage:
    """Send a form of the page."""
    token = csrf_of(await listed(visitor))
    form: dict[str, Any] = {"csrf_token": token, "email": list(emails), **fields}
    path = f"/admin/{visitor.world.account}/{action}"
    return ReadPage(await visitor.web.post(path, data=form))


async def done(visitor: Visitor, action: str, *emails: str, **fields: str) -> ReadPage:
    """Send a form that is carried out; return the page that it leads to."""
    answer = await post(visitor, action, *emails, **fields)
    assert answer.status == 303, answer.text
    page = await visitor.get(answer.response.headers["location"])
    assert page.status == 200
    return page


def results(page: ReadPage) -> dict[str, str]:
    """Return the result that the page shows for each user."""
    return dict(re.findall(r'data-row="([^"]*)" data-result="([^"]*)"', page.html))


def pools(page: ReadPage) -> dict[str, int]:
    """Return the free licenses of each pool."""
    found = re.findall(r'data-pool="([^"]*)" data-free="(\d+)"', page.html)
    return {key: int(free) for key, free in found}


def row(page: ReadPage, email: str) -> str:
    """Return the text of a user's row."""
    found = re.search(rf'<tr data-user="{email}">.*?</tr>', page.html, re.DOTALL)
    assert found, f"{email} is not listed"
    return " ".join(re.sub(r"<[^>]*>", " ", found[0]).split())


async def pool(world: World, sku: Sku, capacity: int | None = None) -> LicensePool:
    found = await world.licenses.licenses(world.account)
    return next(each for each in found if (each.sku, each.capacity) == (sku, capacity))


async def number_of(visitor: Visitor, email: str) -> str:
    """Return the number that names a user in addresses."""
    page = await listed(visitor, f"?q={email}")
    [number] = set(re.findall(r"/licenses/(\d+)", page.html))
    return str(number)


# The list.


async def test_pools_and_users_are_listed(admin: Visitor) -> None:
    """The plan, each pool with its free licenses, and what each user holds."""
    await imported(admin.world, licenses=5, large500=2, webinar1000=1)
    await done(admin, "assign", ANN, sku=LARGE)
    page = await listed(admin)
    assert "Plan: Business" in page.text
    assert pools(page) == {"workplace": 2, "large-meeting-500": 1, "webinar-1000": 1}
    assert "1 assigned of 2" in page.text
    assert row(page, ANN).startswith(f"{ANN} Member Workplace 500")
    assert row(page, BASIC).startswith(f"Basil Basic {BASIC} Member none (basic) –")
    assert "Owner none (basic)" in row(page, OWNER)
    assert "7 users" in page.text


async def test_users_are_found_by_name_and_address(admin: Visitor) -> None:
    """`?q=`, in any case; the chip lists those without a base license."""
    await imported(admin.world)
    assert (await listed(admin, "?q=BASIL+b")).all("data-user") == [BASIC]
    assert (await listed(admin, "?q=cleo@")).all("data-user") == [CLEO]
    none = await listed(admin, "?q=nobody%3Cb%3E")
    assert "contains “nobody<b>”" in none.text
    assert "<b>”" not in none.html
    basic = await listed(admin, "?basic=1")
    assert basic.all("data-user") == [ADMIN, BASIC, MEMBER, OWNER]
    assert "Without a base license 4" in basic.text


async def test_two_thousand_users_are_read_page_by_page(admin: Visitor) -> None:
    """50 a page, each user once, by as many statements as for a few."""
    world = admin.world
    await imported(world, large500=1)
    # The first request of a client is counted in another way.
    await listed(admin)
    with statements(world) as few:
        await listed(admin)
    crowd = [f"user{number:04}@acme.example" for number in range(2000)]
    administering = [(OWNER, "owner"), (ADMIN, "admin")]
    users = [*administering, *((email, "member") for email in crowd)]
    await world.import_users(
        world.account, [{"email": email, "role": role} for email, role in users]
    )
    # The first requests of these users wait, in more than one pool.
    for sku in (Sku.LARGE_MEETING, Sku.WORKPLACE):
        for start in range(0, 200, 100):
            request = AssignLicenses(
                request_id=f"{world.account}-{sku}-{start}",
                account=world.account,
                sku=sku,
                emails=tuple(crowd[start : start + 100]),
                by=ADMIN,
            )
            await world.store.assignments.assign(request, datetime.now(UTC))
    seen: list[str] = []
    with statements(world) as many:
        page = await listed(admin)
    assert len(many) == len(few)
    for _ in range(41):
        seen += page.all("data-user")
        following = re.search(r'href="[^"]*(\?after=\d+)">Next page', page.html)
        if not following:
            break
        page = await listed(admin, following[1])
    assert len(seen) == len(set(seen)) >= 2002
    assert "First page" in page.text
    first = await listed(admin)
    assert "· 200 waiting" in first.text
    assert "And 195 more." in first.text


async def test_the_page_says_who_waits_since_when_and_why(admin: Visitor) -> None:
    """ASG-5, ASG-1: for a license, or for a base license first."""
    await imported(admin.world, large500=1)
    page = await done(admin, "assign", ANN, BOB, BASIC, sku=LARGE, capacity="500")
    assert results(page) == {ANN: "assigned", BOB: "waiting", BASIC: "waiting"}
    today = datetime.now(UTC).year
    assert "0 free · 2 waiting" in page.text
    assert re.search(rf"{BOB} since .{{3,9}} {today} , until a license is free", page.text)
    assert re.search(rf"Basil Basic since .{{3,9}} {today} , needs a base license first", page.text)
    assert "Waiting for a license 500, since" in row(page, BOB)
    assert "Waiting for a base license 500, since" in row(page, BASIC)


# Changes for many.


async def test_a_license_is_given_to_five(admin: Visitor) -> None:
    """303 to the list, with the result of each; reloading it repeats nothing."""
    users = (*LICENSED, BASIC, MEMBER)
    await imported(admin.world, licensed=LICENSED, licenses=5, large500=5)
    page = await done(admin, "assign", *users, sku=LARGE, give_base_license="1")
    assert results(page) == dict.fromkeys(users, "assigned")
    assert "Given: Large Meeting 500" in page.text
    assert pools(page) == {"workplace": 0, "large-meeting-500": 0}
    assert "has Large Meeting 500 now" in page.text


async def test_the_address_of_the_result_has_no_personal_data_and_is_signed(
    admin: Visitor,
) -> None:
    """Another session's result, and a changed one, show nothing."""
    await imported(admin.world, large500=5)
    answer = await post(admin, "assign", ANN, sku=LARGE, q="ann")
    location = answer.response.headers["location"]
    assert "q=ann" in location
    assert "acme.example" not in location
    assert results(await admin.get(location)) == {ANN: "assigned"}
    assert results(await admin.get(f"{location}x")) == {}
    await session_of(admin, OWNER)
    page = await admin.get(location)
    assert (page.status, results(page)) == (200, {})


async def test_an_atomic_request_is_all_or_nothing(admin: Visitor) -> None:
    """ASG-5: 409 `insufficient_licenses`, with the entered values and a way to buy more."""
    await imported(admin.world, large500=2)
    page = await post(admin, "assign", ANN, BOB, CLEO, sku=LARGE, capacity="500", atomic="on")
    assert (page.status, page.name, page.error) == (409, "licenses", "insufficient_licenses")
    assert results(page) == dict.fromkeys(LICENSED, "refused")
    assert "Fewer licenses are free than are needed." in page.text
    assert f'href="/admin/{admin.world.account}/orders"' in page.html
    for email in LICENSED:
        assert re.search(rf'value="{email}" form="change" checked', page.html)
    assert '<option value="large-meeting" selected>' in page.html
    assert '<option value="500" selected>' in page.html
    assert 'name="atomic" value="1" checked' in page.html
    assert (await pool(admin.world, Sku.LARGE_MEETING, 500)).free == 2


async def test_the_capacity_is_chosen_where_only_one_is_free(admin: Visitor) -> None:
    """ASG-2: else 422 `capacity_required`, with the capacities and what is free of each."""
    await imported(admin.world, large500=1, large1000=1)
    page = await post(admin, "assign", ANN, sku=LARGE)
    assert (page.status, page.error) == (422, "capacity_required")
    assert "Large Meeting 500: 1 free. Large Meeting 1000: 1 free." in page.text
    assert 'aria-describedby="capacity-error"' in page.html
    assert results(page) == {}
    await done(admin, "assign", ANN, sku=LARGE, capacity="1000")
    page = await done(admin, "assign", BOB, sku=LARGE, capacity="")
    assert "Given: Large Meeting 500" in page.text


async def test_a_kind_that_was_never_bought_leads_to_buying(admin: Visitor) -> None:
    """`capacity_required` has nothing to choose from: the page says so."""
    await imported(admin.world, large500=1)
    page = await post(admin, "assign", ANN, sku="webinar")
    assert (page.status, page.error) == (422, "capacity_required")
    assert "This account has none of these licenses." in page.text
    assert "Buy licenses" in page.text


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"sku": LARGE, "capacity": "700"}, "invalid_capacity", "Choose a capacity from the list."),
        ({"sku": LARGE, "capacity": "many"}, "invalid_capacity", "Choose a capacity from the list"),
        ({"sku": "workplace", "capacity": "500"}, "invalid_capacity", "has no capacity."),
        ({"sku": "seats"}, "invalid_input", "Choose a license."),
        ({}, "invalid_input", "Choose a license."),
    ],
)
async def test_wrong_input_is_refused_beside_its_field(
    admin: Visitor, fields: dict[str, str], code: str, words: str
) -> None:
    """422, and the selection stays."""
    await imported(admin.world, large500=1)
    page = await post(admin, "assign", ANN, **fields)
    assert (page.status, page.error) == (422, code)
    assert words in page.text
    assert 'aria-invalid="true"' in page.html
    assert re.search(rf'value="{ANN}" form="change" checked', page.html)


async def test_nobody_or_too_many_selected(admin: Visitor) -> None:
    """ASG-5: 1 to 100 users."""
    await imported(admin.world, large500=1)
    crowd = [f"a{number}@b.example" for number in range(101)]
    for emails in ([], crowd):
        for action in ("assign", "unassign"):
            page = await post(admin, action, *emails, sku=LARGE)
            assert (page.status, page.error) == (422, "invalid_input")
            assert "Select at least one user and at most 100." in page.text


async def test_an_address_of_nobody_is_refused_beside_the_others(admin: Visitor) -> None:
    """A partial result is answered with the page: 200, and a reason for each."""
    await imported(admin.world, large500=2)
    page = await post(admin, "assign", ANN, STRANGER, "no address", sku=LARGE)
    assert (page.status, page.error) == (200, None)
    assert results(page) == {ANN: "assigned", STRANGER: "refused", "no address": "refused"}
    assert "Done for 1 user, not for all" in page.text
    assert "is not a user of this account" in page.text
    page = await post(admin, "assign", STRANGER, sku=LARGE)
    assert (page.status, page.error) == (409, "not_found")


async def test_a_user_without_a_base_license_gets_one_by_the_button(admin: Visitor) -> None:
    """ASG-1: the result offers a free base license; the same request is sent again with it."""
    await imported(admin.world, licenses=4, large500=1)
    page = await done(admin, "assign", BASIC, sku=LARGE)
    assert results(page) == {BASIC: "waiting"}
    assert "1 user waits for Large Meeting 500" in page.text
    assert "Give 1 user a base license too" in page.text
    page = await done(admin, "assign", BASIC, **again(page, "assign"))
    assert results(page) == {BASIC: "assigned"}
    assert pools(page) == {"workplace": 0, "large-meeting-500": 0}


def again(page: ReadPage, action: str) -> dict[str, str]:
    """Return the fields of the button that sends a request again, without the users."""
    form = page.form(action)
    return {name: form[name] for name in form if name not in {"csrf_token", "email"}}


async def test_an_atomic_request_without_a_base_license(admin: Visitor) -> None:
    """ASG-1: 409 `base_license_required`; the button gives base licenses, or leads to them."""
    await imported(admin.world, licenses=4, large500=3)
    page = await post(admin, "assign", ANN, BASIC, sku=LARGE, atomic="1")
    assert (page.status, page.error) == (409, "base_license_required")
    assert "Only paid users can enable this feature" in page.text
    assert f"{ANN} did not get it Basil Basic has no base license" in page.text
    assert "Give 1 user a base license too" in page.text
    page = await done(admin, "assign", ANN, BASIC, **again(page, "assign"))
    assert results(page) == {ANN: "assigned", BASIC: "assigned"}
    page = await post(admin, "assign", BOB, MEMBER, sku=LARGE, atomic="1")
    assert (page.status, page.error) == (409, "base_license_required")
    assert "No base license is free. Buy base licenses" in page.text
    assert "a base license too" not in page.text


async def test_a_base_license_under_an_add_on_is_taken_by_the_cascade(admin: Visitor) -> None:
    """ASG-7: 409 `dependency_violation` names the meetings; the button takes both."""
    await imported(admin.world, large500=1)
    await done(admin, "assign", ANN, sku=LARGE)
    page = await post(admin, "unassign", ANN, sku="workplace")
    assert (page.status, page.error) == (409, "dependency_violation")
    assert "1 meeting is limited to 100 participants without it. (All hands)" in page.text
    page = await done(admin, "unassign", ANN, **again(page, "unassign"))
    assert results(page) == {ANN: "released"}
    assert "1 meeting is limited to 100 participants without it." in page.text
    assert pools(page) == {"workplace": 1, "large-meeting-500": 1}


async def test_the_cascade_is_asked_for_those_who_need_it(admin: Visitor) -> None:
    """Others lose the base license at once."""
    await imported(admin.world, large500=1)
    await done(admin, "assign", ANN, sku=LARGE)
    page = await post(admin, "unassign", BOB, ANN, sku="workplace")
    assert (page.status, results(page)) == (200, {BOB: "released", ANN: "refused"})
    form = page.form("unassign")
    assert (form["email"], form["cascade"]) == (ANN, "1")


async def test_a_license_is_taken_and_served_to_the_oldest(admin: Visitor) -> None:
    """ASG-5."""
    await imported(admin.world, large500=1)
    await done(admin, "assign", ANN, BOB, sku=LARGE, capacity="500")
    page = await done(admin, "unassign", ANN, sku=LARGE)
    assert results(page) == {ANN: "released"}
    assert "Taken away: Large Meeting" in page.text
    assert (await pool(admin.world, Sku.LARGE_MEETING, 500)).holders == (BOB,)


# One user.


async def test_one_user_is_edited_on_a_page_of_their_own(admin: Visitor) -> None:
    """The same forms; they lead back to this page."""
    await imported(admin.world, licenses=4, large500=1, webinar1000=1)
    number = await number_of(admin, BASIC)
    path = f"/admin/{admin.world.account}/licenses/{number}"
    page = await admin.get(path)
    assert (page.status, page.name) == (200, "license-user")
    assert "Basil Basic is a basic user" in page.text
    answer = await post(admin, "assign", BASIC, sku="workplace", user=number)
    assert answer.response.headers["location"].startswith(f"{path}?result=")
    page = await done(admin, "assign", BASIC, sku=LARGE, capacity="500", user=number)
    assert "Holds Large Meeting 500. 1 scheduled meeting uses it." in page.text
    page = await post(admin, "unassign", BASIC, sku="workplace", user=number)
    assert (page.status, page.name, page.error) == (409, "license-user", "dependency_violation")
    cascade = next(
        each for each in re.findall(r"<form.*?</form>", page.html, re.DOTALL) if "cascade" in each
    )
    assert f'name="user" value="{number}"' in cascade
    page = await done(admin, "unassign", BASIC, sku="workplace", cascade="1", user=number)
    assert page.name == "license-user"
    assert "Basil Basic is a basic user" in page.text


async def test_the_capacity_of_one_user_is_asked_beside_its_field(admin: Visitor) -> None:
    """The summary leads to the field of the same kind of license."""
    await imported(admin.world, large500=1, large1000=1)
    number = await number_of(admin, ANN)
    page = await post(admin, "assign", ANN, sku=LARGE, capacity="", user=number)
    assert (page.status, page.name, page.error) == (422, "license-user", "capacity_required")
    assert '<a href="#capacity-large-meeting">Choose a capacity.</a>' in page.html
    assert 'id="capacity-large-meeting"' in page.html
    assert page.text.count("Large Meeting 1000: 1 free.") == 2


async def test_a_user_who_waits_may_stop_waiting(admin: Visitor) -> None:
    """The page of the user says for what and since when."""
    await imported(admin.world, large500=0)
    number = await number_of(admin, ANN)
    page = await done(admin, "assign", ANN, sku=LARGE, capacity="500", user=number)
    assert "Waiting for a license 500, since" in page.text
    assert "Stop waiting" in page.text
    await done(admin, "unassign", ANN, sku=LARGE, user=number)
    assert (await pool(admin.world, Sku.LARGE_MEETING, 500)).waiting == ()


@pytest.mark.parametrize("number", ["x", "0", "999999999", "1" * 40, "-1"])
async def test_a_number_of_nobody_is_not_found(admin: Visitor, number: str) -> None:
    """404, also for a user of another account."""
    for path in (number, f"{number}/remove"):
        page = await admin.get(f"/admin/{admin.world.account}/licenses/{path}")
        assert (page.status, page.name) == (404, "not-found")


async def test_a_user_of_another_account_is_not_found(admin: Visitor) -> None:
    """The number of a membership elsewhere opens nothing."""
    await admin.world.imported("other", users=[("boss@other.example", "owner")])
    store = admin.world.store.pages.licenses
    [boss] = await store.named("other", emails=["boss@other.example"])
    account = admin.world.account
    assert (await admin.get(f"/admin/{account}/licenses/{boss.number}")).status == 404
    assert await store.named(account, numbers=[boss.number]) == []


async def test_a_user_is_unlinked_after_the_page_has_said_what_it_means(admin: Visitor) -> None:
    """The licenses return; the user has a free account; the change names the admin."""
    await imported(admin.world)
    number = await number_of(admin, ANN)
    page = await admin.get(f"/admin/{admin.world.account}/licenses/{number}/remove")
    assert (page.status, page.name) == (200, "license-removal")
    assert "on a free account of their own" in page.text
    page = await done(admin, f"licenses/{number}/unlink")
    assert f"{ANN} was unlinked" in page.text
    assert ANN not in page.all("data-user")
    assert pools(page) == {"workplace": 1}
    assert (await last_change(admin.world)) == (ADMIN, "remove-user --unlink")


async def last_change(world: World) -> tuple[str, str]:
    change = (await world.store.changes.listed(world.account))[-1]
    return change.by, change.action


async def test_deleting_a_user_must_be_confirmed(admin: Visitor) -> None:
    """422 without the check box, and nothing is deleted."""
    await imported(admin.world)
    number = await number_of(admin, BOB)
    page = await post(admin, f"licenses/{number}/delete")
    assert (page.status, page.name, page.error) == (422, "license-removal", "invalid_input")
    assert "Confirm that the data is deleted." in page.text
    assert BOB in (await listed(admin)).all("data-user")
    page = await done(admin, f"licenses/{number}/delete", confirm="1")
    assert f"{BOB} was deleted with all their data." in page.text
    assert BOB not in page.all("data-user")


@pytest.mark.parametrize("email", [OWNER, ADMIN])
async def test_the_owner_and_oneself_are_not_removed_here(admin: Visitor, email: str) -> None:
    """Neither is offered nor found."""
    number = await number_of(admin, email)
    path = f"/admin/{admin.world.account}/licenses/{number}"
    assert "Remove from the account" not in (await admin.get(path)).text
    assert (await admin.get(f"{path}/remove")).status == 404
    assert (await post(admin, f"licenses/{number}/unlink")).status == 404


# Others.


async def test_an_operator_acts_in_the_name_of_the_owner(world: World) -> None:
    """OPS-8: the journal and the changes name both."""
    await imported(world, large500=1)
    author = f"operator {OPERATOR} for {OWNER}"
    async with portal_of(world, operators=frozenset({OPERATOR})) as visitor:
        await session_of(visitor, OPERATOR)
        await done(visitor, "assign", ANN, sku=LARGE)
        assignment = await (await world.last_request()).result()
        assert assignment.journal[-1].by == author
        await done(visitor, "unassign", ANN, sku=LARGE)
        assert (await last_change(world))[0] == author
        number = await number_of(visitor, BOB)
        await done(visitor, f"licenses/{number}/unlink")
        assert (await last_change(world)) == (author, "remove-user --unlink")


@pytest.mark.parametrize("members", [{"plan": "free"}, {"suspended": True}])
async def test_an_account_that_is_not_paid_has_nothing_to_change(
    admin: Visitor, members: dict[str, Any]
) -> None:
    """The page shows no form for it; a request all the same is refused."""
    users: list[Any] = [(OWNER, "owner"), (ADMIN, "admin"), (ANN, "member", True)]
    await admin.world.imported(admin.world.account, users=users, licenses=2, **members)
    page = await listed(admin)
    assert "/assign" not in page.html
    assert "/unassign" not in page.html
    number = await number_of(admin, ANN)
    path = f"/admin/{admin.world.account}"
    page = await admin.get(f"{path}/licenses/{number}")
    assert "/assign" not in page.html
    token = re.search(r'name="csrf_token" value="(\w+)"', page.html)
    assert token
    for action in ("assign", "unassign"):
        page = await admin.post(f"{path}/{action}", csrf_token=token[1], email=ANN, sku="workplace")
        assert (page.status, page.error) == (409, "target_not_paid")


async def test_the_chosen_language_is_kept(admin: Visitor) -> None:
    """`?lang` on every link and form."""
    await imported(admin.world, large500=1)
    page = await listed(admin, "?lang=de")
    links = re.findall(r'(?:href|action|formaction)="(/admin/[^"]*)"', page.html)
    assert all("lang=de" in link or link.endswith("/licenses") for link in links)
    assert '<input type="hidden" name="lang" value="de">' in page.html


# In a browser.


@asynccontextmanager
async def opened(world: World, **options: Any) -> AsyncIterator[Page]:
    """Open the page of users as an admin, in Chromium."""
    session = await world.clients.sessions.open(ADMIN)
    async with chromium() as browser, reading(world, browser) as reader:
        context = await browser.new_context(**options)
        cookie = {"name": "seatflow_session", "value": session.cookie, "url": reader.address}
        await context.add_cookies([cookie])  # type: ignore[list-item]
        page = await context.new_page()
        await page.goto(f"{reader.address}/admin/{world.account}/licenses")
        yield page
        await context.close()


async def test_licenses_are_changed_by_keyboard_alone(world: World) -> None:
    """WCAG 2.2 at both widths: select all, give, and read the result of each."""
    await imported(world, large500=1)
    async with opened(world, viewport={"width": 1120, "height": 900}) as page:
        await require_accessible(page)
        await page.locator("[data-select-all]").focus()
        await page.keyboard.press("Space")
        await page.locator("summary", has_text="Change licenses").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-selected]")).to_have_text("Selected: 7")
        await page.locator("#sku").select_option(LARGE)
        await require_accessible(page)
        await page.set_viewport_size({"width": PHONE, "height": 740})
        await require_accessible(page)
        await page.get_by_role("button", name="Give to the selected users").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-result=assigned]")).to_have_count(1)
        await expect(page.locator("[data-result=waiting]")).to_have_count(6)
        await require_accessible(page)
        await page.get_by_role("link", name="Edit Basil Basic").click()
        await expect(page.locator("main")).to_have_attribute("data-page", "license-user")
        await require_accessible(page)
        await page.get_by_role("link", name="Remove Basil Basic").click()
        await expect(page.locator("main")).to_have_attribute("data-page", "license-removal")
        await require_accessible(page)
