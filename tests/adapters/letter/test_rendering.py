"""Letters in every language, as HTML and as plain text (TXT-1 to TXT-3)."""

import re
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal, get_args

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape
from pydantic import JsonValue

from adapters.letter.language import CATALOGS, language_for
from adapters.letter.rendering import TEMPLATES, Help, render_letter
from domain.invitation import MAX_LISTED_ITEMS, Blocker, BlockerItem, License
from domain.letter import Letter
from domain.letter.attention import AttentionLetter
from domain.letter.base import Contact, Reader
from domain.letter.credit import PaidInvoice, TransferredLetter
from domain.letter.invitation import (
    AcceptedLetter,
    DeclinedLetter,
    Estimate,
    EstimatedLine,
    Hosted,
    LeftAccount,
    SupersededLetter,
    WelcomeLetter,
)
from domain.letter.sign_in import SignInLetter
from domain.manifest import Change, Item
from domain.money import Money
from domain.preview import BASE_LICENSE_FEATURES, Notice
from domain.text import one_line
from tests.builders.letter import (
    A_CASE,
    A_MOVE,
    AMOUNT,
    ARRIVES_BETWEEN,
    AT,
    LANGUAGES,
    LINK,
    LINKS,
    SETTINGS,
    SIGN_IN_LINK,
    a_blocked,
    a_credit,
    a_digest,
    a_heads_up,
    a_move,
    a_reader,
    a_reminder,
    all_blockers,
    an_invitation,
    an_unblocked,
    every_letter,
    items_that_stay,
    letters_of_licenses,
    letters_of_money,
    letters_of_orders,
    licenses_left,
)

PLACEHOLDER = re.compile(r"%\((\w+)\)[a-z]")


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def template_messages() -> dict[str, tuple[str, ...]]:
    """Return all forms of every message of the templates, by the first form."""
    found = extract_from_dir(TEMPLATES, method_map=[("**.j2", "jinja2")])
    forms = (message if isinstance(message, tuple) else (message,) for _, _, message, _, _ in found)
    return {form[0]: form for form in forms}


def catalogs() -> Iterator[tuple[str, Catalog]]:
    for language in LANGUAGES[1:]:
        with Path(CATALOGS, language, "letters.po").open("rb") as file:
            yield language, read_po(file, locale=language, abort_invalid=True)


def forms_of(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())


def placeholders(message: Message) -> tuple[set[str], list[set[str]]]:
    expected = set(PLACEHOLDER.findall(" ".join(forms_of(message.id))))
    return expected, [set(PLACEHOLDER.findall(form)) for form in forms_of(message.string)]


def test_every_event_has_a_letter_in_every_language() -> None:
    """TXT-1: HTML and plain text, in the reader's language."""
    events = {kind.model_fields["event"].default for kind in get_args(get_args(Letter)[0])}
    for language in LANGUAGES:
        letters = every_letter(a_reader(language))
        assert {letter.event for letter in letters} == events
        for rendered in map(render_letter, letters):
            assert rendered.language == language
            assert "Acme" in rendered.subject + rendered.text
            assert f'<html lang="{language}">' in rendered.html


def test_an_operator_without_an_account_signs_in_to_seatflow() -> None:
    """The e-mail names no account."""
    letter = SignInLetter(id="x", reader=a_reader("en"), link=SIGN_IN_LINK)
    rendered = render_letter(letter)
    assert "signs you in to Seatflow." in rendered.text
    assert "Seatflow for" not in rendered.html
    assert SIGN_IN_LINK in rendered.text


def test_every_language_has_every_message() -> None:
    """TXT-1: catalogs and templates have the same messages."""
    messages = template_messages()
    assert messages
    for language, catalog in catalogs():
        translated = {forms_of(message.id)[0] for message in catalog if message.id}
        assert translated == set(messages), language


def test_no_translation_is_missing_fuzzy_or_obsolete() -> None:
    """TXT-1: each translation also passes the checks of gettext."""
    for language, catalog in catalogs():
        assert not catalog.obsolete, language
        for message in catalog:
            if message.id:
                assert not message.fuzzy, message.id
                assert message.string and all(forms_of(message.string)), message.id
                assert not list(message.check(catalog)), message.id


def test_a_translation_has_the_same_placeholders() -> None:
    """TXT-1: no amount, date or name is lost."""
    for _, catalog in catalogs():
        for message in catalog:
            expected, found = placeholders(message)
            # The singular may omit the number.
            assert all(expected - {"num"} <= form <= expected for form in found), message.id


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("de_CH", "de"),
        ("DE", "de"),
        ("sv-FI", "sv"),
        ("fr-CA", "fr"),
        ("nl-BE", "nl"),
        ("en-GB", "en"),
        ("tlh", "en"),
        ("xx", "en"),
        ("", "en"),
        ("../../de", "en"),
    ],
)
def test_a_reader_of_an_unknown_language_gets_english(locale: str, language: str) -> None:
    """TXT-1: a locale that is not a path into the catalogs."""
    assert language_for(locale).tag == language


@pytest.mark.parametrize(
    ("locale", "time_zone", "shown"),
    [
        ("de", "Europe/Berlin", "Mittwoch, 1. Juli 2026, 23:30 Uhr (MESZ)"),
        ("de-AT", "UTC", "Mittwoch, 1. Juli 2026, 21:30 Uhr (UTC)"),
        ("sv", "Europe/Stockholm", "onsdag 1 juli 2026 kl. 23:30 (CEST)"),
        ("fr", "Europe/Paris", "mercredi 1 juillet 2026, 23:30 (CEST)"),
        ("nl", "Europe/Amsterdam", "woensdag 1 juli 2026, 23:30 uur (CEST)"),
        ("pl", "Europe/Warsaw", "środa, 1 lipca 2026 23:30 (CEST)"),
        ("en", "Europe/Berlin", "Wednesday, 1 July 2026, 23:30 (CEST)"),
        ("en-US", "America/New_York", "Wednesday, July 1, 2026, 5:30"),
        ("en-GB", "Asia/Tokyo", "Thursday, 2 July 2026, 06:30 (JST)"),
    ],
)
def test_a_time_is_in_the_reader_s_zone_and_names_the_zone(
    locale: str, time_zone: str, shown: str
) -> None:
    """TXT-1: formatted by locale; the instant is that of the workflow."""
    rendered = render_letter(an_invitation(a_reader(locale, time_zone=time_zone)))
    assert shown in rendered.text
    assert shown in rendered.html


def test_an_invitation_states_the_consequences_of_accepting() -> None:
    """INV-16: inviter, account, license, deadline and losses."""
    rendered = render_letter(an_invitation(loses=BASE_LICENSE_FEATURES))
    assert rendered.subject == "You are invited to join Acme"
    for expected in (
        "Eve invites you to join the account Acme.",
        "as a basic user, without a license",
        "As a basic user you would lose:",
        "- cloud recording of your meetings",
        "Please answer by Wednesday, 1 July 2026",
        "If you decline or do nothing, nothing changes",
    ):
        assert expected in rendered.text
    assert "\nhttps://seatflow.example/i/token\n" in rendered.text
    assert "Decline the invitation: https://seatflow.example/i/token#reason" in rendered.text
    assert rendered.html.count("https://seatflow.example/i/token") == 4


