"""The invitee's page over a real worker and store: statuses, answers and refusals."""

import logging
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Network
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import Request
from temporalio.client import Client

from domain.error import Unavailable
from domain.invitation import LINK_WAS_THE_PROOF, License, Person
from domain.journal import INVITEE, OPERATOR
from domain.refund import RefundState
from portal.app import portal
from portal.request import Proxies, TokenFilter
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.world import ADMIN, JANE, OWNER, World, a_paying_owner

TOM = "tom@example.com"


async def a_free_owner(world: World) -> None:
    """Invite Jane, who owns a free account with the name of a person."""
    await world.imported("jane-free", plan="free", users=[(JANE, "owner")])
    await world.pending(JANE)


# Before the answer.


async def test_a_person_with_a_free_account_reads_nothing_about_subscriptions(
    visitor: Visitor,
) -> None:
    """INV-16: the inviter, the license and the changes; no choice, no word about money."""
    await a_free_owner(visitor.world)
    page = await visitor.get(await visitor.link(JANE))
    assert (page.status, page.name, page.state) == (200, "invitation", "pending")
    assert ADMIN in page.text
    assert "basic user" in page.text
    assert "Jane-Free, closes when you join" in page.text
    assert "ubscription" not in page.text
    assert "refund" not in page.text.lower()
    assert page.all("data-line") == []
    assert 'name="choice"' not in page.html


async def test_a_person_without_an_account_is_invited_too(visitor: Visitor) -> None:
    """INV-16: empty sections are not shown."""
    await visitor.world.pending(TOM, License.LICENSED)
    page = await visitor.get(await visitor.link(TOM))
    assert page.status == 200
    assert "licensed user" in page.text
    assert "Moves with you" not in page.text
    assert "Stays behind" not in page.text


async def test_the_page_of_a_paying_owner_estimates_by_line(visitor: Visitor) -> None:
    """QUO-8: each line, the total, and two choices of which none is preselected."""
    await a_paying_owner(visitor.world)
    page = await visitor.get(await visitor.link(JANE))
    preview = await visitor.world.client.preview(visitor.world.account, JANE)
    assert preview.amount is not None
    assert page.all("data-line") == ["sub-1"]
    assert page.all("data-total") == [f"{preview.amount.amount:f}"]
    assert re.findall(r'name="choice" value="(\w+)"', page.html) == ["refund", "transfer"]
    assert " checked" not in page.html
    assert "None of it is paid out to you." in page.text


async def test_reading_the_page_changes_nothing(visitor: Visitor) -> None:
    """QUO-5: GET and HEAD of a mail scanner record no quote and write no history."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    before = await visitor.world.events(JANE)
    for action in ("", "/review", "/accept", "/decline", "/recheck", "/invite-members"):
        assert (await visitor.get(f"{path}{action}")).status in {200, 303, 404, 405}
        assert (await visitor.web.head(f"{path}{action}")).status_code in {200, 303, 404, 405}
    assert await visitor.world.events(JANE) == before
    page = await visitor.get(path)
    assert "Estimate for joining today" in page.text


async def test_an_estimate_is_of_the_later_clock(visitor: Visitor) -> None:
    """QUO-5: a workflow whose clock is ahead of the server's is not quoted in its past."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    now = (await visitor.get(path)).attribute("data-total")
    await visitor.world.pass_time(JANE, timedelta(days=10))
    await visitor.world.client.recheck(visitor.world.account, JANE)
    later = (await visitor.get(path)).attribute("data-total")
    assert now is not None
    assert later is not None
    assert Decimal(later) < Decimal(now)


async def test_the_review_records_the_quote_that_the_page_then_shows(visitor: Visitor) -> None:
    """QUO-5: the review page names the amount and until when it binds, and has one button."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    review = await visitor.post(f"{path}/review", choice="refund")
    assert (review.status, review.name) == (200, "review")
    assert "binding until" in review.text
    assert len(re.findall("<button(?! type)", review.html)) == 1
    amount = review.attribute("data-total")
    assert review.form("accept") == {"choice": "refund", "shown": f"{amount} EUR"}
    assert "binding until" in (await visitor.get(path)).text


async def test_a_review_without_the_choice_is_refused_and_keeps_the_page(
    visitor: Visitor,
) -> None:
    """QUO-4: an error summary links to the field, and the title begins with the error."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    refused = await visitor.post(f"{path}/review")
    assert (refused.status, refused.error) == (409, "choice_required")
    assert "<title>Error: " in refused.html
    assert 'href="#choice"' in refused.html
    unknown = await visitor.post(f"{path}/review", choice="both")
    assert (unknown.status, unknown.error) == (422, "invalid_input")
    accepted = await visitor.post(f"{path}/accept")
    assert (accepted.status, accepted.error) == (409, "choice_required")


