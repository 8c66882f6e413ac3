"""The page of an account's invitations, and inviting people on it."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from domain.batch import BatchRow
from domain.error import Refused
from domain.invitation import License, Person
from tests.eventually import eventually
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_sign_in import OPERATOR, STRANGER, csrf_of, portal_of, session_of
from tests.world import ADMIN, JANE, MEMBER, OWNER, World

TOM, ZOE = "tom@example.com", "zoe@example.com"
NEWS = "carla@new.example"


@pytest.fixture
async def admin(visitor: Visitor) -> AsyncIterator[Visitor]:
    await session_of(visitor, ADMIN)
    yield visitor


def home(visitor: Visitor) -> str:
    return f"/admin/{visitor.world.account}"


async def posted(visitor: Visitor, path: str, **form: str) -> ReadPage:
    token = csrf_of(await visitor.get(home(visitor)))
    return await visitor.post(f"{home(visitor)}{path}", csrf_token=token, **form)


async def confirmed(visitor: Visitor, **form: str) -> ReadPage:
    """Return the answer to the confirmation of a review."""
    review = await posted(visitor, "/invite", **form)
    assert (review.status, review.name) == (200, "invite-review")
    return await visitor.post(f"{home(visitor)}/invite/confirm", **review.form("invite/confirm"))


async def finished(visitor: Visitor, answer: ReadPage) -> ReadPage:
    """Follow the redirect to the progress, and wait for the end of the batch."""
    assert answer.status == 303
    path = urlsplit(answer.response.headers["location"]).path

    async def progress() -> ReadPage:
        return await visitor.get(path)

    return await eventually(progress, until=lambda page: page.state == "finished")


def rows_of(page: ReadPage) -> dict[str, str]:
    """Return the result of each row of a review or of a batch."""
    found = re.findall(r'data-row="([^"]*)" data-result="([^"]*)"', page.html)
    return dict(found)


def listed(page: ReadPage) -> list[str]:
    """Return the states of the listed invitations."""
    return re.findall(r'data-invitation="\w+" data-state="(\w+)"', page.html)


def counts(page: ReadPage) -> dict[str, str]:
    """Return the numbers of the filters."""
    chips = re.findall(r'data-filter="(\w+)">.*?<b>(.*?)</b>', page.html, re.DOTALL)
    return dict(chips)


# The list.


async def test_the_list_shows_live_invitations_and_filters_find_the_others(
    admin: Visitor,
) -> None:
    """INV-5: with counts; ended ones on request; a filter that is none is ignored."""
    world = admin.world
    await world.pending(JANE)
    await world.pending(TOM)
    await world.client.revoke(world.account, TOM, ADMIN)
    page = await admin.get(home(admin))
    assert (page.status, page.name, listed(page)) == (200, "invitations", ["pending"])
    assert counts(page) == {"live": "1", "pending": "1", "all": "2"}
    key = (await world.show(JANE)).workflow_id.rpartition("/")[2]
    assert f'href="{home(admin)}/invitations/{key}"' in page.html
    assert "The invitee’s answer" in page.text
    assert "base licenses are free." in page.text
    everything = await admin.get(f"{home(admin)}?all=1")
    assert listed(everything) == ["revoked", "pending"]
    both = await admin.get(f"{home(admin)}?state=revoked&state=pending&state=none")
    assert len(listed(both)) == 2
    assert listed(await admin.get(f"{home(admin)}?state=revoked")) == ["revoked"]
    assert listed(await admin.get(f"{home(admin)}?stale_days=0")) == ["pending"]
    assert listed(await admin.get(f"{home(admin)}?stale_days=3")) == []
    assert listed(await admin.get(f"{home(admin)}?stale_days=-1&state=x&next=x")) == ["pending"]
    found = await admin.get(f"{home(admin)}?q=JANE&all=1")
    assert (listed(found), counts(found)["all"]) == (["pending"], "1")
    nothing = await admin.get(f"{home(admin)}?q=%00nobody")
    assert (nothing.status, listed(nothing)) == (200, [])
    assert "No invitation of these has “nobody”" in nothing.text


async def test_a_blocked_invitation_shows_code_and_number_and_no_item(admin: Visitor) -> None:
    """BLK: an admin of the target does not see who is on the invitee's account."""
    world = admin.world
    users = [(JANE, "owner"), (TOM, "member"), (ZOE, "member")]
    await world.imported("jane-free", plan="free", users=users, rooms=[{"id": "r", "name": "Blue"}])
    await world.pending(JANE)
    with pytest.raises(Refused):
        await world.client.accept(world.account, JANE)
    page = await admin.get(f"{home(admin)}?state=blocked")
    assert "Blocked · 1009" in page.text
    assert "2 other people on their account, 1 room on their account" in page.text
    for secret in (TOM, ZOE, "Blue", "jane-free"):
        assert secret not in page.html