def test_an_invitation_names_what_moves() -> None:
    """TRF-1: nothing about data for a person who has none."""
    assert "moves with you" not in render_letter(an_invitation()).text
    text = render_letter(an_invitation(moves=(Item.MEETINGS, Item.CONTACTS, Item.SETTINGS))).text
    assert "moves with you: your scheduled meetings, your contacts and your settings." in text


def test_no_subject_names_a_person() -> None:
    """TXT-1: no personal data in headers beyond the address."""
    for language in LANGUAGES:
        for letter in every_letter(a_reader(language)):
            subject = render_letter(letter).subject
            assert not any(name in subject for name in ("Ann", "Eve", "Bob", "@"))


def test_a_licensed_invitation_lists_no_losses() -> None:
    """INV-15: the license is reserved."""
    text = render_letter(an_invitation(license=License.LICENSED)).text
    assert "a license of the account is reserved for you" in text
    assert "would lose" not in text


def test_only_a_basic_user_loses_as_one() -> None:
    """INV-16: a licensed user may lose a larger capacity."""
    losses = BASE_LICENSE_FEATURES
    assert "As a basic user you would lose:" in render_letter(an_invitation(loses=losses)).text
    licensed = an_invitation(license=License.LICENSED, loses=losses)
    assert "\nYou would lose:\n" in render_letter(licensed).text


PAID = LeftAccount(name="Club", owned=True, products={"pro": "Pro", "lm": "Large Meeting 500"})
ESTIMATE = Estimate(
    lines=(
        EstimatedLine(product="Pro", amount=eur("100.00")),
        EstimatedLine(product="Large Meeting 500", amount=eur("42.09")),
    ),
    total=eur("142.09"),
    refund=eur("112.09"),
    arrives_between=ARRIVES_BETWEEN,
    transferable=True,
)


def test_an_owner_of_a_paid_account_reads_the_estimate_with_dates() -> None:
    """QUO-1, QUO-4: each line, the total, and both choices."""
    letter = an_invitation().model_copy(update={"left": PAID, "estimate": ESTIMATE})
    rendered = render_letter(letter)
    for expected in (
        "your account Club closes and its subscriptions end",
        "- Unused time of Pro: €100.00\n- Unused time of Large Meeting 500: €42.09\n"
        "- Unused time in all: €142.09\n",
        "You choose when you accept:\n- a refund of about €112.09 to the original payment methods, "
        "arriving between Wednesday, 25 November 2026 and Monday, 30 November 2026",
        "- about €142.09 as credit for the account Acme",
        "€30.00 of it cannot be returned to a payment method and becomes credit",
    ):
        assert expected in rendered.text
    assert rendered.html.count("€142.09") == 2
    no_choice = {"transferable": False, "refund": ESTIMATE.total}
    refund_only = ESTIMATE.model_copy(update=no_choice)
    text = render_letter(letter.model_copy(update={"estimate": refund_only})).text
    assert "When you accept you get:\n- a refund of about €142.09" in text
    assert "credit" not in text


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (None, None),
        (LeftAccount(name="Club", owned=True), "If you accept, your account Club closes."),
        (LeftAccount(name="Club", owned=False), "If you accept, you leave the account Club."),
    ],
)
def test_others_read_nothing_about_subscriptions(
    left: LeftAccount | None, expected: str | None
) -> None:
    """SRC-1 to SRC-3: owners of free accounts, members and people without an account."""
    text = render_letter(an_invitation().model_copy(update={"left": left})).text
    for word in ("subscription", "refund", "credit", "€"):
        assert word not in text
    assert (expected or "Please answer by") in text
    assert expected or "If you accept," not in text


def test_every_loss_is_translated() -> None:
    """TXT-1, INV-16: no English text of the domain in another language's letter."""
    for language in LANGUAGES[1:]:
        reader = a_reader(language)
        text = render_letter(an_invitation(reader, loses=BASE_LICENSE_FEATURES)).text
        assert not [loss for loss in BASE_LICENSE_FEATURES if loss.message in text], language


def test_an_unknown_loss_is_shown_with_its_own_message() -> None:
    """INV-16: a service may report losses that the templates do not know."""
    loss = Notice(item="parrot", message="Your parrot.")
    assert "- Your parrot.\n" in render_letter(an_invitation(loses=(loss,))).text


def test_a_name_is_shown_unchanged_and_never_becomes_markup() -> None:
    """TXT-3: names may hold any character."""
    rendered = render_letter(
        an_invitation(a_reader(name="<b>Ann</b>"), account="100%(x)s & {{ Co }}", inviter="E\r\nve")
    )
    assert rendered.text.startswith("Hello <b>Ann</b>,\n\nE ve invites")
    assert "100%(x)s & {{ Co }}" in rendered.text
    assert "Hello &lt;b&gt;Ann&lt;/b&gt;," in rendered.html
    assert "100%(x)s &amp; {{ Co }}" in rendered.html
    assert "<b>" not in rendered.html


class Tags(HTMLParser):
    """The tags and attributes of a page, without the titles that repeat a name."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.found.append((tag, [name for name, _ in attrs]))


WORDS = st.text(min_size=1, max_size=60) | st.text("<>&\"'={}%\r\n\0\x1b\u2028a/:", min_size=1)


@given(name=WORDS, account=WORDS, inviter=WORDS, note=WORDS)
@settings(deadline=None)
def test_no_name_and_no_note_adds_markup_or_lines(
    name: str, account: str, inviter: str, note: str
) -> None:
    """TXT-3: subject, headers, text and HTML of a letter with any words."""
    plain = render_letter(an_invitation(a_reader(name="Ann"), note="Hi"))
    rendered = render_letter(
        an_invitation(a_reader(name=name), account=account, inviter=inviter, note=note)
    )
    assert one_line(rendered.subject) == rendered.subject
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", rendered.text)
    shown, expected = Tags(rendered.html).found, Tags(plain.html).found
    assert {tag for tag, _ in shown} <= {tag for tag, _ in expected} | {"br"}
    assert {name for _, names in shown for name in names} <= {
        name for _, names in expected for name in names
    }


def test_every_letter_names_help_and_none_refuses_replies() -> None:
    """TXT-4: a person, the deployment's contact, or the operators; never the reader."""
    for letter in every_letter(a_reader()):
        text = render_letter(letter).text
        assert "do not reply" not in text
        assert "Questions?" not in text
        operated = render_letter(letter, Help(operators="ops@example.com")).text
        assert letter.event == "attention" or "\nQuestions? Write to ops@example.com." in operated
        own = render_letter(letter, Help(operators="ann@example.com")).text
        assert "Questions?" not in own
        helped = letter.model_copy(update={"contact": Contact(email="eve@acme.example")})
        assert letter.event == "attention" or "eve@acme.example" in render_letter(helped).text
        support = Help(support_contact="help@acme.example", reads_replies=True)
        assert "\nHelp with Seatflow: help@acme.example\n" in render_letter(letter, support).text


