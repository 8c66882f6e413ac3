"""Previews: offers, and notices of data, licenses and credit."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from domain.account import Account
from domain.invitation import License
from domain.money import Money, zero
from domain.policy import Policy
from domain.preview import (
    TransferOffer,
    TransferRefused,
    loss_notices,
    moving_credit_notices,
    moving_notices,
    preview,
    staying_credit_notices,
    staying_notices,
    transfer_offer,
)
from domain.quote import Quote, quote, terms_of
from tests.builders.source_account import OWNER, a_line, a_payment, a_source

PAID = a_line(
    date(2026, 4, 1),
    date(2026, 5, 1),
    [a_payment("30.00"), a_payment("30.00", "credit", id="pay-2")],
)
AMERICAN = a_source(id="acme", name="Acme", currency="USD")
EUROPEAN = a_source(id="acme", name="Acme")


def quoted(source: Account) -> Quote:
    at = datetime(2026, 4, 21, tzinfo=UTC)
    return quote(source, at, terms_of(Policy(), source))


def test_a_transfer_credits_the_whole_quote() -> None:
    """QUO-6: in the same currency."""
    whole = Money(amount=Decimal("20.00"), currency="EUR")
    assert transfer_offer(quoted(a_source(PAID)), EUROPEAN) == TransferOffer(
        amount=whole, to="acme"
    )


def test_a_refund_of_credit_alone_has_no_dates() -> None:
    """QUO-3: no payment method gets a refund."""
    paid = a_line(date(2026, 4, 1), date(2026, 5, 1), [a_payment("30.00", "credit")])
    window = date(2026, 4, 24), date(2026, 4, 28)
    offer = preview(quoted(a_source(paid)), window).refund
    assert offer
    assert (offer.amount, offer.arrives_between) == (zero("EUR"), None)


def test_a_quote_of_zero_has_no_offers() -> None:
    """QUO-4: there is nothing to choose."""
    window = date(2026, 4, 24), date(2026, 4, 28)
    shown = preview(quoted(a_source()), window, EUROPEAN)
    assert (shown.amount, shown.refund, shown.transfer) == (zero("EUR"), None, None)


def test_a_transfer_needs_the_same_currency() -> None:
    """QUO-6: otherwise it is refused with `currency_mismatch`."""
    refused = transfer_offer(quoted(a_source(PAID)), AMERICAN)
    assert refused == TransferRefused(refused="currency_mismatch")


def test_credit_stays_behind_in_another_currency() -> None:
    """QUO-3, QUO-6: the balance, and unused value that was paid from credit."""
    source = a_source(PAID, credit="5.50")
    [notice] = staying_credit_notices(source, AMERICAN, quoted(source))
    assert notice.item == "credit"
    assert notice.message == "Credit of 15.50 EUR, because Acme pays in USD."


def test_credit_moves_in_the_same_currency() -> None:
    """QUO-6: with either choice."""
    source = a_source(PAID, credit="5.50")
    assert staying_credit_notices(source, EUROPEAN, quoted(source)) == ()
    [notice] = moving_credit_notices(source, EUROPEAN, quoted(source))
    assert notice.message == "Credit of 15.50 EUR, to Acme."
    assert moving_credit_notices(source, AMERICAN, quoted(source)) == ()


def test_an_account_without_credit_has_no_notice_of_it() -> None:
    """QUO-6: a balance of zero is not listed."""
    assert staying_credit_notices(a_source(), AMERICAN, quoted(a_source())) == ()


def a_host(**theirs: Any) -> Account:
    """Return a paid account whose owner has data of every kind."""
    owner = {
        "email": OWNER,
        "role": "owner",
        "settings": {"waiting_room": True, "theme": "dark"},
        "meetings": [{"id": "801", "topic": "Standup", "starts_at": "2026-05-01T09:00:00Z"}],
        "webinars": [{"id": "901", "topic": "Launch", "starts_at": "2026-05-02T09:00:00Z"}],
        "recordings": 3,
        "contacts": 12,
        "chat_messages": 40,
        **theirs,
    }
    return a_source(users=[owner, {"email": "bob@example.com", "role": "member"}])


def by_item(notices: Any) -> dict[str, tuple[int | None, str]]:
    return {notice.item: (notice.count, notice.message) for notice in notices}


def test_all_data_that_moves_is_listed_with_its_count() -> None:
    """QUO-8, TRF-1, TRF-6: in the order of the manifest."""
    moves = by_item(moving_notices(a_host().user(OWNER), EUROPEAN))
    assert {item: count for item, (count, _) in moves.items()} == {
        "profile": 1,
        "meetings": 1,
        "webinars": 1,
        "recordings": 3,
        "chat_history": 40,
        "contacts": 12,
        "settings": 2,
    }
    assert "sign in as before" in moves["profile"][1]
    assert "admins of Acme cannot read it" in moves["chat_history"][1]


def test_empty_items_are_not_listed() -> None:
    """QUO-8: neither are those of a person without an account."""
    assert list(by_item(moving_notices(a_host().user("bob@example.com"), EUROPEAN))) == ["profile"]
    assert moving_notices(None, EUROPEAN) == ()


@pytest.mark.parametrize(
    ("vanity_url", "links_text"),
    [(None, "Their ids and join links stay."), ("acme", "Their ids stay; their join links change")],
)
def test_join_links_change_with_a_vanity_url(vanity_url: str | None, links_text: str) -> None:
    """TRF-5: the notice explains the old link, calendars and registration e-mails."""
    target = a_source(id="acme", name="Acme", vanity_url=vanity_url)
    moves = by_item(moving_notices(a_host().user(OWNER), target))
    for item in ("meetings", "webinars"):
        assert links_text in moves[item][1]


def test_settings_locked_by_the_target_are_listed() -> None:
    """TRF-2: only those that change."""
    locked = {"waiting_room": False, "theme": "dark", "captions": True}
    target = a_source(id="acme", name="Acme", locked_settings=locked)
    message = by_item(moving_notices(a_host().user(OWNER), target))["settings"][1]
    assert message.endswith("Acme locks these, which take its values: waiting_room.")
    unlocked = by_item(moving_notices(a_host().user(OWNER), EUROPEAN))["settings"][1]
    assert unlocked == "Your settings. None of them changes."


def test_licenses_and_reports_stay_behind() -> None:
    """TRF-3: an admin must assign new licenses; reports should be downloaded."""
    source = a_host(addons=[{"sku": "large-meeting", "capacity": 500}])
    stay = by_item(staying_notices(source, OWNER, EUROPEAN.name))
    assert stay["large_meeting_license"] == (
        1,
        "Your Large Meeting license for 500 participants: "
        "an admin of Acme must assign you a new one.",
    )
    assert stay["report_data"] == (
        None,
        "Usage reports of Solo: download what you need before you accept.",
    )
    assert staying_notices(None, OWNER, EUROPEAN.name) == ()


def test_add_ons_end_with_the_account_that_is_closed() -> None:
    """BLK-1, TRF-3: a plain member's account continues, and so do its add-ons."""
    period = date(2026, 4, 1), date(2026, 5, 1)
    lines = [
        a_line(*period, id="plan"),
        {**a_line(*period, id="w"), "kind": "addon", "product": "Webinar 500", "quantity": 2},
        {**a_line(*period, id="p"), "kind": "addon", "product": "Phone"},
    ]
    users = [{"email": OWNER, "role": "owner"}, {"email": "bob@example.com", "role": "member"}]
    source = a_source(*lines, users=users)
    stay = by_item(staying_notices(source, OWNER, EUROPEAN.name))
    assert stay["webinar_license"][0] == 2
    assert stay["webinar_license"][1].startswith("Webinar 500, which ends with Solo")
    assert stay["addon_subscription"][1].startswith("Phone, which ends with Solo")
    assert list(by_item(staying_notices(source, "bob@example.com", EUROPEAN.name))) == [
        "report_data"
    ]


