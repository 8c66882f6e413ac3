"""The timeline of one invitation: every state, every action, and what it never shows."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import Client

from domain.error import Unavailable
from domain.invitation import Choice, License, Person
from domain.refund import RefundState
from runtime.clients import Clients
from runtime.wiring import worker_for
from tests.eventually import eventually
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_invitee import a_free_owner
from tests.portal.test_sign_in import OPERATOR, csrf_of, portal_of, session_of
from tests.workflows.test_invitation_move import FailingServices, invite_owner_with_data
from tests.world import ADMIN, JANE, MEMBER, OWNER, World, a_paying_owner

TOM = "tom@example.com"
ROOM = "Secret room"


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


async def path_of(world: World, email: str = JANE) -> str:
    key = (await world.stored(email)).workflow_id.rpartition("/")[2]
    return f"/admin/{world.account}/invitations/{key}"


async def opened(visitor: Visitor, email: str = JANE) -> ReadPage:
    return await visitor.get(await path_of(visitor.world, email))


async def opened_by(world: World, email: str) -> ReadPage:
    async with portal_of(world) as visitor:
        await session_of(visitor, email)
        return await opened(visitor)


async def posted(visitor: Visitor, action: str, page: ReadPage, **fields: str) -> ReadPage:
    """Post a form of the page, by its address and with its token."""
    path = await path_of(visitor.world)
    return await visitor.post(f"{path}/{action}", **fields | {"csrf_token": csrf_of(page)})


def lit(page: ReadPage) -> set[str]:
    """Return the states that the drawings light."""
    return set(re.findall(r'class="node[^"]* lit" data-node="(\w+)"', page.html))


def actions(page: ReadPage) -> set[str]:
    """Return the forms of the page."""
    return set(re.findall(r'action="/admin/[^"]*/invitations/\w+/([\w-]+)"', page.html))


async def a_blocked_owner(world: World) -> None:
    """Invite Jane, whose account still has Tom and a room, and who has tried to join."""
    await world.imported(
        "jane-free",
        plan="free",
        users=[(JANE, "owner"), (TOM, "member")],
        rooms=[{"id": "room-77", "name": ROOM}],
    )
    await world.pending(JANE)
    with pytest.raises(Exception, match="lockers"):
        await world.client.accept(world.account, JANE)


# Each state.


async def pending(world: World) -> None:
    await world.pending(JANE)


async def announced(world: World) -> None:
    await world.client.invite(world.account, [Person(email=JANE)], ADMIN, heads_up_days=3)


async def refunding(world: World) -> None:
    await a_paying_owner(world)
    await world.client.accept(world.account, JANE, Choice.REFUND)
    await world.until(JANE, "refunding")


async def completed(world: World) -> None:
    await a_free_owner(world)
    await world.client.accept(world.account, JANE)


async def declined(world: World) -> None:
    await world.pending(JANE)
    await world.client.decline(world.account, JANE, "no <b>thanks</b> http://evil.example/")


async def revoked(world: World) -> None:
    await world.pending(JANE)
    await world.client.revoke(world.account, JANE, OWNER)


async def expired(world: World) -> None:
    await world.pending(JANE)
    await world.pass_time(JANE, timedelta(days=31))


async def undeliverable(world: World) -> None:
    world.smtp.unknown.add(JANE)
    await world.invite(JANE)


async def superseded(world: World) -> None:
    await world.imported("rival", users=[("boss@rival.example", "owner")])
    await world.pending(JANE)
    rival = replace(world, account="rival")
    await rival.client.invite("rival", [Person(email=JANE)], "boss@rival.example")
    await rival.until(JANE, "pending")
    await rival.client.accept("rival", JANE)


@pytest.mark.parametrize(
    ("arrange", "words", "possible"),
    [
        (announced, "The invitation e-mail goes out on", {"revoke"}),
        (pending, f"{JANE} joins or declines", {"revoke"}),
        (a_blocked_owner, "1 other person and 1 room are on their account", {"revoke", "recheck"}),
        (refunding, "The payment provider has to settle the refund", set()),
        (completed, "everything is done", set()),
        (declined, "no <b>thanks</b> http://evil.example/", set()),
        (revoked, f"It was revoked by {OWNER}", set()),
        (expired, "The time to answer ended without an answer", set()),
        (undeliverable, "Check the address", set()),
        (superseded, "has joined another account that had invited them too", set()),
    ],
)
async def test_each_state_says_what_it_waits_for_or_how_it_ended(
    admin: Visitor,
    arrange: Callable[[World], Awaitable[None]],
    words: str,
    possible: set[str],
) -> None:
    """The state is lit in the drawing, and only what is possible now is offered."""
    world, state = admin.world, arrange.__name__.replace("a_blocked_owner", "blocked")
    await arrange(world)
    await world.until(JANE, state)
    page = await opened(admin)
    assert (page.status, page.name, page.state) == (200, "timeline", state)
    assert words in page.text
    assert lit(page) == {state}
    assert actions(page) == possible
    events = [entry.event for entry in (await world.show(JANE)).journal]
    assert page.all("data-event") == events[::-1]
    assert ("data-live" in page.html) == (state in {"announced", "pending", "blocked", "refunding"})
    # Neither the link, nor anything that is one.
    assert "/i/" not in page.html
    assert "evil.example" not in re.sub(r"no &lt;b&gt;thanks&lt;/b&gt; \S+", "", page.html)


async def test_the_path_taken_is_marked(admin: Visitor) -> None:
    """The drawing shows where it came from; the text says the same."""
    await a_blocked_owner(admin.world)
    page = await opened(admin)
    visited = set(re.findall(r'class="node[^"]* visited" data-node="(\w+)"', page.html))
    taken = set(re.findall(r'class="line[^"]* taken" data-line="([\w-]+)"', page.html))
    assert visited == {"sent", "pending"}
    assert taken == {"sent-pending", "pending-blocked"}
    assert "So far: sent → pending → blocked ." in page.text
    assert "Possible next: pending, accepted, declined" in page.text


# Blocked.


async def test_the_items_of_the_invitees_account_are_never_shown(
    admin: Visitor, operator: Visitor
) -> None:
    """The contract: codes and counts, never the people, rooms or invoices."""
    world = admin.world
    await a_blocked_owner(world)
    for visitor in (admin, operator):
        page = await opened(visitor)
        refused = await posted(visitor, "resend", page)
        for each in (page, refused):
            assert each.attribute("data-blocker") == "1009"
            assert each.attribute("data-count") == "2"
            assert "Next automatic check" in each.text
            for leak in (TOM, ROOM, "room-77", "jane-free", "Jane-Free"):
                assert leak not in each.html


async def test_a_recheck_resumes_a_cleared_invitation(admin: Visitor) -> None:
    """BLK-4: at once, whatever the timers do."""
    world = admin.world
    await a_blocked_owner(world)
    page = await opened(admin)
    assert (await posted(admin, "recheck", page)).status == 303
    assert (await opened(admin)).state == "blocked"
    await world.remove_user("jane-free", TOM)
    await world.remove_room("jane-free", "room-77")
    await posted(admin, "recheck", page)
    await world.until(JANE, "pending")
    page = await opened(admin)
    assert page.state == "pending"
    assert "Nothing blocks any more" in page.text
    assert "recheck" not in actions(page)


@pytest.mark.parametrize(
    ("who", "author"), [(ADMIN, ADMIN), (OPERATOR, f"operator {OPERATOR} for {OWNER}")]
)
async def test_a_recheck_names_who_has_asked_for_it(
    world_without_worker: World, who: str, author: str
) -> None:
    """OPS-8: the journal does not name the invitee. Without the relay nothing else resumes it."""
    world = world_without_worker
    async with (
        worker_for(world.temporal.client, world.settings, world.store),
        portal_of(world, operators=frozenset({OPERATOR}), wait_seconds=45) as visitor,
    ):
        await session_of(visitor, who)
        await a_blocked_owner(world)
        page = await opened(visitor)
        await world.remove_user("jane-free", TOM)
        await world.remove_room("jane-free", "room-77")
        assert (await posted(visitor, "recheck", page)).status == 303
        entry = (await world.stored(JANE)).journal[-1]
        assert (entry.event, entry.by) == ("unblock", author)


# Actions.


async def test_a_new_link_can_be_sent_after_the_cool_down(admin: Visitor) -> None:
    """INV-9: before, the page says from when, and a request is answered by 429 with that."""
    world = admin.world
    first = await world.pending(JANE)
    page = await opened(admin)
    assert "A new link can be sent again from" in page.text
    assert "resend" not in actions(page)
    refused = await posted(admin, "resend", page)
    assert (refused.status, refused.name, refused.error) == (429, "timeline", "rate_limited")
    assert "A new link can be sent again from" in refused.text
    assert "<title>Error: " in refused.html
    await world.pass_time(JANE, timedelta(hours=2))
    # The clock of the workflow is known from the next message on.
    await world.client.recheck(world.account, JANE)
    page = await opened(admin)
    assert "resend" in actions(page)
    answer = await posted(admin, "resend", page, **page.form("resend"))
    assert (answer.status, answer.response.headers["location"]) == (303, await path_of(world))
    again = await world.show(JANE)
    assert (again.sent_count, again.journal[-1].by) == (first.sent_count + 1, ADMIN)
    assert "2 links so far" in (await opened(admin)).text


async def test_an_invitation_is_revoked_once(admin: Visitor) -> None:
    """INV-7: the reserved license becomes free; repeating it is refused with the end."""
    world = admin.world
    await world.pending(JANE, License.LICENSED)
    page = await opened(admin)
    assert "One base license is reserved" in page.text
    assert (await posted(admin, "revoke", page, **page.form("revoke"))).status == 303
    assert (await opened(admin)).state == "revoked"
    assert await world.free_seats() == 2
    refused = await posted(admin, "revoke", page)
    assert (refused.status, refused.error, refused.state) == (409, "revoked", "revoked")
    assert "nothing was changed" in refused.text


async def test_a_page_of_an_earlier_invitation_revokes_no_later_one(admin: Visitor) -> None:
    """INV-8: the form names the invitation that it was about; the page lists earlier ones."""
    world = admin.world
    await world.pending(JANE)
    page = await opened(admin)
    await world.client.decline(world.account, JANE, "not <i>now</i>")
    await world.pending(JANE)
    refused = await posted(admin, "revoke", page, **page.form("revoke"))
    assert (refused.status, refused.error, refused.state) == (409, "conflict", "pending")
    assert refused.all("data-ended") == ["declined"]
    assert "not &lt;i&gt;now&lt;/i&gt;" in refused.html
    assert (await world.show(JANE)).state == "pending"


async def test_failed_items_are_moved_again(world_without_worker: World) -> None:
    """TRF-1: the manifest says what was not moved; the record of changes names the admin."""
    world = world_without_worker.patient()
    services = FailingServices(world, for_good=True)
    async with world.working(services), portal_of(world) as visitor:
        await session_of(visitor, ADMIN)
        await invite_owner_with_data(world)
        await world.client.accept(world.account, JANE)
        await world.until(JANE, "completed")
        page = await opened(visitor)
        assert "3 recordings: not moved" in page.text
        assert page.all("data-status").count("failed") == 1
        assert "Some data was not moved" in page.text
        services.for_good = False
        assert (await posted(visitor, "retry-move", page)).status == 303
        page = await opened(visitor)
        assert "3 recordings: moved" in page.text
        assert "retry-move" not in actions(page)
        assert (await world.stored(JANE)).with_errors is False
        changes = await world.store.changes.listed(world.account)
        assert [each.by for each in changes if each.action == "retry-move"] == [ADMIN]


async def test_a_refund_is_shown_with_its_state_and_dates(admin: Visitor) -> None:
    """REF-1, REF-2: requested, then settled; nothing of the payment methods."""
    world = admin.world
    await refunding(world)
    page = await opened(admin)
    settlement = (await world.show(JANE)).settlement
    assert settlement
    assert settlement.refund_id
    assert page.attribute("data-total") == f"{settlement.amount.amount:f}"
    for words in ("chose a refund", "Between", settlement.refund_id):
        assert words in page.text
    assert "pay-1" not in page.html
    await world.clock.pass_time(f"refund/{settlement.refund_id}", timedelta(days=8))
    await world.refund_until(settlement.refund_id, RefundState.SETTLED)
    await world.until(JANE, "completed")
    assert "Refund settled" in (await opened(admin)).text


async def test_a_transfer_is_called_credited(admin: Visitor) -> None:
    """TXT-2: credited is never called refunded."""
    await a_paying_owner(admin.world)
    await admin.world.client.accept(admin.world.account, JANE, Choice.TRANSFER)
    await admin.world.until(JANE, "completed")
    page = await opened(admin)
    assert "was credited to" in page.text
    assert "refunded" not in page.text.lower()


async def test_the_name_in_another_directory_is_shown_after_joining_only(admin: Visitor) -> None:
    """Inviting an address does not tell whose it is."""
    await invite_owner_with_data(admin.world)
    assert "<h1>jane@example.com</h1>" in (await opened(admin)).html
    await admin.world.client.accept(admin.world.account, JANE)
    assert "<h1>Jane</h1>" in (await opened(admin)).html


# Operators.


async def test_an_operator_acts_in_the_name_of_the_owner(operator: Visitor) -> None:
    """OPS-8: the journal names both."""
    world = operator.world
    await world.pending(JANE)
    page = await opened(operator)
    assert actions(page) == {"revoke", "accept", "decline"}
    assert (await posted(operator, "revoke", page)).status == 303
    assert (await world.show(JANE)).journal[-1].by == f"operator {OPERATOR} for {OWNER}"
    assert f"operator {OPERATOR} for {OWNER}" in (await opened(operator)).text


async def test_an_operator_joins_for_the_invitee(operator: Visitor) -> None:
    """QUO-4: without a choice it is refused with the form; the journal names both."""
    world = operator.world
    await a_paying_owner(world)
    page = await opened(operator)
    refused = await posted(operator, "accept", page)
    assert (refused.status, refused.error) == (409, "choice_required")
    assert 'href="#choice"' in refused.html
    unknown = await posted(operator, "accept", page, choice="both")
    assert (unknown.status, unknown.error) == (422, "invalid_input")
    assert (await posted(operator, "accept", page, choice="transfer")).status == 303
    joined = await world.show(JANE)
    assert joined.choice is Choice.TRANSFER
    accepted = next(each for each in joined.journal if each.event == "accept")
    assert accepted.by == f"operator {OPERATOR} for {JANE}"


async def test_an_operator_declines_for_the_invitee(operator: Visitor) -> None:
    """INV-7: a reason that is too long is refused and kept in the form."""
    world = operator.world
    await world.pending(JANE)
    page = await opened(operator)
    long = "no " * 700
    refused = await posted(operator, "decline", page, reason=long)
    assert (refused.status, refused.error) == (422, "invalid_input")
    assert long.strip() in refused.html
    assert (await posted(operator, "decline", page, reason="called us")).status == 303
    end = (await world.show(JANE)).journal[-1]
    assert (end.by, end.note) == (f"operator {OPERATOR} for {JANE}", "called us")


async def test_an_admin_does_not_answer_for_the_invitee(admin: Visitor) -> None:
    """The answer is the invitee's; for an admin there is no such address."""
    world = admin.world
    await world.pending(JANE)
    page = await opened(admin)
    for action in ("accept", "decline"):
        assert (await posted(admin, action, page)).status == 404
    assert (await world.show(JANE)).state == "pending"