GUIDED = {
    "invitee": {"heads_up", "invitation", "reminder", "blocked"},
    "admin": {
        *("accepted", "declined", "expired", "undeliverable", "superseded", "digest"),
        *("credit_received", "licenses_left", "license_served", "sign_in"),
        *("order_review", "order_confirmed", "order_renewed"),
        *("order_payment_failed", "order_cancelled", "order_ended"),
    },
}
"""The letters that link each guide."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_letters_link_the_guide_of_their_reader(language: str) -> None:
    """The link is in the language of the letter, and is no second button."""
    portal = Help(public_url="https://seatflow.example/app/")
    for letter in every_letter(a_reader(language)):
        rendered, before = render_letter(letter, portal), render_letter(letter)
        guides = [guide for guide, events in GUIDED.items() if letter.event in events]
        address = "https://seatflow.example/app/guide/"
        expected = [f"{address}{guide}?lang={language}" for guide in guides]
        assert re.findall(r": (\S+/guide/\S+)", rendered.text) == expected, letter.event
        assert re.findall(r'href="(\S+/guide/\S+)"', rendered.html) == expected, letter.event
        buttons = rendered.html.count('class="button"')
        assert buttons == before.html.count('class="button"') <= 1
        assert len(rendered.html.encode()) < 100_000
        assert "\n\n\n" not in rendered.text


def test_a_reply_is_asked_for_only_where_somebody_reads_it() -> None:
    """SEATFLOW_MAIL_REPLY_TO: without it, replies to most letters are lost."""
    eve = {"contact": Contact(email="eve@acme.example", name="Eve")}
    invitation = an_invitation().model_copy(update=eve)
    assert "it goes to Eve (eve@acme.example)." in render_letter(invitation).text
    unblocked = an_unblocked(a_reader())
    assert "Reply to this e-mail" not in render_letter(unblocked).text
    assert "Reply to this e-mail." in render_letter(unblocked, Help(reads_replies=True)).text
    asked = unblocked.model_copy(update=eve)
    assert "Questions? Write to Eve (eve@acme.example)." in render_letter(asked).text


def test_a_reply_is_not_asked_for_where_it_would_not_reach_the_person() -> None:
    """INV-4: letters carry no Reply-To beyond ASCII."""
    joerg = {"contact": Contact(email="jörg@acme.example", name="Jörg")}
    text = render_letter(an_invitation().model_copy(update=joerg)).text
    assert "Questions? Write to Jörg (jörg@acme.example)." in text
    assert "Reply to this e-mail" not in text


@pytest.mark.parametrize(
    ("event", "commands"),
    [
        ("order_review", ("order confirm or-1",)),
        ("order_payment_failed", ("order cancel or-1",)),
        (
            "digest",
            (
                "resend acme EMAIL --by ann@example.com",
                "revoke acme EMAIL --by ann@example.com",
            ),
        ),
        (
            "licenses_left",
            (
                "assign acme large-meeting bob@example.com --capacity 500 --by ann@example.com",
                "assign acme webinar bob@example.com --capacity 1000 --by ann@example.com",
            ),
        ),
    ],
)
def test_a_letter_that_asks_for_an_action_names_the_command_and_the_operators(
    event: str, commands: tuple[str, ...]
) -> None:
    """TXT-4: these actions have no page."""
    letter = next(each for each in every_letter(a_reader()) if each.event == event)
    listed = "".join(f"- seatflow {command}\n" for command in commands)
    assert (
        f"Ask the operators of Seatflow to do this. They run:\n{listed}"
        in render_letter(letter).text
    )
    text = render_letter(letter, Help(operators="ops@example.com")).text
    assert (
        f"Ask the operators of Seatflow (ops@example.com) to do this. They run:\n{listed}" in text
    )
    text = render_letter(letter, Help("help@example.com", operators="ops@example.com")).text
    assert (
        f"Ask the operators of Seatflow (help@example.com) to do this. They run:\n{listed}" in text
    )


def test_only_credit_that_is_not_applied_automatically_names_a_command() -> None:
    """CRD-3: the credit is applied automatically; otherwise by an operator."""
    assert "operators" not in render_letter(a_credit(a_reader(), "autopay")).text
    text = render_letter(a_credit(a_reader(), "net_terms")).text
    assert "\n- seatflow credit apply acme INVOICE\n" in text


def test_html_is_small_and_loads_nothing() -> None:
    """TXT-1: below 100 KB, without scripts, images or files of other hosts."""
    for letter in every_letter(a_reader()):
        html = render_letter(letter).html
        assert len(html.encode()) < 100_000
        assert not re.search(r"<script|<img|<link|@import|url\(", html)


def test_the_first_sentence_is_the_preheader() -> None:
    """TXT-1: lists of e-mails show it beside the subject."""
    html = render_letter(an_invitation(inviter="Eve & Co")).html
    hidden = re.search(r'<div style="display: none;[^>]*>(.*?)</div>', html)
    assert hidden and hidden[1] == "Eve &amp; Co invites you to join the account Acme."


def test_a_reader_without_a_name_is_greeted_without_one() -> None:
    """TXT-3: names are optional."""
    assert render_letter(an_invitation(a_reader(name=None))).text.startswith("Hello,\n")


def test_a_new_join_link_has_the_topic_and_time_of_its_meeting() -> None:
    """TRF-5: the id only when the meeting was deleted meanwhile."""
    hosted = {"m-1": Hosted(topic="Weekly <b>", starts_at=AT)}
    rendered = render_letter(a_move(a_reader(), links=LINKS).model_copy(update={"hosted": hosted}))
    assert "\n- Weekly <b>, 1 Jul 2026, 21:30" in rendered.text
    assert "\nTime zone: UTC\n" in rendered.text
    assert "m-1: " not in rendered.text
    assert "\n- w-1: https://acme.meet.example/j/w-1" in rendered.text
    assert "<li>Weekly &lt;b&gt;, 1 Jul" in rendered.html


def test_new_join_links_are_clickable_only_with_a_known_scheme() -> None:
    """TRF-5, TXT-3: a link may come from another system."""
    html = render_letter(a_move(a_reader(), links=LINKS)).html
    assert '<a class="link" href="https://acme.meet.example/j/m-1"' in html
    bad = Change(name="m", old=None, new="javascript:alert(1)")
    assert "href" not in render_letter(a_move(a_reader(), links=(bad,))).html


def test_the_inviter_s_note_is_plain_text() -> None:
    """TXT-3: line breaks stay, markup is escaped, control characters become spaces."""
    note = "Hi Ann,\r\n\r\n\r\nas <b>discussed</b>:\tcall me.\x00\nEve\n"
    rendered = render_letter(an_invitation(note=note))
    assert "\nEve writes:\n> Hi Ann,\n> \n> as <b>discussed</b>: call me.\n> Eve\n" in rendered.text
    assert "as &lt;b&gt;discussed&lt;/b&gt;: call me.<br>\nEve\n</blockquote>" in rendered.html
    assert "writes:" not in render_letter(an_invitation()).text


def test_a_decline_without_a_reason_mentions_none() -> None:
    """INV-7: the inviter sees the reason, if there is one."""
    declined = DeclinedLetter(
        id="x", reader=a_reader(), account_name="Acme", invitee="bob@example.com", reason="no time"
    )
    assert "> no time\n" in render_letter(declined).text
    assert "reason" not in render_letter(declined.model_copy(update={"reason": None})).text


def test_omitted_parts_leave_no_gap() -> None:
    """TXT-1: at most one empty line in a row."""
    for letter in every_letter(a_reader()):
        assert "\n\n\n" not in render_letter(letter).text


@pytest.mark.parametrize(
    ("locale", "amount", "currency", "shown"),
    [
        ("en", "1108.83", "EUR", "€1,108.83"),
        ("en-GB", "9.00", "USD", "US$9.00"),
        ("de", "1108.83", "EUR", "1.108,83\N{NO-BREAK SPACE}€"),
        ("de-AT", "1108.83", "EUR", "€\N{NO-BREAK SPACE}1.108,83"),
        ("de", "5.125", "KWD", "5,125\N{NO-BREAK SPACE}KWD"),
        ("sv", "1108.83", "EUR", "1\N{NO-BREAK SPACE}108,83\N{NO-BREAK SPACE}€"),
        ("fr", "1108.83", "EUR", "1\N{NARROW NO-BREAK SPACE}108,83\N{NO-BREAK SPACE}€"),
        ("nl", "1108.83", "EUR", "€\N{NO-BREAK SPACE}1.108,83"),
        ("pl", "108.83", "EUR", "108,83\N{NO-BREAK SPACE}€"),
        ("en", "1083", "JPY", "¥1,083"),
        ("en", "1499.90", "RSD", "RSD\N{NO-BREAK SPACE}1,499.90"),
        ("de", "1499.90", "RSD", "1.499,90\N{NO-BREAK SPACE}RSD"),
        ("en", "1499.905", "IQD", "IQD\N{NO-BREAK SPACE}1,499.905"),
        ("xx", "0.10", "EUR", "€0.10"),
    ],
)
def test_an_amount_is_shown_to_the_minor_unit_with_its_currency(
    locale: str, amount: str, currency: str, shown: str
) -> None:
    """TXT-1: formatted by locale; the amount is that of the workflow."""
    for letter in letters_of_money(
        a_reader(locale), Money(amount=Decimal(amount), currency=currency)
    ).values():
        rendered = render_letter(letter)
        assert shown in rendered.text
        assert shown in rendered.html


@pytest.mark.parametrize(
    ("locale", "between"),
    [
        ("en", "between Wednesday, 25 November 2026 and Monday, 30 November 2026"),
        ("de", "zwischen Mittwoch, 25. November 2026 und Montag, 30. November 2026"),
        ("sv", "tidigast onsdag 25 november 2026 och senast måndag 30 november 2026"),
        ("fr", "entre le mercredi 25 novembre 2026 et le lundi 30 novembre 2026"),
        ("nl", "tussen woensdag 25 november 2026 en maandag 30 november 2026"),
        ("pl", "środa, 25 listopada 2026 – poniedziałek, 30 listopada 2026"),
    ],
)
def test_a_refund_names_both_ends_of_the_arrival_window(locale: str, between: str) -> None:
    """REF-1: the dates of the workflow, independent of the reader's zone."""
    letters = letters_of_money(a_reader(locale, time_zone="Asia/Tokyo"))
    for event in ("refund_requested", "refund_overdue"):
        assert between in render_letter(letters[event]).text


