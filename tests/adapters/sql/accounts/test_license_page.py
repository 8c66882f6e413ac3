"""The page of users and licenses is read in a fixed number of statements."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event

from domain.error import ErrorCode, Refused
from domain.license import Sku
from domain.license_page import LISTED_WAITING, PageOfUsers
from domain.remedy import Removal
from domain.search import PAGE_SIZE
from tests.builders.account import NOON
from tests.builders.assignment import (
    BASE,
    LARGE,
    an_assignment_request,
    assign,
    crew_email,
    import_crew,
    pools,
)
from tests.builders.invitation import StoreScenario

ALL = PageOfUsers()


@contextmanager
def statements(scenario: StoreScenario) -> Iterator[list[str]]:
    """Yield the statements that this test executes."""
    executed: list[str] = []
    test = asyncio.current_task()

    def record(connection: object, cursor: object, statement: str, *_: object) -> None:
        if asyncio.current_task() is test:
            executed.append(statement)

    engine = scenario.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", record)


async def test_a_page_has_pools_users_and_who_waits(scenario: StoreScenario) -> None:
    """ASG-1, ASG-5: each user waits once, since the oldest request, with the present reason."""
    await import_crew(scenario, "ann", "bob", basic=["cleo"], pools=pools(c500=1))
    await assign(scenario, "ann", "bob", "cleo")
    again = an_assignment_request("bob", capacity=500)
    await scenario.store.assignments.assign(again, NOON + timedelta(days=1))
    page = await scenario.store.pages.licenses.page("crew", ALL)
    base, large = page.account.pools
    assert (base.key, base.bought, base.free, base.waiting) == ("workplace", 2, 0, 0)
    assert (large.key, large.assigned, large.free, large.waiting) == ("large-meeting-500", 1, 0, 2)
    waiting = [(user.email, user.wait.for_base_license) for user in large.first_waiting]
    assert waiting == [(crew_email("bob"), False), (crew_email("cleo"), True)]
    assert {user.wait.since for user in large.first_waiting} == {NOON}
    users = {user.email.partition("@")[0]: user for user in page.users}
    assert [*users] == ["ann", "bea", "bob", "cleo"]
    assert users["ann"].capacity_of(LARGE) == 500
    assert [wait.since for wait in users["bob"].waits_for(LARGE)] == [NOON]
    assert users["bob"].waits_for(Sku.WEBINAR) == ()
    assert (page.total, page.without_base_license, page.next_cursor) == (4, 2, None)


async def test_a_pool_that_was_never_bought_is_listed_while_users_wait(
    scenario: StoreScenario,
) -> None:
    """A user may wait for what the account does not have; it offers no capacity to give."""
    await import_crew(scenario, "ann", pools=pools(c500=1))
    await assign(scenario, "ann", capacity=3000)
    account = (await scenario.store.pages.licenses.page("crew", ALL)).account
    assert [pool.key for pool in account.of(LARGE)] == ["large-meeting-500", "large-meeting-3000"]
    assert account.sold(LARGE) == (500,)
    assert account.skus == (BASE, LARGE)


async def test_pages_have_every_user_once_by_as_many_statements(scenario: StoreScenario) -> None:
    """The cursor is a number; hundreds of waiting users are counted, the first are listed."""
    names = [f"user{number:03}" for number in range(120)]
    await import_crew(scenario, "ann", pools=pools(c500=1))
    with statements(scenario) as few:
        await scenario.store.pages.licenses.page("crew", ALL)
    await import_crew(scenario, "ann", basic=names, pools=pools(c500=1))
    await assign(scenario, *names[:100])
    seen: list[str] = []
    after: int | None = None
    while True:
        with statements(scenario) as many:
            page = await scenario.store.pages.licenses.page("crew", PageOfUsers(after=after))
        assert len(many) == len(few)
        assert len(page.users) <= PAGE_SIZE
        seen += [user.email for user in page.users]
        after = page.next_cursor
        if after is None:
            break
    assert seen == sorted({*map(crew_email, names), crew_email("ann"), crew_email("bea")})
    large = page.account.pools[1]
    assert (large.waiting, len(large.first_waiting)) == (100, LISTED_WAITING)


async def test_users_are_found_within_those_without_a_base_license(
    scenario: StoreScenario,
) -> None:
    """Both filters at once; the count of the chip is of all users."""
    await import_crew(scenario, "ann", basic=["annika", "cleo"])
    part = PageOfUsers(query="ANN", without_base_license=True)
    page = await scenario.store.pages.licenses.page("crew", part)
    assert [user.email for user in page.users] == [crew_email("annika")]
    assert (page.total, page.without_base_license) == (1, 3)


async def test_one_user_is_read_by_number_until_they_leave(scenario: StoreScenario) -> None:
    """`not_found` afterwards; the result of a change still names them."""
    await import_crew(scenario, "ann", pools=pools(c500=1))
    store = scenario.store.pages.licenses
    [named] = await store.named("crew", emails=[crew_email("ann"), "nobody@crew.example"])
    found = await store.user("crew", named.number)
    assert (found.user.email, found.meetings, found.webinars) == (crew_email("ann"), 1, 1)
    await scenario.store.remedies.remove_user("crew", crew_email("ann"), Removal.UNLINK, NOON)
    for account in ("crew", "acme"):
        with pytest.raises(Refused) as refused:
            await store.user(account, named.number)
        assert refused.value.code is ErrorCode.NOT_FOUND
    assert [user.email for user in await store.named("crew", numbers=[named.number])] == [
        crew_email("ann")
    ]
    assert await store.named("acme", numbers=[named.number]) == []