# Other requests.


@pytest.mark.parametrize("key", ["x", JANE, "0" * 32, "%00", "a" * 32 + "%0A"])
async def test_an_unknown_invitation_has_no_page(admin: Visitor, key: str) -> None:
    """404, also for an address in place of the key, and for all forms."""
    await admin.world.pending(JANE)
    csrf = csrf_of(await opened(admin))
    path = f"/admin/{admin.world.account}/invitations/{key}"
    assert (await admin.get(path)).status == 404
    for action in ("resend", "revoke", "recheck", "retry-move"):
        assert (await admin.post(f"{path}/{action}", csrf_token=csrf)).status == 404


async def test_the_address_of_a_form_leads_to_the_page(admin: Visitor) -> None:
    """A GET changes nothing."""
    world = admin.world
    await world.pending(JANE)
    path = await path_of(world)
    before = await world.events(JANE)
    answer = await admin.get(f"{path}/revoke?lang=de")
    assert (answer.status, answer.response.headers["location"]) == (303, f"{path}?lang=de")
    await admin.get(path)
    assert await world.events(JANE) == before


async def test_members_and_other_accounts_see_nothing(admin: Visitor) -> None:
    """404 for a member; the key of another account's invitation is none here."""
    world = admin.world
    await world.pending(JANE)
    path = await path_of(world)
    await world.imported("other", users=[("boss@other.example", "owner")])
    await session_of(admin, "boss@other.example")
    assert (await admin.get(path)).status == 404
    assert (await admin.get(path.replace(world.account, "other"))).status == 404
    await session_of(admin, MEMBER)
    assert (await admin.get(path)).status == 404