def lower_case_text(event: str, language: str) -> str:
    rendered = render_letter(letters_of_money(a_reader(language))[event])
    return f"{rendered.subject}\n{rendered.text}\n{rendered.html}".casefold()


def test_a_credit_that_replaces_a_failed_refund_says_so() -> None:
    """TXT-2, REF-4: the credit itself is not called refunded."""
    assert "instead of a failed refund" in lower_case_text("refund_converted", "en")
    assert "fehlgeschlagenen rückerstattung" in lower_case_text("refund_converted", "de")
    assert "mislukte terugbetaling" in lower_case_text("refund_converted", "nl")
    assert "refunded" not in lower_case_text("refund_converted", "en")
    assert "erstattet" not in lower_case_text("refund_converted", "de")
    assert "misslyckad återbetalning" in lower_case_text("refund_converted", "sv")
    assert "återbetala" not in lower_case_text("refund_converted", "sv")
    assert "remplace un remboursement qui a échoué" in lower_case_text("refund_converted", "fr")
    assert "remboursé" not in lower_case_text("refund_converted", "fr")
    assert "terugbetaald" not in lower_case_text("refund_converted", "nl")


def test_a_credit_names_its_parts_its_source_and_the_paid_invoices() -> None:
    """CRD-2, CRD-3: unused time, balance, and the invoices that it has paid at once."""
    letter = TransferredLetter(
        id="x",
        reader=a_reader(),
        account_name="Acme",
        amount=eur("85.68"),
        balance=eur("15.00"),
        source="Club",
        invoices=(PaidInvoice(id="inv-7", amount=eur("19.90")),),
    )
    rendered = render_letter(letter)
    assert rendered.subject == "€85.68 from your former account was credited to Acme"
    assert (
        "€85.68 from Club was credited to the account Acme: €70.68 for unused time and €15.00 "
        "balance." in rendered.text
    )
    assert "already paid this invoice:\n- Invoice inv-7: €19.90\n" in rendered.text
    assert "None of it is paid out to you." in rendered.text
    balance = letter.model_copy(update={"balance": letter.amount})
    assert ": its credit balance." in render_letter(balance).text
    unused = letter.model_copy(update={"balance": None, "invoices": ()})
    assert ", for unused time." in render_letter(unused).text
    assert "already paid" not in render_letter(unused).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_name_with_a_full_stop_ends_a_sentence_with_one(language: str) -> None:
    """TXT-3: "Sp. z o.o." brings its own."""
    for letter in every_letter(a_reader(language)):
        named = letter.model_copy(update={"account_name": "Acme Sp. z o.o."})
        assert "o.o.." not in render_letter(named).text
        assert "o.o.." not in render_letter(named).html


@pytest.mark.parametrize("event", ["transferred", "credit_received"])
def test_a_credited_amount_is_never_called_refunded(event: str) -> None:
    """TXT-2: a credit is not a refund."""
    assert "credited" in lower_case_text(event, "en")
    assert "refund" not in lower_case_text(event, "en")
    assert "gutgeschrieben" in lower_case_text(event, "de")
    assert "erstatt" not in lower_case_text(event, "de")
    assert "lagts till som kredit" in lower_case_text(event, "sv")
    assert "återbetal" not in lower_case_text(event, "sv")
    assert "crédité de" in lower_case_text(event, "fr")
    assert "rembours" not in lower_case_text(event, "fr")
    assert "als tegoed bijgeschreven" in lower_case_text(event, "nl")
    assert "terugbeta" not in lower_case_text(event, "nl")
    assert "dopisan" in lower_case_text(event, "pl")
    assert "zwrot" not in lower_case_text(event, "pl")