async def test_another_currency_offers_a_refund_only(visitor: Visitor) -> None:
    """QUO-6: the page says why, and a transfer is refused."""
    await a_paying_owner(visitor.world, "USD")
    path = await visitor.link(JANE)
    page = await visitor.get(path)
    assert re.findall(r'name="choice" value="(\w+)"', page.html) == ["refund"]
    refused = await visitor.post(f"{path}/review", choice="transfer")
    assert (refused.status, refused.error) == (409, "currency_mismatch")


async def test_the_note_of_the_inviter_is_plain_text(visitor: Visitor) -> None:
    """TXT-4: its lines stay, and markup in it is text."""
    people = [Person(email=TOM)]
    note = "Hello Tom,\nsee <b>you</b> soon"
    await visitor.world.client.invite(visitor.world.account, people, ADMIN, note=note)
    await visitor.world.until(TOM, "pending")
    page = await visitor.get(await visitor.link(TOM))
    assert "Hello Tom,\nsee &lt;b&gt;you&lt;/b&gt; soon" in page.html


async def test_reminders_end_by_their_own_link(visitor: Visitor) -> None:
    """TXT-4: the link of a reminder is none of an invitation, and the other way round."""
    await a_free_owner(visitor.world)
    stored = await visitor.world.store.invitations.latest(visitor.world.account, JANE)
    assert stored is not None
    link = urlsplit(visitor.world.clients.signer.unsubscribe_link(stored.invitation_id)).path
    for following in (".", "/", "/)"):
        page = await visitor.get(f"{link}{following}")
        assert (page.status, page.name, page.state) == (200, "unsubscribe", "open")
    assert "has invited you to Acme" in page.text
    assert page.html.count("<button class") == 1
    assert not (await visitor.world.stored(JANE)).reminders_ended
    one_click = {"List-Unsubscribe": "One-Click"}
    assert (await visitor.web.post(link, data=one_click)).status_code == 200
    assert (await visitor.world.stored(JANE)).reminders_ended
    assert (await visitor.get(link)).state == "done"
    token = link.rpartition("/")[2]
    assert (await visitor.get(f"/i/{token}")).status == 404
    invitation = (await visitor.link(JANE)).rpartition("/")[2]
    assert (await visitor.get(f"/unsubscribe/{invitation}")).status == 404


# The answer.


async def test_a_double_click_joins_once(visitor: Visitor) -> None:
    """INV-10: each POST is answered by a redirect to the page, which is completed."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    assert (await visitor.post(f"{path}/review")).name == "review"
    answers = [await visitor.post(f"{path}/accept") for _ in range(2)]
    assert [answer.status for answer in answers] == [303, 303]
    assert answers[0].response.headers["location"] == path
    page = await visitor.get(path)
    assert (page.status, page.name) == (200, "invitation")
    assert "You have joined" in page.text
    invitation = await visitor.world.until(JANE, "completed")
    assert [entry.event for entry in invitation.journal].count("accept") == 1
    assert len(visitor.world.mails(event="accepted", to=ADMIN)) <= 1
    shown = await visitor.world.show(JANE)
    entry = next(each for each in shown.journal if each.event == "accept")
    # OPS-8: nobody was signed in.
    assert (entry.by, entry.note) == (INVITEE, LINK_WAS_THE_PROOF)


async def test_a_refund_is_followed_until_it_is_settled(visitor: Visitor) -> None:
    """REF-1: requested, with its dates."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    review = await visitor.post(f"{path}/review", choice="refund")
    assert (await visitor.post(f"{path}/accept", **review.form("accept"))).status == 303
    page = await visitor.get(path)
    assert "Refund requested" in page.text
    assert "Between" in page.text
    assert "data-live" in page.html
    other = await visitor.post(f"{path}/accept", choice="transfer")
    assert (other.status, other.error) == (409, "already_accepted")