async def test_the_first_page_says_what_it_is_for_and_offers_the_form(admin: Visitor) -> None:
    """The empty state."""
    page = await admin.get(home(admin))
    assert "Nobody has been invited yet" in page.text
    assert '<details class="panel" id="invite" open>' in page.html
    assert "data-filter" not in page.html


async def test_a_long_list_has_pages_of_fifty(admin: Visitor) -> None:
    """The cursor leads to the rest, with the same filter; the first page is one click away."""
    world = admin.world
    people = [Person(email=f"p{number}@example.com") for number in range(53)]
    await world.client.invite(world.account, people, ADMIN)
    page = await admin.get(f"{home(admin)}?q=example")
    assert len(page.all("data-invitation")) == 50
    [further] = re.findall(r'href="([^"]*)" rel="next"', page.html)
    second = await admin.get(further.replace("&amp;", "&"))
    assert len(second.all("data-invitation")) == 3
    assert not set(page.all("data-invitation")) & set(second.all("data-invitation"))
    assert "First page" in second.text
    assert 'rel="next"' not in second.html


async def test_the_download_has_the_same_filter_and_no_formula(admin: Visitor) -> None:
    """A spreadsheet opens it as text."""
    world = admin.world
    evil = Person(email=JANE, name="=HYPERLINK(1)", license=License.LICENSED)
    await world.client.invite(world.account, [evil, Person(email=TOM)], ADMIN)
    await world.until(JANE, "pending")
    await world.client.revoke(world.account, TOM, ADMIN)
    answer = await admin.web.get(f"{home(admin)}/invitations.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    [row] = csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")))
    assert (row["email"], row["name"], row["state"]) == (JANE, "'=HYPERLINK(1)", "pending")
    assert row["license"] == "licensed"
    assert row["answer_by"].endswith("Z")
    everything = await admin.web.get(f"{home(admin)}/invitations.csv?all=1")
    assert len(everything.text.splitlines()) == 3


async def test_who_left_can_be_invited_again_from_the_list(admin: Visitor) -> None:
    """INV-8: with the same license, language and name, after the review."""
    world = admin.world
    person = Person(email=JANE, name="Jane, J.", license=License.LICENSED, locale="de")
    await world.client.invite(world.account, [person], ADMIN)
    await world.until(JANE, "pending")
    await world.client.revoke(world.account, JANE, ADMIN)
    page = await admin.get(f"{home(admin)}?state=revoked")
    assert "Invite again" in page.text
    [people] = re.findall(r'name="people" value="([^"]*)"', page.html)
    text = people.replace("&#34;", '"').replace("&#39;", "'")
    await finished(admin, await confirmed(admin, people=text))
    again = await world.store.invitations.latest(world.account, JANE)
    assert again is not None
    ordered = again.ordered
    assert (ordered.name, ordered.license, ordered.locale) == ("Jane, J.", License.LICENSED, "de")
    assert "Invite again" not in (await admin.get(f"{home(admin)}?all=1")).text


# Inviting.