@pytest.mark.parametrize(
    "event",
    ["refund_requested", "refund_overdue", "refund_failed", "refund_retried", "refund_closed"],
)
def test_a_requested_refund_is_never_called_paid(event: str) -> None:
    """TXT-2, REF-2: only the provider's confirmation makes it paid."""
    for word in ("paid", "refunded", "has arrived.", "settled"):
        assert word not in lower_case_text(event, "en").replace("says that it has arrived.", "")
    for word in ("bezahlt", "gezahlt", "erstattet", "überwiesen"):
        assert word not in lower_case_text(event, "de")
    for word in ("återbetala", "har betalats", "utbetal", "överför", "genomförd"):
        assert word not in lower_case_text(event, "sv")
    for word in ("payé", "versé", "remboursé", "effectué"):
        assert word not in lower_case_text(event, "fr")
    for word in ("betaald", "voltooid", "overgemaakt"):
        assert word not in lower_case_text(event, "nl")
    for word in ("opłacon", "zapłacon", "wypłacon", "zwrócon", "zrealizowan"):
        assert word not in lower_case_text(event, "pl")


def test_an_operator_reads_about_a_failed_refund_and_its_command() -> None:
    """REF-3, REF-4: in English, with no personal data but a masked address."""
    letter = AttentionLetter(
        id="x", reader=Reader(email="ops@example.com"), account_name="Acme", case=A_CASE
    )
    text = render_letter(letter).text
    assert "\n> 75.00 EUR to b…@example.com could not be returned: declined.\n" in text
    assert "\nseatflow refund show rf-1\n" in text


def test_an_operator_reads_about_failed_items_and_their_command() -> None:
    """TRF-1: the letter does not mention a refund."""
    letter = render_letter(
        AttentionLetter(
            id="x", reader=Reader(email="ops@example.com"), account_name="Acme", case=A_MOVE
        )
    )
    assert letter.subject == "Some data was not moved: Acme"
    assert "\n> Not moved for b…@example.com: recordings (3).\n" in letter.text
    assert "through the invitation invitation/acme/k." in letter.text
    assert "\nseatflow retry-move acme k\n" in letter.text
    assert "refund" not in letter.text


def test_a_late_refund_mentions_operators_only_if_they_are_notified() -> None:
    """REF-3, TXT-2: without SEATFLOW_OPERATORS_MAIL no operator is notified."""
    late = letters_of_money(a_reader())["refund_overdue"]
    assert "operators" not in render_letter(late).text
    notified = late.model_copy(update={"operators_know": True})
    assert "The operators of Seatflow have been notified." in render_letter(notified).text


def test_a_closed_refund_gives_the_operator_s_reason() -> None:
    """REF-4, TXT-2: this part is not returned; the rest of the refund continues."""
    closed = letters_of_money(a_reader())["refund_closed"]
    text = render_letter(closed).text
    assert "nothing more is done to return €1,108.83 to your payment method" in text
    assert "\n> sent by cheque\n" in text
    assert "rest of the refund" not in text
    in_part = closed.model_copy(update={"still_open": Money(amount=Decimal(9), currency="EUR")})
    assert "The rest of the refund, €9.00, is not affected." in render_letter(in_part).text


def test_a_retried_refund_names_no_arrival_date() -> None:
    """REF-4: the first arrival window has passed, and the provider names no other."""
    retried = letters_of_money(a_reader())["refund_retried"]
    text = render_letter(retried).text
    assert "to the original payment method" in text
    assert "cannot promise a day" in text
    assert "2026" not in text
    elsewhere = retried.model_copy(update={"to_another_method": True})
    assert "to another payment method" in render_letter(elsewhere).text


def test_no_letter_calls_a_quote_a_balance() -> None:
    """QUO-7: a quote is not an amount owed."""
    for event in letters_of_money(a_reader()):
        assert "balance" not in lower_case_text(event, "en")
        assert "saldo" not in lower_case_text(event, "de")
        assert "kontostand" not in lower_case_text(event, "de")
        assert "saldo" not in lower_case_text(event, "sv")
        assert "solde" not in lower_case_text(event, "fr")
        assert "saldo" not in lower_case_text(event, "nl")


def test_a_failed_refund_offers_a_choice_and_explains_how_to_make_it() -> None:
    """REF-4, REF-6: credit or another method; the membership stays."""
    letter = letters_of_money(a_reader())["refund_failed"]
    text = render_letter(letter).text
    assert "as credit of the account Acme" in text
    assert "you can name another payment method" in text
    assert f"Choose what happens to your refund:\n{LINK}\n" in text
    assert "You remain a user of the account Acme" in text


@pytest.mark.parametrize(
    ("collection", "used"),
    [
        ("autopay", "applied automatically to the next invoices"),
        ("net_terms", "apply it to an open invoice"),
    ],
)
def test_a_credit_letter_names_amount_origin_and_use(
    collection: Literal["autopay", "net_terms"], used: str
) -> None:
    """CRD-2, CRD-3: used automatically or applied to an invoice, by the type of collection."""
    text = render_letter(a_credit(a_reader(), collection)).text
    assert "Bob has joined the account Acme" in text
    assert "€1,108.83 was credited" in text
    assert used in text


def test_a_heads_up_announces_inviter_account_reason_and_date() -> None:
    """INV-17: a plain notice without a link."""
    rendered = render_letter(a_heads_up(a_reader()))
    assert rendered.subject == "You will be invited to join Acme"
    for expected in (
        "Eve is going to invite you to join the account Acme.",
        "get the invitation on Wednesday, 1 July 2026",
        "Why: Eve would like you to become a user of that account.",
        "Nothing changes for you unless you accept",
    ):
        assert expected in rendered.text
    assert "https://" not in rendered.text
    assert "23:30 Uhr (MESZ)" in (
        render_letter(a_heads_up(a_reader("de", time_zone="Europe/Berlin"))).text
    )