async def test_a_transfer_is_credited_and_never_called_refunded(visitor: Visitor) -> None:
    """TXT-2: the credit of the account is named with its amount."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    review = await visitor.post(f"{path}/review", choice="transfer")
    assert (await visitor.post(f"{path}/accept", **review.form("accept"))).status == 303
    page = await visitor.get(path)
    assert "from your former account was credited to" in page.text
    assert "efund" not in page.text


async def test_credit_names_its_parts_and_its_use(visitor: Visitor) -> None:
    """CRD-3, QUO-6: unused time and balance; on an account with terms nothing is automatic."""
    world = visitor.world
    await a_paying_owner(world)
    await world.imported("jane-pro", plan="pro", users=[(JANE, "owner")], credit="15.00")
    await world.imported(
        world.account, users=[(OWNER, "owner"), (ADMIN, "admin")], collection="net_terms"
    )
    path = await visitor.link(JANE)
    assert "until it is applied to an open invoice there" in (await visitor.get(path)).text
    review = await visitor.post(f"{path}/review", choice="transfer")
    assert "Credit of €15.00 goes to" in review.text
    assert (await visitor.post(f"{path}/accept", **review.form("accept"))).status == 303
    page = await visitor.get(path)
    assert "€100.00 for unused time and €15.00 balance" in page.text
    assert "next invoices" not in page.text


async def test_an_expired_quote_shows_the_new_one_before_anything_is_done(
    visitor: Visitor,
) -> None:
    """QUO-5: the answer is the review page of the new quote, with what changed."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    first = await visitor.post(f"{path}/review", choice="refund")
    await visitor.world.pass_time(JANE, timedelta(days=10))
    second = await visitor.post(f"{path}/accept", **first.form("accept"))
    assert (second.status, second.name, second.error) == (409, "review", "quote_expired")
    assert second.attribute("data-total") != first.attribute("data-total")
    assert "It was €" in second.text
    assert (await visitor.world.show(JANE)).state == "pending"
    assert (await visitor.post(f"{path}/accept", **second.form("accept"))).status == 303


async def test_an_amount_that_another_tab_has_replaced_is_not_accepted(
    visitor: Visitor,
) -> None:
    """QUO-5: the amount of the page that was answered binds, or nothing is done."""
    await a_paying_owner(visitor.world)
    path = await visitor.link(JANE)
    old_tab = await visitor.post(f"{path}/review", choice="refund")
    await visitor.world.pass_time(JANE, timedelta(days=10))
    new_tab = await visitor.post(f"{path}/review", choice="refund")
    refused = await visitor.post(f"{path}/accept", **old_tab.form("accept"))
    assert (refused.status, refused.error) == (409, "quote_expired")
    assert refused.attribute("data-total") == new_tab.attribute("data-total")


async def test_a_decline_keeps_its_reason_and_has_one_effect(visitor: Visitor) -> None:
    """INV-7: 410 with what to do next; the second click changes nothing."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    long = await visitor.post(f"{path}/decline", reason="x" * 2001)
    assert (long.status, long.error) == (422, "invalid_input")
    assert "x" * 2001 in long.html
    for _ in range(2):
        answer = await visitor.post(f"{path}/decline", reason="I stay <here>")
        assert answer.status == 303
    page = await visitor.get(path)
    assert (page.status, page.name, page.state) == (410, "invitation", "declined")
    assert "I stay &lt;here&gt;" in page.html
    late = await visitor.post(f"{path}/accept")
    assert (late.status, late.error) == (409, "declined")


# Blockers.


async def a_blocked_owner(world: World) -> None:
    await world.imported(
        "jane-free",
        plan="free",
        users=[(JANE, "owner"), (TOM, "member")],
        rooms=[{"id": "room-1", "name": "Lilla"}],
        payment_methods=[{"id": "card-1", "kind": "card"}],
        invoices=[{"id": "inv-7", "amount_due": "19.90", "due_on": "2026-12-03"}],
    )
    await world.pending(JANE)


async def test_blockers_are_named_and_the_invitation_resumes_by_itself(visitor: Visitor) -> None:
    """BLK-4: a review records them; after the remedies the page offers to join again."""
    await a_blocked_owner(visitor.world)
    path = await visitor.link(JANE)
    page = await visitor.get(path)
    assert page.all("data-blocker") == ["1009", "outstanding_invoice"]
    assert "Room Lilla" in page.text
    assert "Invoice inv-7, €19.90, due 3 December 2026" in page.text
    refused = await visitor.post(f"{path}/review")
    assert (refused.status, refused.error, refused.state) == (409, "blocked", "blocked")
    assert "checks by itself" in refused.text
    await visitor.world.mailed("blocked", JANE)
    invoices = visitor.world.clients.invoices
    await invoices.pay("jane-free", "inv-7", by=OPERATOR, at=datetime.now(UTC))
    await visitor.world.remove_room("jane-free", "room-1")
    await visitor.world.remove_user("jane-free", TOM)
    assert (await visitor.post(f"{path}/recheck")).status == 303
    page = await visitor.get(path)
    assert (page.all("data-blocker"), page.state) == ([], "pending")


async def test_a_blocked_owner_brings_the_others_along(visitor: Visitor) -> None:
    """BLK-6: in the inviter's name, once, and the others are invited to the same account."""
    await a_blocked_owner(visitor.world)
    path = await visitor.link(JANE)
    assert "Invite the 1 to" in (await visitor.get(path)).text
    for _ in range(2):
        assert (await visitor.post(f"{path}/invite-members")).status == 303
    page = await visitor.get(path)
    assert f"{TOM} is invited too" in page.text
    assert "Everyone is invited." in page.text
    assert "Invite the" not in page.text
    invited = await visitor.world.until(TOM, "pending")
    assert invited.invited_by == ADMIN
    assert len(visitor.world.mails(event="invitation", to=TOM)) == 1