async def test_nothing_is_sent_before_the_confirmation(admin: Visitor) -> None:
    """The review says what would become of each row; the confirmation does it."""
    world = admin.world
    await world.pending(JANE)
    people = f"{JANE}, {MEMBER}\n{NEWS};not-an-address\n\n{NEWS.upper()}"
    review = await posted(admin, "/invite", people=people, license="basic", note="Welcome <b>")
    assert (review.status, review.name, review.error) == (200, "invite-review", None)
    assert rows_of(review) == {
        JANE: "already_invited",
        MEMBER: "refused",
        NEWS: "invited",
        "not-an-address": "refused",
    }
    assert "Already a user of" in review.text
    assert "1 repeated address counts once." in review.text
    assert "Send 1 invitation" in review.text
    assert "Welcome &lt;b&gt;" in review.html
    assert len(await world.client.list(world.account)) == 1
    fields = review.form("invite/confirm")
    page = await finished(admin, await admin.post(f"{home(admin)}/invite/confirm", **fields))
    assert rows_of(page) == rows_of(review)
    assert (await world.until(NEWS, "pending")).invited_by == ADMIN
    mail = await world.mailed("invitation", NEWS)
    assert "Welcome <b>" in mail.text
    assert 'data-batch="web-' in (await admin.get(home(admin))).html


async def test_a_table_is_read_with_its_own_licenses_languages_and_names(admin: Visitor) -> None:
    """CSV, also as copied from a spreadsheet; a bad row does not affect the others."""
    world = admin.world
    table = f"Email\tname\tlicense\tlocale\n{NEWS}\tCarla\tlicensed\tde\n{TOM}\t\tgold\t\n"
    review = await posted(admin, "/invite", people=table, license="basic", locale="fr")
    assert rows_of(review) == {NEWS: "invited", TOM: "refused"}
    assert "row 3, license: unknown license gold" in review.text
    assert "1 base license is needed. 2 of " in review.text
    fields = review.form("invite/confirm")
    await finished(admin, await admin.post(f"{home(admin)}/invite/confirm", **fields))
    stored = await world.store.invitations.latest(world.account, NEWS)
    assert stored is not None
    assert (stored.ordered.name, stored.ordered.license) == ("Carla", License.LICENSED)
    assert stored.ordered.locale == "de"


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
async def test_lines_end_as_on_any_system(admin: Visitor, end: str) -> None:
    """In a list of addresses as in a table."""
    for lines in ([JANE, TOM], ["email", JANE, TOM]):
        review = await posted(admin, "/invite", people=end.join(lines))
        assert rows_of(review) == {JANE: "invited", TOM: "invited"}


async def test_recipients_as_a_mail_program_writes_them(admin: Visitor) -> None:
    """`Name <address>`: the name is kept."""
    await finished(admin, await confirmed(admin, people=f'"Carla New" <{NEWS}>; Tom <{TOM}>'))
    stored = await admin.world.store.invitations.latest(admin.world.account, NEWS)
    assert stored is not None
    assert stored.ordered.name == "Carla New"


async def test_too_few_seats_are_shown_before_anything_is_sent(admin: Visitor) -> None:
    """INV-15: the last seat goes to the person named first; the page leads to buying more."""
    review = await posted(admin, "/invite", people=f"{JANE}\n{TOM}\n{ZOE}", license="licensed")
    assert rows_of(review) == {JANE: "invited", TOM: "invited", ZOE: "refused"}
    assert review.all("data-code") == ["no_seats"]
    assert "3 base licenses are needed. 2 of " in review.text
    assert "Buy base licenses" in review.text


async def test_a_heads_up_and_a_note(admin: Visitor) -> None:
    """INV-17."""
    world = admin.world
    page = await confirmed(admin, people=NEWS, heads_up_days="2", note="See you")
    await finished(admin, page)
    assert (await world.until(NEWS, "announced")).goes_out_at is not None
    shown = await admin.get(home(admin))
    assert "Heads-up sent" in shown.text
    assert "The invitation goes out on" in shown.text


async def test_two_clicks_on_the_confirmation_are_one_batch(admin: Visitor) -> None:
    """The review has given it its id; the same id with other people is refused."""
    world = admin.world
    review = await posted(admin, "/invite", people=f"{JANE},{TOM}")
    fields, path = review.form("invite/confirm"), f"{home(admin)}/invite/confirm"
    answers = await asyncio.gather(*(admin.post(path, **fields) for _ in range(3)))
    assert len({each.response.headers["location"] for each in answers}) == 1
    assert rows_of(await finished(admin, answers[0])) == {JANE: "invited", TOM: "invited"}
    assert len(world.mails(event="invitation", to=JANE)) <= 1
    for changed in ({"people": ZOE}, {"batch": "spring"}, {"batch": ""}):
        refused = await admin.post(path, **{**fields, **changed})
        assert (refused.status, refused.error, refused.name) == (409, "conflict", "invitations")
        assert changed.get("people", JANE) in refused.html
    assert len(await world.client.list(world.account)) == 2