def test_a_managed_heads_up_does_not_announce_an_invitation_to_accept() -> None:
    """INV-17, INV-18: a managed person joins without accepting."""
    text = render_letter(a_heads_up(a_reader(), managed=True)).text
    assert "you join without being asked again" in text
    assert "Nothing changes for you unless" not in text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            (
                "Your account still has 2 other users:\n"
                "- Otto (user-0@club.example)\n- user-1@club.example\n\nDelete these users, ",
                "Your account still has 2 rooms:\n- Attic\n- room-1\n\nDelete these rooms.",
                "2 open invoices:\n- Invoice inv-0, €1,108.83, due Wednesday, 1 July 2026\n",
                "of 2 subscriptions of your account is pending:\n- Pro\n- Pro\n\nReactivate",
                "you get another e-mail",
                "by Wednesday, 1 July 2026",
            ),
        ),
        (
            "de",
            (
                "2 andere Mitglieder:\n- Otto (user-0@club.example)\n- user-1@club.example\n\n",
                "noch 2 Räume:\n- Attic\n- room-1\n\nLöschen Sie diese Räume.",
                "2 offene Rechnungen:\n- Rechnung inv-0, 1.108,83\N{NO-BREAK SPACE}€, fällig am ",
                "Für 2 Abonnements Ihres Kontos ist eine Kündigung vorgemerkt:\n- Pro\n- Pro\n",
                "erhalten Sie eine weitere E-Mail",
                "Mittwoch, 1. Juli 2026",
            ),
        ),
    ],
)
def test_a_blocked_letter_lists_every_blocker_with_items_and_remedy(
    language: str, expected: tuple[str, ...]
) -> None:
    """BLK-1 to BLK-4: all of them at once."""
    rendered = render_letter(a_blocked(a_reader(language), all_blockers()))
    for each in expected:
        assert each in rendered.text
    for blocker in all_blockers():
        assert all(item.shown_name in rendered.html for item in blocker.items)
        assert blocker.message not in rendered.text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            (
                "1 other user:",
                "Delete this user,",
                "has 1 room:",
                "Delete this room.",
                "1 open invoice:",
                "Pay this invoice.",
                "of 1 subscription of",
            ),
        ),
        (
            "de",
            (
                "gehört noch 1 anderes Mitglied:",
                "Löschen Sie dieses Mitglied,",
                "gehört noch 1 Raum:",
                "Löschen Sie diesen Raum.",
                "1 offene Rechnung:",
                "Bezahlen Sie diese Rechnung.",
                "1 Abonnement Ihres",
            ),
        ),
        (
            "sv",
            (
                "1 annan användare:",
                "Radera användaren,",
                "1 rum:",
                "Radera rummet.",
                "1 obetald faktura:",
                "Betala fakturan.",
                "1 prenumeration i",
            ),
        ),
        (
            "fr",
            (
                "1 autre utilisateur\N{NO-BREAK SPACE}:",
                "Supprimez cet utilisateur,",
                "encore 1 salle\N{NO-BREAK SPACE}:",
                "Supprimez cette salle.",
                "1 facture impayée\N{NO-BREAK SPACE}:",
                "Réglez cette facture.",
                "1 abonnement de",
            ),
        ),
        (
            "nl",
            (
                "heeft nog 1 ander lid:",
                "Verwijder dit lid of",
                "heeft nog 1 vergaderruimte:",
                "Verwijder deze vergaderruimte.",
                "1 openstaande factuur:",
                "Betaal deze factuur.",
                "Voor 1 abonnement van",
            ),
        ),
        (
            "pl",
            (
                "ma jeszcze 1 innego użytkownika:",
                "Usuń tego użytkownika,",
                "ma jeszcze 1 salę:",
                "Usuń tę salę.",
                "ma 1 zaległą fakturę:",
                "Opłać tę fakturę.",
                "z 1 subskrypcji:",
            ),
        ),
    ],
)
def test_blockers_use_singular_and_plural(language: str, expected: tuple[str, ...]) -> None:
    """TXT-1: in every language."""
    alone = all_blockers(users=1, rooms=1, invoices=1, cancelled=1)
    text = render_letter(a_blocked(a_reader(language), alone)).text
    for each in expected:
        assert each in text


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, ("2 innych użytkowników:", "2 sale:", "2 zaległe faktury:")),
        (5, ("5 innych użytkowników:", "5 sal:", "5 zaległych faktur:")),
        (12, ("12 innych użytkowników:", "12 sal:", "12 zaległych faktur:")),
        (22, ("22 innych użytkowników:", "22 sale:", "22 zaległe faktury:")),
    ],
)
def test_polish_has_two_plurals(count: int, expected: tuple[str, ...]) -> None:
    """TXT-1: by the last two digits."""
    many = all_blockers(users=count, rooms=count, invoices=count)
    text = render_letter(a_blocked(a_reader("pl"), many)).text
    assert all(each in text for each in expected)


def test_a_blocked_letter_explains_its_code_and_the_button_of_the_page() -> None:
    """BLK-4, BLK-6: the owner clears it, or invites the others along."""
    text = render_letter(a_blocked(a_reader(), all_blockers())).text
    assert "or bring them along: your page has a button for it." in text
    assert (
        "You can clear this as the owner of your account. Code 1009 means that others still use "
        "the account; support knows it by this number.\n" in text
    )
    assert "1009" not in render_letter(a_blocked(a_reader(), all_blockers(users=0, rooms=0))).text


def test_rooms_alone_are_listed_without_users() -> None:
    """BLK-1: code 1009 stands for users and rooms."""
    text = render_letter(a_blocked(a_reader(), all_blockers(users=0, invoices=0, cancelled=0))).text
    assert "2 rooms" in text
    assert "other user" not in text
    assert "invoice" not in text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            (
                "has 300 other users:\n- Otto (user-0@club.example)\n",
                "- user-49@club.example\n\nAnd 250 more.\n\nDelete these users,",
                "has 3 rooms.\n\nDelete these rooms.",
                "has 51 open invoices:",
                "And 1 more.\n\nPay these invoices.",
            ),
        ),
        (
            "de",
            (
                "- user-49@club.example\n\nUnd 250 weitere.\n\nLöschen Sie diese Mitglieder,",
                "gehören noch 3 Räume.\n\nLöschen Sie diese Räume.",
                "Und 1 weitere.\n\nBezahlen Sie diese Rechnungen.",
            ),
        ),
    ],
)
def test_a_blocked_letter_says_how_many_items_it_does_not_list(
    language: str, expected: tuple[str, ...]
) -> None:
    """OPS-7: the rooms come after the users, so that none of these is listed."""
    many = all_blockers(users=300, rooms=3, invoices=51, cancelled=60)
    rendered = render_letter(a_blocked(a_reader(language), many))
    for each in expected:
        assert each in rendered.text
    assert "user-50@club.example" not in rendered.html
    assert rendered.text.count("\n- Pro") == MAX_LISTED_ITEMS


def test_an_unknown_blocker_is_shown_with_its_own_message() -> None:
    """BLK-1: a new blocker needs no template before its letter can be sent."""
    blocker = Blocker.of(
        (
            BlockerItem(kind="parrot", id="polly\r\n2", amount=AMOUNT),
            BlockerItem(kind="parrot", id="jack"),
        ),
        code="parrot",
        message="Your parrot objects.",
        remedy="Feed the parrot.",
        cleared_by="the parrot's keeper",
    )
    text = render_letter(a_blocked(a_reader(), (blocker,))).text
    assert "Your parrot objects.\n- polly 2 (€1,108.83)\n- jack\n\nFeed the parrot.\n" in text
    assert "Who can clear it: the parrot's keeper." in text


@pytest.mark.parametrize(
    ("language", "still"),
    [
        ("en", "is paused until then"),
        ("de", "ruht bis dahin"),
        ("sv", "är pausad tills dess"),
        ("fr", "suspendu jusque-là"),
        ("nl", "staat tot die tijd stil"),
        ("pl", "jest zawieszony"),
    ],
)
def test_a_paused_deadline_is_not_named(language: str, still: str) -> None:
    """BLK-5: the deadline is known only after the blockers are cleared."""
    blockers = all_blockers(invoices=0)
    paused = render_letter(a_blocked(a_reader(language), blockers, expires_at=None)).text
    assert still in paused
    assert "2026" not in paused
    assert still not in render_letter(a_blocked(a_reader(language), all_blockers())).text