async def test_a_blocked_owner_of_a_paid_account_reads_the_estimate_too(
    visitor: Visitor,
) -> None:
    """QUO-8: blockers hide neither the amount nor the consequences."""
    await a_paying_owner(visitor.world)
    await visitor.world.imported(
        "jane-pro", plan="pro", users=[(JANE, "owner")], rooms=[{"id": "room-1", "name": "Lilla"}]
    )
    path = await visitor.link(JANE)
    page = await visitor.get(path)
    assert (page.all("data-blocker"), page.all("data-line")) == (["1009"], ["sub-1"])
    assert page.attribute("data-total")
    refused = await visitor.post(f"{path}/review", choice="refund")
    assert (refused.status, refused.error) == (409, "blocked")


# Links.


async def test_what_mail_programs_leave_behind_a_link_does_not_break_it(visitor: Visitor) -> None:
    """INV-13: a slash, a full stop, a bracket and a sign after the token."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    for following in ("/", ".", ")", ">", "%3E", ").", "/.", "/)"):
        assert (await visitor.get(f"{path}{following}")).status == 200


async def test_forged_links_and_unknown_paths_are_not_found(visitor: Visitor) -> None:
    """INV-13: nothing is said about what exists."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    for unknown in (f"{path[:-3]}abc", "/i/forged", "/i/", "/nothing", "/j/none", "/unsubscribe/x"):
        page = await visitor.get(unknown)
        assert (page.status, page.name) == (404, "not-found"), unknown
    assert (await visitor.post("/i/forged/accept")).status == 404


async def test_a_resent_link_replaces_the_first(visitor: Visitor) -> None:
    """INV-9: the page of the old link says so, and its forms do nothing."""
    await a_free_owner(visitor.world)
    old = await visitor.link(JANE)
    await visitor.world.pass_time(JANE, timedelta(hours=2))
    await visitor.world.client.resend(visitor.world.account, JANE, OWNER)
    page = await visitor.get(old)
    assert (page.status, page.name) == (410, "replaced")
    assert ADMIN in page.text
    assert "was sent again on" in page.text
    posted = await visitor.post(f"{old}/accept")
    assert (posted.status, posted.name) == (410, "replaced")
    assert (await visitor.get(await visitor.link(JANE))).status == 200