async def test_without_temporal_the_store_answers_and_says_so(world: World) -> None:
    """The page stays readable; a request is answered by 503."""
    await world.pending(JANE)

    async def unreachable() -> Client:
        raise Unavailable("Temporal is not reachable.")

    path = await path_of(world)
    away = replace(world, clients=Clients(world.settings, world.store, unreachable))
    async with portal_of(away) as visitor:
        await session_of(visitor, ADMIN)
        page = await visitor.get(path)
        assert (page.status, page.state) == (200, "pending")
        assert "Temporal does not answer at the moment" in page.text
        assert "A new link can be sent again from" in page.text
        answer = await visitor.post(f"{path}/revoke", csrf_token=csrf_of(page))
        assert (answer.status, answer.error) == (503, "backend_unavailable")
    assert "Temporal does not answer" not in (await opened_by(world, ADMIN)).text


async def test_the_letters_to_the_invitee_are_listed(admin: Visitor) -> None:
    """Those that the mail server has accepted; not those to the inviter."""
    world = admin.world
    await a_blocked_owner(world)
    await world.mailed("blocked", JANE)
    await world.remove_user("jane-free", TOM)
    await world.remove_room("jane-free", "room-77")
    await world.until(JANE, "pending")
    await world.client.accept(world.account, JANE)
    await world.mailed("welcome", JANE)
    await world.mailed("accepted", ADMIN)

    async def listed() -> list[str]:
        return (await opened(admin)).all("data-letter")

    letters = await eventually(listed, until=lambda found: "welcome" in found)
    assert (
        {"invitation", "blocked", "welcome"}
        <= {*letters}
        <= {
            "invitation",
            "blocked",
            "unblocked",
            "welcome",
        }
    )


async def test_reminders_are_counted(admin: Visitor) -> None:
    """REM-1: sent, at most, and from when the next one is possible."""
    await admin.world.pending(JANE)
    page = await opened(admin)
    assert "0 of at most 3 sent" in page.text
    assert "The next one is possible from" in page.text
    stored = await admin.world.store.invitations.latest(admin.world.account, JANE)
    assert stored
    await admin.world.store.invitations.end_reminders(stored.invitation_id)

    async def unsubscribed() -> bool:
        return "has unsubscribed" in (await opened(admin)).text

    await eventually(unsubscribed)