def test_a_digest_lists_fifty_and_counts_the_rest() -> None:
    """REM-2: the e-mail stays readable with any number of invitations."""
    text = render_letter(a_digest(a_reader(), 60)).text
    assert "60 of your invitations to the account Acme have not been answered" in text
    assert ("jane49@example.com" in text, "jane50@example.com" in text) == (True, False)
    assert "And 10 more." in text
    assert text.count("Time zone: UTC\n") == 1
    assert "- jane0@example.com (last e-mail: 1 Jul 2026, 21:30; reminded just now)" in text


def test_a_reminder_holds_the_link_and_the_deadline() -> None:
    """REM-1: the invitee needs both to answer."""
    text = render_letter(a_reminder(a_reader())).text
    assert LINK in text
    assert "Please answer by" in text


def test_a_reminder_while_blocked_lists_remedies_and_links_to_the_page() -> None:
    """REM-1: the page checks again whether the blockers are cleared."""
    text = render_letter(a_reminder(a_reader(), all_blockers())).text
    assert f"See what prevents it and check again:\n{LINK}\n" in text
    assert "Your account still has" in text
    assert "is paused" in render_letter(a_reminder(a_reader(), all_blockers(), None)).text


def test_an_unblocked_letter_requests_the_acceptance() -> None:
    """BLK-4: clearing a blocker accepts nothing."""
    text = render_letter(an_unblocked(a_reader())).text
    assert "You have not joined yet" in text
    assert "\nhttps://seatflow.example/i/token\n" in text
    assert "by Wednesday, 1 July 2026" in text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            (
                "2 of your meetings and webinars have new join links. Their ids are the same:",
                "An old link shows a notice.",
                "calendars",
                "Registration e-mails that have gone out may have to be sent again.",
                "The account Acme locks 2 settings",
                "\n- Waiting room: off → on\n- Theme: dark → not set\n",
                "This could not be moved:\n- your profile\n- your scheduled meetings\n",
                "The operators of Seatflow know of it",
                "You sign in as before.",
            ),
        ),
        (
            "de",
            (
                "2 Ihrer Meetings und Webinare haben neue Teilnahmelinks. Die IDs sind dieselben:",
                "Ein alter Link zeigt einen Hinweis an.",
                "Kalender",
                "Registrierungs-E-Mails müssen vielleicht erneut versandt werden.",
                "Das Konto Acme gibt 2 Einstellungen fest vor",
                "\n- Warteraum: aus → ein\n- Design: dark → nicht gesetzt\n",
                "Dies konnte nicht übertragen werden:\n- Ihr Profil\n- Ihre geplanten Meetings\n",
                "Das Seatflow-Team weiß davon",
                "Sie melden sich an wie bisher.",
            ),
        ),
    ],
)
def test_a_move_letter_lists_links_settings_and_failed_items(
    language: str, expected: tuple[str, ...]
) -> None:
    """TRF-1, TRF-2, TRF-5, TRF-6: and states that the sign-in stays."""
    text = render_letter(
        a_move(a_reader(language), links=LINKS, settings=SETTINGS, failed=tuple(Item))
    ).text
    for each in (
        *expected,
        "\n- m-1: https://club.meet.example/j/m-1 → https://acme.meet.example/j/m-1\n"
        "- w-1: https://acme.meet.example/j/w-1\n",
    ):
        assert each in text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("has a new join link. Its id", "locks 1 setting that was")),
        ("de", ("hat einen neuen Teilnahmelink. Die ID ist", "gibt 1 Einstellung fest vor, die")),
        ("sv", ("har en ny anslutningslänk. Dess id är", "låser 1 inställning som var")),
        ("fr", ("a un nouveau lien de participation. L’identifiant", "impose 1 paramètre qui")),
        ("nl", ("heeft een nieuwe deelnamelink. Het ID", "vergrendelt 1 instelling die")),
        ("pl", ("ma nowy link do dołączenia. Identyfikator", "jest zablokowane 1 ustawienie,")),
    ],
)
def test_changes_use_singular_and_plural(language: str, expected: tuple[str, ...]) -> None:
    """TXT-1: in every language."""
    text = render_letter(a_move(a_reader(language), links=LINKS[:1], settings=SETTINGS[:1])).text
    for each in expected:
        assert each in text


@pytest.mark.parametrize(
    ("language", "more", "expected"),
    [
        ("en", 0, ()),
        ("en", 1, ("3 of your meetings", "1 more is not listed here. You find its new link")),
        ("en", 19_800, ("19800 more are not listed here. You find their new links",)),
        ("de", 1, ("3 Ihrer Meetings", "1 weiteres steht nicht in dieser Liste.")),
        ("de", 19_800, ("19800 weitere stehen nicht in dieser Liste.",)),
    ],
)
def test_a_move_letter_counts_the_links_that_it_does_not_list(
    language: str, more: int, expected: tuple[str, ...]
) -> None:
    """TRF-5, OPS-7: and says where they are."""
    text = render_letter(a_move(a_reader(language), links=LINKS, more_links=more)).text
    assert all(each in text for each in expected)
    assert ("not listed" in text or "nicht in dieser Liste" in text) == (more > 0)


def test_a_move_without_failures_mentions_none() -> None:
    """TRF-1: nor links when none has changed."""
    text = render_letter(a_move(a_reader(), settings=SETTINGS)).text
    assert "could not be moved" not in text
    assert "join link" not in text


def test_every_item_of_the_manifest_has_its_own_text() -> None:
    """TRF-1: in every language."""
    for language in LANGUAGES:
        expected = {render_letter(a_move(a_reader(language), failed=(item,))).text for item in Item}
        assert len(expected) == len(Item), language


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (15, "15"),
        (1.5, "1.5"),
        ("a\r\nb", "a b"),
        ("", '""'),
        (["ä", True], '["ä", true]'),
        ({"<b>": None}, '{"<b>": null}'),
    ],
)
def test_a_setting_of_any_type_is_shown_on_one_line(value: JsonValue, shown: str) -> None:
    """TXT-3: settings are JSON values of other systems."""
    change = Change(name="odd\nname", old=value, new=True, locked_by="acme")
    rendered = render_letter(a_move(a_reader(), settings=(change,)))
    assert f"\n- Odd name: {shown} → on\n" in rendered.text
    assert f"<li>Odd name: {escape(shown)} → on</li>" in rendered.html