async def test_an_expired_and_a_revoked_invitation_say_what_to_do(visitor: Visitor) -> None:
    """INV-6, INV-7: the page names the end, its time, and the person to ask."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    await visitor.world.pass_time(JANE, timedelta(days=31))
    await visitor.world.until(JANE, "expired")
    page = await visitor.get(path)
    assert (page.status, page.state) == (410, "expired")
    assert ADMIN in page.text
    await visitor.world.pending(TOM)
    path = await visitor.link(TOM)
    await visitor.world.client.revoke(visitor.world.account, TOM, OWNER)
    page = await visitor.get(path)
    assert (page.status, page.state) == (410, "revoked")


async def test_a_superseded_invitation_names_the_joined_account(visitor: Visitor) -> None:
    """INV-14: two accounts invited the same person."""
    world = visitor.world
    other = f"{world.account}-2"
    await world.imported(other, users=[("boss@other.example", "owner")])
    await a_free_owner(world)
    path = await visitor.link(JANE)
    [row] = await world.client.invite(other, [Person(email=JANE)], "boss@other.example")
    assert row.result == "invited"
    [row] = await world.client.wait_until_sent([row])
    await world.client.accept(other, JANE)
    await world.until(JANE, "superseded")
    page = await visitor.get(path)
    assert (page.status, page.state) == (410, "superseded")
    assert other.title() in page.text
    await world.remove_user(other, JANE)
    assert other.title() in (await visitor.get(path)).text


# Protection.


async def test_a_request_of_another_site_is_refused(visitor: Visitor) -> None:
    """Origin and Sec-Fetch-Site: nothing is changed."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "null", "Host": ""},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = await visitor.post_with(f"{path}/decline", headers)
        assert answer.status == 403, headers
    assert (await visitor.world.show(JANE)).state == "pending"
    own = {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}
    assert (await visitor.post_with(f"{path}/decline", own)).status == 303


async def test_pages_have_strict_headers(visitor: Visitor) -> None:
    """No framing, no caching, no script or style of the page itself."""
    await a_free_owner(visitor.world)
    page = await visitor.get(await visitor.link(JANE))
    policy = page.response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.response.headers["referrer-policy"] == "same-origin"
    assert page.response.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|style=|<script(?! src)|\son\w+=", page.html)
    for asset in re.findall(r'(?:href|src)="(/static/[^"]*)"', page.html):
        assert (await visitor.web.get(asset)).status_code == 200


async def test_too_many_requests_are_refused_for_a_while(visitor: Visitor) -> None:
    """30 POSTs a minute for a link; reading is counted on its own."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    answers = [await visitor.post(f"{path}/recheck")]
    answers += [await visitor.post(f"{path}/accept", choice="neither") for _ in range(30)]
    assert [each.status for each in answers].index(429) == 30
    assert answers[-1].error == "rate_limited"
    assert int(answers[-1].response.headers["retry-after"]) <= 60
    assert (await visitor.get(path)).status == 200


# After the answer.


async def a_failed_refund(visitor: Visitor) -> str:
    """Accept with a refund that the provider refuses; return the path of the page."""
    world = visitor.world
    await a_paying_owner(world, refundable=False)
    methods = [{"id": "card-9", "kind": "card"}]
    await world.imported("jane-pro", plan="pro", payment_methods=methods)
    path = await visitor.link(JANE)
    review = await visitor.post(f"{path}/review", choice="refund")
    assert (await visitor.post(f"{path}/accept", **review.form("accept"))).status == 303
    await world.refund_until(await refund_of(world), RefundState.FAILED)
    return path


async def refund_of(world: World) -> str:
    settlement = (await world.show(JANE)).settlement
    assert settlement is not None
    assert settlement.refund_id is not None
    return settlement.refund_id


async def test_the_payee_converts_a_failed_refund_once(visitor: Visitor) -> None:
    """REF-4: into credit, in the payee's name; the second click changes nothing."""
    path = await a_failed_refund(visitor)
    page = await visitor.get(path)
    assert "Refund failed" in page.text
    assert "The money is not lost" in page.text
    for _ in range(2):
        assert (await visitor.post(f"{path}/refund/convert")).status == 303
    refund_id = await refund_of(visitor.world)
    refund = await visitor.world.refund_until(refund_id, RefundState.CONVERTED)
    [converted] = [entry for entry in refund.journal if entry.event == "convert"]
    assert converted.by == "invitee"
    assert "because the refund failed" in (await visitor.get(path)).text


async def test_the_payee_names_another_method(visitor: Visitor) -> None:
    """REF-4: one of the account's methods, and no other."""
    path = await a_failed_refund(visitor)
    assert 'value="card-9"' in (await visitor.get(path)).html
    refused = await visitor.post(f"{path}/refund/retry", method="card-of-somebody")
    assert (refused.status, refused.error) == (422, "invalid_input")
    assert (await visitor.post(f"{path}/refund/retry", method="card-9")).status == 303
    refund = await visitor.world.refunds.show(await refund_of(visitor.world))
    assert all(part.to_method == "card-9" for part in refund.parts)
    page = await visitor.get(path)
    assert "Refund failed" not in page.text
    assert "was requested again. We can’t name a day" in page.text
    assert "Between" not in page.text