@pytest.mark.parametrize("days", ["-1", "1_0", "+1", "٣", "1.5", "366", "01", "soon"])
async def test_days_of_notice_are_a_whole_number(admin: Visitor, days: str) -> None:
    """422 with the field, the summary and everything that was entered."""
    form = {"people": JANE, "license": "licensed", "locale": "de", "note": "Hello"}
    page = await posted(admin, "/invite", heads_up_days=days, **form)
    assert (page.status, page.name, page.error) == (422, "invitations", "invalid_input")
    assert '<a href="#heads_up_days">Enter a whole number of days from 0 to 365.</a>' in page.html
    assert 'aria-describedby="heads_up_days-error heads_up_days-hint"' in page.html
    assert page.html.count('aria-invalid="true"') == 1
    assert f'value="{days}"' in page.html
    assert f">{JANE}</textarea>" in page.html
    assert ">Hello</textarea>" in page.html
    assert '<option value="licensed" selected>' in page.html
    assert '<option value="de" lang="de" selected>' in page.html
    assert "<title>Error:" in page.html


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"people": " \n, "}, "Enter at least one address."),
        ({"people": "email\n"}, "row 1: the file has no rows below the header"),
        ({"people": "email,colour\na@example.com,red"}, "row 1, colour: unknown column"),
        ({"people": "email\nb\ufffdb@example.com"}, "not UTF-8"),
        ({"people": "email\r"}, "row 1: the file has no rows below the header"),
        ({"people": JANE, "license": "gold"}, "Choose one of the licenses."),
        ({"people": JANE, "locale": "xx"}, "Choose one of the languages."),
        ({"people": JANE, "note": "x" * 501}, "Shorten the note to 500 characters."),
    ],
)
async def test_bad_input_is_explained_by_its_field(
    admin: Visitor, form: dict[str, str], words: str
) -> None:
    """422; nothing is sent, at the review as at the confirmation."""
    for path in ("/invite", "/invite/confirm"):
        page = await posted(admin, path, batch="web-" + "0" * 24, **form)
        assert (page.status, page.error) == (422, "invalid_input")
        assert words in page.text
    assert await admin.world.client.list(admin.world.account) == []


async def test_ten_thousand_people_are_reviewed_and_one_more_is_too_many(admin: Visitor) -> None:
    """The first hundred rows and all refused ones are shown; the rest are counted."""
    addresses = [f"person.number{number:05}@department.example.com" for number in range(10_000)]
    addresses[5_000] = "nobody"
    review = await posted(admin, "/invite", people="\n".join(addresses))
    assert review.status == 200
    assert "9,999 people will be invited." in review.text
    assert len(rows_of(review)) == 101
    assert rows_of(review)["nobody"] == "refused"
    assert "And 9,899 more people without a problem." in review.text
    refused = await posted(admin, "/invite", people="\n".join([*addresses, JANE]))
    assert (refused.status, refused.error) == (422, "invalid_input")
    assert "Enter at most 10,000 people at once." in refused.text
    for many in ("@," * 100_000, "email\n" + "x\n" * 100_000):
        refused = await posted(admin, "/invite", people=many)
        assert "Enter at most 10,000 people at once." in refused.text
    longer = await posted(admin, "/invite", people="x" * 5_000_000)
    assert longer.status == 413