@pytest.mark.parametrize(
    ("language", "expected", "one"),
    [
        (
            "en",
            "bob@example.com has joined the account Acme. 2 add-on licenses from before could not "
            "be taken along:\n- Large Meeting for 500 participants\n"
            "- Large Meeting for 1,000 participants\n",
            "1 add-on license from before",
        ),
        (
            "de",
            "2 Add-on-Lizenzen von vorher konnten nicht mitgenommen werden:\n"
            "- Large Meeting für 500 Teilnehmende\n- Large Meeting für 1.000 Teilnehmende\n",
            "1 Add-on-Lizenz von vorher konnte nicht",
        ),
    ],
)
def test_an_admin_reads_which_licenses_did_not_move(language: str, expected: str, one: str) -> None:
    """TRF-3: they can be assigned again from the account's own pools."""
    assert expected in render_letter(licenses_left(a_reader(language), 500, 1000)).text
    assert one in render_letter(licenses_left(a_reader(language), 500)).text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "- Large Meeting for 500 participants\n- Webinar for 10,000 participants\n"),
        ("de", "- Large Meeting für 500 Teilnehmende\n- Webinar für 10.000 Teilnehmende\n"),
        (
            "sv",
            "- Stora möten för 500 deltagare\n"
            "- Webbinarium för 10\N{NO-BREAK SPACE}000 deltagare\n",
        ),
        (
            "fr",
            "- Large Meeting pour 500 participants\n"
            "- Webinaire pour 10\N{NARROW NO-BREAK SPACE}000 participants\n",
        ),
        ("nl", "- Large Meeting voor 500 deelnemers\n- Webinar voor 10.000 deelnemers\n"),
    ],
)
def test_an_admin_reads_the_kind_of_each_license_that_did_not_move(
    language: str, expected: str
) -> None:
    """TRF-3, ASG-8: admins are notified of webinar licenses as of Large Meeting ones."""
    letter = licenses_left(a_reader(language), 500, webinars=(10000,))
    assert expected in render_letter(letter).text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            (
                "This does not move with you:\n- Large Meeting 500: ask an admin of Acme",
                "- 2 × Webinar 500: ask",
                "- Storage: ask",
                "download what you need before you accept",
            ),
        ),
        (
            "de",
            (
                "Das wird nicht übernommen:\n- Large Meeting 500: Bitten Sie einen Admin von Acme",
                "- 2 × Webinar 500: Bitten",
                "- Storage: Bitten",
                "Laden Sie vor der Annahme herunter, was Sie brauchen",
            ),
        ),
        ("sv", ("Det här följer inte med dig:\n- Stora möten 500: be",)),
    ],
)
def test_an_invitation_lists_the_items_that_do_not_move(
    language: str, expected: tuple[str, ...]
) -> None:
    """TRF-3: before the invitee accepts."""
    text = render_letter(an_invitation(a_reader(language), stays=items_that_stay())).text
    for each in expected:
        assert each in text
    assert not [notice for notice in items_that_stay() if notice.message in text]
    assert expected[0][:10] not in render_letter(an_invitation(a_reader(language))).text


def test_a_license_of_an_account_that_closes_ends_with_it() -> None:
    """TRF-3, SRC-2: an owner's licenses end."""
    letter = an_invitation(stays=items_that_stay()).model_copy(update={"left": PAID})
    assert (
        "- Large Meeting 500: ends with your account; ask an admin of Acme for a new one\n"
        in render_letter(letter).text
    )


def test_an_unknown_item_that_does_not_move_is_shown_with_its_own_message() -> None:
    """TRF-3: a service may report items that the templates do not know."""
    parrot = Notice(item="parrot", message="Your parrot.")
    assert "- Your parrot.\n" in render_letter(an_invitation(stays=(parrot,))).text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "without being asked"),
        ("de", "ohne Rückfrage"),
        ("sv", "utan att ha tillfrågats"),
        ("fr", "sans confirmation"),
        ("nl", "zonder dat je dat eerst is gevraagd"),
        ("pl", "bez pytania o zgodę"),
    ],
)
def test_a_managed_person_reads_that_they_joined_without_accepting(
    language: str, expected: str
) -> None:
    """INV-18: they are notified afterwards."""
    welcome = WelcomeLetter(
        id="x", reader=a_reader(language), account_name="Acme", license=License.BASIC
    )
    assert expected not in render_letter(welcome).text
    assert expected in render_letter(welcome.model_copy(update={"managed": True})).text


def test_a_managed_join_is_not_called_an_acceptance() -> None:
    """INV-18, TXT-2: the inviter's letter says joined, not accepted."""
    rendered = render_letter(
        AcceptedLetter(
            id="x",
            reader=a_reader(),
            account_name="Acme",
            invitee="bob@example.com",
            managed=True,
        )
    )
    assert "bob@example.com has joined the account Acme without being asked" in rendered.text
    assert "accepted" not in rendered.subject + rendered.text


def test_a_superseded_letter_says_that_another_account_was_first() -> None:
    """INV-14, SRC-4: a new invitation is possible after that account has unlinked the person."""
    superseded = SupersededLetter(
        id="x", reader=a_reader(), account_name="Acme", invitee="bob@example.com"
    )
    text = render_letter(superseded).text
    assert "bob@example.com has joined another account" in text
    assert "when the other account has unlinked them" in text


def an_order_letter(event: str, number: int = 0) -> str:
    """Return the plain text of the `number`th letter of that event."""
    found = [letter for letter in letters_of_orders(a_reader()) if letter.event == event]
    return render_letter(found[number]).text


@pytest.mark.parametrize(
    ("event", "number", "expected"),
    [
        ("order_review", 0, "Nothing has been ordered or charged yet"),
        ("order_confirmed", 0, "3 Large Meeting licenses (500 participants)"),
        ("order_renewed", 0, "will be charged for a year"),
        ("order_payment_failed", 0, "as soon as the payment has succeeded"),
        ("order_payment_failed", 1, "go on working"),
        ("order_cancelled", 1, "not confirmed in time"),
        ("order_cancelled", 4, "Wednesday, 25 November 2026"),
        ("order_ended", 2, "payment for its renewal was declined"),
        ("license_ended", 0, "room for 100 participants"),
        ("license_ended", 2, "Your webinars have room for 100 participants"),
        ("order_confirmed", 1, "3 webinar licenses (10,000 participants)"),
        ("order_confirmed", 2, "1 webinar license (10,000 participants)"),
    ],
)
def test_a_buyer_reads_the_state_of_the_order(event: str, number: int, expected: str) -> None:
    """ADD-3 to ADD-7: review, confirmation, renewal, declined payment and end."""
    assert expected in " ".join(an_order_letter(event, number).split())


def test_an_unpaid_order_is_never_called_paid() -> None:
    """TXT-2: neither in review nor after a declined payment."""
    for letter in letters_of_orders(a_reader()):
        if letter.event in {"order_review", "order_payment_failed"}:
            assert "paid" not in render_letter(letter).text


def test_a_license_letter_states_its_effect_on_meetings() -> None:
    """ASG-3: it also applies to scheduled meetings, which need no rescheduling."""
    letters = map(render_letter, letters_of_licenses(a_reader()))
    assigned, base, released, no_base, served, _, webinar, no_webinar, served_webinar = letters
    assert "scheduled ones included, now have room for 3,000 participants." in assigned.text
    assert "scheduled ones included, now have room for 100 participants." in released.text
    assert "you are a licensed user now" in base.text
    assert "you are a basic user now" in no_base.text
    assert "1 user has been given a license since:\n- bob@acme.example" in served.text
    assert "1 user has no such license now:\n- eve@acme.example" in served.text
    assert "All webinars that you host" in webinar.text
    assert "now have room for 10,000 participants." in webinar.text
    assert "meetings" not in webinar.text + no_webinar.text
    assert no_webinar.subject == "Your webinar license of Acme was taken back"
    assert "You asked for webinar licenses of the account Acme" in served_webinar.text