async def test_each_amount_of_a_partly_failed_refund_is_named(visitor: Visitor) -> None:
    """TXT-2: the part that failed is credited, the other one still arrives."""
    world = visitor.world
    await a_paying_owner(world, refundable=False, bank=True)
    path = await visitor.link(JANE)
    review = await visitor.post(f"{path}/review", choice="refund")
    assert (await visitor.post(f"{path}/accept", **review.form("accept"))).status == 303
    refund_id = await refund_of(world)
    await world.refund_until(refund_id, RefundState.FAILED)
    page = await visitor.get(path)
    assert "€75.00 could not be returned" in page.text
    assert "Give €75.00 to" in page.text
    assert (await visitor.post(f"{path}/refund/convert")).status == 303
    page = await visitor.get(path)
    assert "€75.00 was credited to" in page.text
    assert "Refund arrives" in page.text
    await world.clock.pass_time(f"refund/{refund_id}", timedelta(days=8))
    await world.refund_until(refund_id, RefundState.SETTLED)
    page = await visitor.get(path)
    assert "The payment provider has confirmed €25.00." in page.text
    assert "€75.00 was credited to" in page.text


async def test_a_failed_refund_in_another_currency_names_who_helps(visitor: Visitor) -> None:
    """REF-4: neither credit nor another method is possible."""
    await a_paying_owner(visitor.world, "USD", refundable=False)
    path = await visitor.link(JANE)
    review = await visitor.post(f"{path}/review", choice="refund")
    assert (await visitor.post(f"{path}/accept", **review.form("accept"))).status == 303
    await visitor.world.refund_until(await refund_of(visitor.world), RefundState.FAILED)
    page = await visitor.get(path)
    assert "pays in another currency. Ask " in page.text
    assert "Choose how you want it" not in page.text


async def test_an_old_join_link_shows_the_new_one(visitor: Visitor) -> None:
    """TRF-5: on the host of the old link; a link that has not changed is not found."""
    world = visitor.world
    await world.imported(
        world.account, users=[(OWNER, "owner"), (ADMIN, "admin")], vanity_url="acme"
    )
    await world.imported("jane-free", plan="free", users=[(JANE, "owner")], vanity_url="jane")
    meeting = {"id": "m-1", "topic": "Weekly <b>", "starts_at": "2026-12-03T10:00:00Z"}
    user = {"email": JANE, "role": "owner", "meetings": [meeting]}
    await world.import_users("jane-free", [user])
    await world.pending(JANE)
    path = await visitor.link(JANE)
    page = await visitor.get(path)
    assert "https://jane.meet.example/j/m-1" in page.text
    assert "https://acme.meet.example/j/m-1" in page.text
    assert "Weekly &lt;b&gt;" in page.html
    assert (await visitor.get("/j/m-1")).status == 404
    assert (await visitor.post(f"{path}/accept")).status == 303
    await world.until(JANE, "completed")
    notice = await visitor.get("/j/m-1", host="jane.meet.example")
    assert (notice.status, notice.name) == (200, "old-link")
    assert "https://acme.meet.example/j/m-1" in notice.text
    assert (await visitor.get("/j/m-1.", host="jane.meet.example")).status == 200
    for other in ("acme.meet.example", "other.meet.example"):
        assert (await visitor.get("/j/m-1", host=other)).status == 404
    assert "New join links" in (await visitor.get(path)).text


# The person signed in, and backends that do not answer.