def test_each_kind_of_license_that_stays_behind_is_named() -> None:
    """TRF-3, ASG-8: one notice for each license, with its kind and capacity."""
    addons = [{"sku": "webinar", "capacity": 10000}, {"capacity": 500}]
    stay = by_item(staying_notices(a_host(addons=addons), OWNER, EUROPEAN.name))
    assert list(stay) == ["large_meeting_license", "webinar_license", "report_data"]
    assert stay["webinar_license"] == (
        1,
        "Your webinar license for 10000 participants: an admin of Acme must assign you a new one.",
    )


LARGE = {"addons": [{"capacity": 1000}]}
WEBINAR = {"addons": [{"sku": "webinar", "capacity": 1000}]}


@pytest.mark.parametrize(
    ("theirs", "license", "lost"),
    [
        ({"licensed": True}, License.LICENSED, []),
        ({"licensed": False}, License.BASIC, []),
        (
            {"licensed": True},
            License.BASIC,
            ["cloud_recording", "long_meetings", "participants", "reports"],
        ),
        # The Large Meeting license does not move, so its capacity is lost either way.
        ({"licensed": True, **LARGE}, License.LICENSED, ["participants"]),
        (
            {"licensed": True, **LARGE},
            License.BASIC,
            ["cloud_recording", "long_meetings", "reports", "participants"],
        ),
        # ASG-8: a webinar license is lost beside the features of the base license.
        ({"licensed": True, **WEBINAR}, License.LICENSED, ["webinar_participants"]),
        (
            {"licensed": True, **WEBINAR},
            License.BASIC,
            ["cloud_recording", "long_meetings", "participants", "reports", "webinar_participants"],
        ),
    ],
)
def test_losses_are_listed_before_accepting(
    theirs: dict[str, Any], license: License, lost: list[str]
) -> None:
    """INV-16, TRF-3: for a person who is invited as basic."""
    assert list(by_item(loss_notices(a_host(**theirs), OWNER, license))) == lost


def test_large_meetings_are_counted() -> None:
    """TRF-3, ASG-3: they go back to 100 participants."""
    meetings = [
        {"id": str(n), "topic": "All hands", "starts_at": "2026-05-01T09:00:00Z", "capacity": n}
        for n in (100, 500, 1000)
    ]
    [lost] = loss_notices(a_host(meetings=meetings, **LARGE), OWNER, License.LICENSED)
    assert lost.count == 2


def test_large_webinars_are_counted() -> None:
    """TRF-3, ASG-8: meetings do not count."""
    events = [
        {"id": str(n), "topic": "Launch", "starts_at": "2026-05-01T09:00:00Z", "capacity": n}
        for n in (100, 500, 1000)
    ]
    host = a_host(webinars=events[:2], meetings=events, **WEBINAR)
    [lost] = loss_notices(host, OWNER, License.LICENSED)
    assert (lost.count, lost.message) == (
        1,
        "Webinars of more than 100 participants, until an admin assigns you a new webinar license.",
    )