async def test_a_running_batch_is_found_again(world_without_worker: World) -> None:
    """REM-3: the progress page follows it; the list leads to it, and nobody else does."""
    async with portal_of(world_without_worker) as visitor:
        await session_of(visitor, ADMIN)
        answer = await confirmed(visitor, people=f"{JANE},{MEMBER},{NEWS}")
        path = urlsplit(answer.response.headers["location"]).path
        page = await visitor.get(path)
        assert (page.status, page.name, page.state) == (200, "invite-progress", "running")
        assert f'data-live="{path}"' in page.html
        assert "0 of 3 done" in page.text
        assert rows_of(page) == dict.fromkeys((JANE, MEMBER, NEWS), "waiting")
        listing = await visitor.get(home(visitor))
        assert "Inviting people: 0 of 3 done." in listing.text
        assert f'href="{path}"' in listing.html
        assert listed(listing) == []
        async with world_without_worker.working():
            done = await finished(visitor, answer)
        assert rows_of(done) == {JANE: "invited", MEMBER: "refused", NEWS: "invited"}
        assert "data-live" not in done.html
        refused = await visitor.get(f"{path}?result=refused")
        assert rows_of(refused) == {MEMBER: "refused"}
        assert (await visitor.get(f"{home(visitor)}/invite/{'x' * 70}")).status == 404
        await world_without_worker.imported("rival", users=[("boss@rival.example", "owner")])
        await session_of(visitor, "boss@rival.example")
        other = await visitor.get(f"/admin/rival/invite/{path.rpartition('/')[2]}")
        assert (other.status, other.name) == (404, "not-found")


async def test_an_operator_invites_in_the_name_of_the_owner(world: World) -> None:
    """OPS-8: the journal names both."""
    async with portal_of(world, operators=frozenset({OPERATOR})) as visitor:
        await session_of(visitor, OPERATOR)
        await finished(visitor, await confirmed(visitor, people=NEWS))
    invitation = await world.until(NEWS, "pending")
    assert invitation.invited_by == OWNER
    assert invitation.journal[0].by == f"operator {OPERATOR} for {OWNER}"


async def test_an_account_that_cannot_invite_says_so_and_offers_no_form(admin: Visitor) -> None:
    """INV-1: suspended since the page was opened is 409, with what was entered."""
    world = admin.world
    await world.pending(JANE)
    await world.client.revoke(world.account, JANE, ADMIN)
    review = await posted(admin, "/invite", people=NEWS)
    await world.imported(world.account, suspended=True)
    page = await admin.get(f"{home(admin)}?all=1")
    assert "can’t invite people at the moment" in page.text
    assert '<form method="post" action="' + home(admin) not in page.html
    fields = review.form("invite/confirm")
    for path in ("/invite", "/invite/confirm"):
        refused = await admin.post(f"{home(admin)}{path}", **fields)
        assert (refused.status, refused.error) == (409, "target_not_paid")
        assert f">{NEWS}</textarea>" in refused.html
    assert (await world.store.invitations.latest(world.account, NEWS)) is None


@pytest.mark.parametrize("email", [MEMBER, STRANGER])
async def test_nobody_else_invites_or_sees_anything(visitor: Visitor, email: str) -> None:
    """404 as for an account that does not exist, before the body is read."""
    await session_of(visitor, email)
    for path in ("", "/invitations.csv", "/invite/web-x"):
        assert (await visitor.get(f"{home(visitor)}{path}")).status == 404
    for path in ("/invite", "/invite/confirm"):
        answer = await visitor.post(f"{home(visitor)}{path}", people=JANE)
        assert (answer.status, answer.name) == (404, "not-found")


async def test_the_forms_have_addresses_of_their_own(admin: Visitor) -> None:
    """A GET of a form, as after a reload, leads to the list."""
    for path in ("/invite", "/invite/confirm"):
        answer = await admin.get(f"{home(admin)}{path}?lang=de")
        assert answer.status == 303
        assert answer.response.headers["location"] == f"{home(admin)}?lang=de"
    stale = await admin.post(f"{home(admin)}/invite", people=JANE, csrf_token="x")
    assert (stale.status, stale.error) == (403, "not_authorized")


async def test_every_row_of_a_long_batch_can_be_reached(admin: Visitor) -> None:
    """Pages of fifty rows."""
    world = admin.world
    rows = [
        BatchRow(position=number, person=Person(email=f"p{number}@example.com"))
        for number in range(60)
    ]
    batch = await world.bulk.submit(world.account, rows, ADMIN)
    path = f"{home(admin)}/invite/{batch.batch_id}"
    first = await admin.get(path)
    [further] = re.findall(r'href="([^"]*)" rel="next"', first.html)
    second = await admin.get(further.replace("&amp;", "&"))
    assert (len(rows_of(first)), len(rows_of(second))) == (50, 10)