async def test_a_page_opens_only_for_the_person_signed_in(visitor: Visitor) -> None:
    """INV-13: `recipient_mismatch`; the header counts only from a trusted proxy."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)
    signed_in = {
        "trusted_user_header": "X-User",
        "trusted_proxies": (IPv4Network("192.0.2.0/24"),),
    }
    clients = visitor.world.clients
    app = portal(replace(clients, settings=clients.settings.model_copy(update=signed_in)))

    async def opened(peer: str, **headers: str) -> ReadPage:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://portal") as web:
            return ReadPage(await web.get(path, headers=named))

    assert (await opened("192.0.2.7", x_user="Jane@Example.com")).status == 200
    for page in (
        await opened("192.0.2.7", x_user=TOM),
        await opened("192.0.2.7"),
        await opened("198.51.100.1", x_user=JANE),
    ):
        assert (page.status, page.error) == (403, "recipient_mismatch")
        assert JANE not in page.text


async def test_without_a_worker_the_page_shows_the_record_of_the_store(
    visitor: Visitor,
) -> None:
    """The page reads; an answer is unavailable, and may be repeated."""
    await a_free_owner(visitor.world)
    path = await visitor.link(JANE)

    async def unreachable() -> Client:
        raise Unavailable("Temporal is unreachable.")

    app = portal(replace(visitor.world.clients, connect=unreachable))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost:8080"
    ) as web:
        page = ReadPage(await web.get(path))
        answer = ReadPage(await web.post(f"{path}/accept"))
    assert (page.status, page.state) == (200, "pending")
    assert (answer.status, answer.error) == (503, "backend_unavailable")
    assert answer.response.headers["retry-after"]


def test_tokens_are_masked_in_the_log_of_the_web_server(caplog: pytest.LogCaptureFixture) -> None:
    """Neither an invitation's token nor that of an unsubscription is logged."""
    log = logging.getLogger("seatflow.test")
    log.addFilter(TokenFilter())
    with caplog.at_level(logging.INFO, log.name):
        log.info('%s - "%s %s" %d', "192.0.2.1", "GET", "/i/secret.token/review?lang=de", 200)
        log.info("POST /unsubscribe/other-secret")
    assert "secret" not in caplog.text
    assert "/i/…/review" in caplog.text


async def test_a_changed_setting_has_the_name_that_people_know(visitor: Visitor) -> None:
    """TRF-2: old and new value in words, and who set it."""
    world = visitor.world
    locked = {"waiting_room": True, "custom_key": "b"}
    await world.imported(
        world.account,
        users=[(OWNER, "owner"), (ADMIN, "admin")],
        name="Acme Events",
        locked_settings=locked,
    )
    await world.imported("jane-free", plan="free", users=[(JANE, "owner")])
    own = {"waiting_room": False, "custom_key": "a"}
    await world.import_users("jane-free", [{"email": JANE, "role": "owner", "settings": own}])
    await world.pending(JANE)
    page = await visitor.get(await visitor.link(JANE))
    assert "Waiting room: before: off → on (set by Acme Events)" in page.text
    assert "waiting_room" not in page.text
    assert "Custom key: before: a → b" in page.text


async def test_blockers_link_to_a_deployments_own_pages(visitor: Visitor) -> None:
    """SEATFLOW_BILLING_URL, SEATFLOW_USERS_URL: with the id of the account to clear."""
    world = visitor.world
    await a_paying_owner(world)
    line = {
        "id": "sub-1",
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cycle": "annual",
        "period_start": "2026-09-01",
        "period_end": "2027-09-01",
        "cancellation_pending": True,
        "payments": [{"id": "pay-1", "method": "card", "amount": "150.00"}],
    }
    await world.imported(
        "jane-pro",
        plan="pro",
        users=[(JANE, "owner"), (TOM, "member")],
        subscriptions=[line],
    )
    urls = {
        "billing_url": "https://acme.example/billing/{account}",
        "users_url": "https://acme.example/users?of={account}",
    }
    clients = world.clients
    app = portal(replace(clients, settings=clients.settings.model_copy(update=urls)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost:8080"
    ) as web:
        page = ReadPage(await web.get(await visitor.link(JANE)))
    assert page.all("data-blocker") == ["1009", "cancellation_pending"]
    assert 'href="https://acme.example/billing/jane-pro"' in page.html
    assert 'href="https://acme.example/users?of=jane-pro"' in page.html
    assert "Reactivate the plan." in page.text


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_limits_count_the_client_behind_trusted_proxies(
    peer: str, forwarded: str, client: str
) -> None:
    """SEATFLOW_TRUSTED_PROXIES: what others write into X-Forwarded-For does not count."""
    scope = {
        "type": "http",
        "client": (peer, 1),
        "headers": [(b"x-forwarded-for", forwarded.encode())],
    }
    assert Proxies((IPv4Network("10.0.0.0/8"),)).client_of(Request(scope)) == client
