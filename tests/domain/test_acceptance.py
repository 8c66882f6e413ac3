"""The decision on an acceptance: refusals in order, and accounts, settlements and moves."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.acceptance import (
    INVITER_GONE,
    AcceptanceFacts,
    Closing,
    TargetAccount,
    decide_acceptance,
)
from domain.account import Account, Role
from domain.business_day import BusinessCalendar
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, Invite, License
from domain.ledger import credit_of, prepaid_of
from domain.manifest import Item
from domain.membership import Membership
from domain.money import Money
from domain.quote import RecordedQuote, quote, terms_of
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after
from tests.builders.source_account import OWNER, a_line, a_payment, a_source, blockers_of

AT = datetime(2026, 4, 21, 10, tzinfo=UTC)
APRIL = date(2026, 4, 1), date(2026, 5, 1)
# On 21 April a third of the month is unused: 20.00 of 60.00.
CARD = a_payment("30.00", "card", id="card-1")
BANK = a_payment("15.00", "bank", id="bank-1")
CREDIT = a_payment("15.00", "credit", id="old-1")

Change = Callable[[AcceptanceFacts], AcceptanceFacts]


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def a_paid_source(*payments: dict[str, Any], **parts: Any) -> Account:
    line = a_line(*APRIL, payments or (CARD, BANK, CREDIT))
    return a_source(**{"subscriptions": [line], **parts})


def some_facts(source: Account | None = None, **changes: Any) -> AcceptanceFacts:
    """Return the facts of an acceptance that nothing refuses; by the owner of `source`, if any."""
    invite = Invite(
        invitation_id="i1", account="acme", key="k", email=OWNER, invited_by="adam@acme.example"
    )
    sent = initial_record(invite, run_id="r1", at=AT - timedelta(days=1))
    pending = after(InvitationMachine, sent, "deliver", at=AT - timedelta(hours=20), by="seatflow")
    facts = AcceptanceFacts(
        at=AT,
        carried_out_at=AT,
        invite=invite,
        accepted=after(InvitationMachine, pending, "accept", at=AT, by="invitee"),
        choice=None,
        shown=None,
        by_managed_domain=False,
        target=TargetAccount(
            id="acme",
            currency="EUR",
            paid=True,
            suspended=False,
            state="open",
            managed_domains=("example.com",),
        ),
        membership=Membership("solo", Role.OWNER, source.paid, False) if source else None,
        source=source,
        blockers=blockers_of(source) if source and source.owned_by(OWNER) else (),
        chat_messages=0,
        seat_reserved=False,
        free_seats=1,
        inviter_administers=True,
        calendar_of=lambda paid: BusinessCalendar(paid.time_zone, lambda day: day.weekday() > 4),
    )
    return replace(facts, **changes)


def a_member(*, paid: bool, follows_owner: bool = False) -> dict[str, Any]:
    """Return the facts of a plain member of `solo`, whose owner is not loaded."""
    user = {"email": OWNER, "role": "member", "recordings": 2}
    return {
        "membership": Membership("solo", Role.MEMBER, paid, follows_owner),
        "source": a_source(plan="pro" if paid else "free", users=[user]),
    }


def code_of(facts: AcceptanceFacts) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        decide_acceptance(facts)
    return refused.value.code


def closing_of(facts: AcceptanceFacts) -> Closing:
    closing = decide_acceptance(facts).closing
    assert closing
    return closing


def recorded(source: Account, at: datetime = AT - timedelta(hours=1)) -> RecordedQuote:
    shown = some_facts(source)
    return RecordedQuote(
        quote=quote(source, at, terms_of(shown.invite.policy, source)),
        valid_until=at + timedelta(hours=24),
    )


def with_target(**changes: Any) -> Change:
    return lambda facts: replace(facts, target=replace(facts.target, **changes))


def with_facts(**changes: Any) -> Change:
    return lambda facts: replace(facts, **changes)


# Refusals.

WORST = with_target(managed_domains=(), paid=False, currency="USD")(
    some_facts(
        a_paid_source(rooms=[{"id": "r1"}]),
        by_managed_domain=True,
        shown=recorded(a_paid_source(), AT - timedelta(hours=24)),
        free_seats=0,
        invite=some_facts().invite.model_copy(update={"license": License.LICENSED}),
    )
)
OWNERS_REFUSALS: list[tuple[ErrorCode, Change]] = [
    (ErrorCode.CONFLICT, with_facts(by_managed_domain=False)),
    (ErrorCode.TARGET_NOT_PAID, with_target(paid=True)),
    (ErrorCode.NO_SEATS, with_facts(seat_reserved=True)),
    (ErrorCode.BLOCKED, with_facts(blockers=())),
    (ErrorCode.CHOICE_REQUIRED, with_facts(choice=Choice.TRANSFER)),
    (ErrorCode.CURRENCY_MISMATCH, with_facts(choice=Choice.REFUND)),
    (ErrorCode.QUOTE_EXPIRED, with_facts(shown=None)),
]
MEMBERS_REFUSALS: list[tuple[ErrorCode, Change]] = [
    (ErrorCode.CONFLICT, with_facts(by_managed_domain=False)),
    (ErrorCode.TARGET_NOT_PAID, with_target(paid=True)),
    (ErrorCode.ALREADY_MEMBER, with_facts(**a_member(paid=True))),
    (ErrorCode.BELONGS_TO_OTHER_ACCOUNT, with_facts(**a_member(paid=True, follows_owner=True))),
    (ErrorCode.NO_SEATS, with_facts(free_seats=1)),
]


def refusals_of(facts: AcceptanceFacts, cures: list[tuple[ErrorCode, Change]]) -> list[ErrorCode]:
    """Return the refusals that are given while one cause after the other is removed."""
    codes = []
    for _, cure in cures:
        codes.append(code_of(facts))
        facts = cure(facts)
    decide_acceptance(facts)
    return codes


def test_an_owner_gets_the_first_refusal_that_applies() -> None:
    """INV-12, BLK-4, QUO-4 to QUO-6: every cause at once, then one less at each step."""
    assert refusals_of(WORST, OWNERS_REFUSALS) == [code for code, _ in OWNERS_REFUSALS]


def test_a_plain_member_gets_the_first_refusal_that_applies() -> None:
    """INV-3, INV-12, SRC-4: every cause at once, then one less at each step."""
    joined = Membership("acme", Role.MEMBER, True, False)
    facts = replace(WORST, membership=joined)
    assert refusals_of(facts, MEMBERS_REFUSALS) == [code for code, _ in MEMBERS_REFUSALS]


@pytest.mark.parametrize(
    "change",
    [{"paid": False}, {"suspended": True}, {"state": "closed"}],
    ids=["free", "suspended", "closed"],
)
def test_a_target_account_must_be_paid_open_and_active(change: dict[str, Any]) -> None:
    """INV-12: otherwise `target_not_paid`."""
    assert code_of(with_target(**change)(some_facts())) is ErrorCode.TARGET_NOT_PAID


def test_a_refusal_lists_all_blockers_with_their_items() -> None:
    """BLK-1, BLK-2: each with code, items and remedy."""
    invoice = {"id": "inv-1", "amount_due": "9.00", "due_on": "2026-04-30"}
    source = a_source(rooms=[{"id": "r1"}], invoices=[invoice])
    with pytest.raises(Refused) as refused:
        decide_acceptance(some_facts(source))
    blockers: Any = refused.value.details["blockers"]
    assert [(found["code"], found["items"][0]["id"]) for found in blockers] == [
        ("1009", "r1"),
        ("outstanding_invoice", "inv-1"),
    ]


@pytest.mark.parametrize(
    ("domains", "source", "refused"),
    [
        (("example.com",), None, False),
        (("example.com",), a_source(plan="free"), False),
        ((), None, True),
        (("other.example",), None, True),
        (("example.com",), a_source(plan="free", rooms=[{"id": "r1"}]), True),
        (("example.com",), a_source(plan="pro"), True),
        (("example.com",), a_member(paid=False)["source"], True),
    ],
    ids=["nowhere", "free owner", "unmanaged", "other domain", "blocked", "paid owner", "member"],
)
def test_a_managed_domain_admits_only_people_without_another_account(
    domains: tuple[str, ...], source: Account | None, refused: bool
) -> None:
    """INV-18: or the only user of a free account; all others are invited as usual."""
    facts = with_target(managed_domains=domains)(some_facts(source, by_managed_domain=True))
    if refused:
        assert code_of(facts) is ErrorCode.CONFLICT
    else:
        decide_acceptance(facts)


# Seats.


@pytest.mark.parametrize(
    ("license", "reserved", "free", "takes"),
    [
        (License.BASIC, False, 0, False),
        (License.LICENSED, True, 0, True),
        (License.LICENSED, False, 1, True),
    ],
)
def test_a_licensed_person_takes_the_reserved_seat_or_a_free_one(
    license: License, reserved: bool, free: int, takes: bool
) -> None:
    """INV-15: without a reserved seat a free one is assigned."""
    invite = some_facts().invite.model_copy(update={"license": license})
    facts = some_facts(invite=invite, seat_reserved=reserved, free_seats=free)
    assert decide_acceptance(facts).takes_seat is takes


# Accounts that close, and their money.


@pytest.mark.parametrize(
    "facts",
    [
        some_facts(),
        some_facts(**a_member(paid=False)),
        some_facts(**a_member(paid=True, follows_owner=True)),
    ],
    ids=["nowhere", "member of a free account", "member of a paid account"],
)
def test_only_an_owner_closes_the_source_account(facts: AcceptanceFacts) -> None:
    """SRC-2, SRC-3: a choice that anybody else gives is ignored (QUO-4)."""
    acceptance = decide_acceptance(replace(facts, choice=Choice.REFUND))
    assert (acceptance.closing, acceptance.refund) == (None, None)
    assert (acceptance.record.choice, acceptance.record.settlement) == (None, None)


@pytest.mark.parametrize(
    ("source", "paid"),
    [
        (a_source(plan="free"), False),
        (a_paid_source(plan="free"), False),
        (a_source(plan="pro"), True),
        (a_paid_source(a_payment("0.00")), True),
    ],
    ids=["free", "free with a paid line", "no line", "worth nothing"],
)
def test_an_owner_with_nothing_to_choose_closes_the_account_without_a_settlement(
    source: Account, paid: bool
) -> None:
    """SRC-2, QUO-4: only a paid account's quote is recorded."""
    acceptance = decide_acceptance(some_facts(source, choice=Choice.REFUND))
    closing = acceptance.closing
    assert closing
    assert (closing.source_paid, closing.choice, closing.settlement, closing.refund) == (
        paid,
        None,
        None,
        None,
    )
    assert acceptance.complete


def test_a_refund_goes_to_the_payment_methods_with_dates_of_the_source_account() -> None:
    """QUO-3, REF-1, REF-2: Tuesday 21 April in Berlin; the first look-up is on Friday."""
    acceptance = decide_acceptance(some_facts(a_paid_source(), choice=Choice.REFUND))
    refund, settlement = acceptance.refund, acceptance.record.settlement
    assert refund and settlement
    assert [(part.payment, part.amount) for part in refund.parts] == [
        ("card-1", eur("10.00")),
        ("bank-1", eur("5.00")),
    ]
    window = date(2026, 4, 24), date(2026, 4, 28)
    assert refund.arrives_between == settlement.arrives_between == window
    assert refund.lookups[0] == AT + timedelta(days=3)
    assert refund.overdue_from == datetime(2026, 4, 28, 22, tzinfo=UTC)
    assert (settlement.kind, settlement.amount) == (Choice.REFUND, eur("20.00"))
    assert settlement.refund_id == refund.refund_id == "rf-i1"
    assert not acceptance.complete


def test_a_refund_of_credit_alone_requests_nothing_from_the_provider() -> None:
    """QUO-3: it becomes credit of the target account."""
    source = a_paid_source(a_payment("60.00", "credit"))
    acceptance = decide_acceptance(some_facts(source, choice=Choice.REFUND))
    settlement = acceptance.record.settlement
    assert settlement
    assert (settlement.amount, settlement.refund_id) == (eur("20.00"), None)
    assert acceptance.refund is None


def test_a_transfer_settles_the_whole_quote_without_a_refund() -> None:
    """QUO-4: by the owner's choice."""
    acceptance = decide_acceptance(some_facts(a_paid_source(), choice=Choice.TRANSFER))
    settlement = acceptance.record.settlement
    assert settlement
    assert (settlement.kind, settlement.amount) == (Choice.TRANSFER, eur("20.00"))
    assert (settlement.refund_id, settlement.arrives_between, acceptance.refund) == (
        None,
        None,
        None,
    )


def test_a_settlement_equals_the_shown_quote_while_it_is_valid() -> None:
    """QUO-5: to the minor unit, though less is unused by now."""
    source = a_paid_source()
    shown = recorded(source, AT - timedelta(hours=23))
    settlement = closing_of(some_facts(source, choice=Choice.REFUND, shown=shown)).settlement
    assert settlement
    assert settlement.amount == shown.quote.total == eur("22.00")


def test_a_shown_quote_is_void_at_its_end_and_when_the_lines_change() -> None:
    """QUO-5: at exactly its end it no longer binds."""
    source = a_paid_source()
    for shown in (recorded(source, AT - timedelta(hours=24)), recorded(a_paid_source(CARD))):
        facts = some_facts(source, choice=Choice.REFUND, shown=shown)
        assert code_of(facts) is ErrorCode.QUOTE_EXPIRED


def test_a_line_that_has_ended_voids_a_shown_quote() -> None:
    """QUO-5: also if it ends between the receipt of the answer and its execution."""
    midnight = datetime(2026, 4, 20, 22, tzinfo=UTC)
    addon = a_line(date(2026, 4, 1), date(2026, 4, 21), [CARD], id="addon")
    source = a_paid_source(BANK, subscriptions=[a_line(*APRIL, [BANK]), addon])
    evening = midnight - timedelta(minutes=1)
    shown = recorded(source, midnight - timedelta(hours=2))
    facts = some_facts(
        source, choice=Choice.REFUND, shown=shown, at=evening, carried_out_at=evening
    )
    in_time = closing_of(facts)
    assert in_time.settlement
    assert in_time.settlement.amount == shown.quote.total == eur("7.00")
    late = replace(facts, carried_out_at=midnight)
    assert code_of(late) is ErrorCode.QUOTE_EXPIRED
    assert code_of(replace(late, at=midnight)) is ErrorCode.QUOTE_EXPIRED
    unseen = closing_of(replace(late, shown=None))
    assert unseen.settlement
    assert unseen.settlement.amount == eur("5.00")


def test_a_quote_of_the_rest_binds_after_a_line_has_ended() -> None:
    """QUO-5: an ended line without value does not void the quote again."""
    midnight = datetime(2026, 4, 20, 22, tzinfo=UTC)
    addon = a_line(date(2026, 4, 1), date(2026, 4, 21), [CARD], id="addon")
    source = a_paid_source(BANK, subscriptions=[a_line(*APRIL, [BANK]), addon])
    shown = recorded(source, midnight)
    facts = some_facts(source, choice=Choice.REFUND, shown=shown)
    settlement = closing_of(facts).settlement
    assert settlement
    assert settlement.amount == shown.quote.total == eur("5.00")


def test_a_void_quote_does_not_stop_the_owner_of_a_free_account() -> None:
    """QUO-4, QUO-5: a free account has nothing to settle."""
    source = a_source(plan="free")
    decide_acceptance(some_facts(source, shown=recorded(a_paid_source())))


@pytest.mark.parametrize(
    ("choice", "currency", "entries"),
    [
        # 60.00 prepaid, of which 20.00 are unused: 15.00 by card and bank, 5.00 from credit.
        (
            Choice.REFUND,
            "EUR",
            {"refund_due": "15.00", "credit_returned": "5.00", "earned": "40.00"}
            | {"credit_moved": "7.00"},
        ),
        (
            Choice.TRANSFER,
            "EUR",
            {"transfer": "15.00", "credit_returned": "5.00", "earned": "40.00"}
            | {"credit_moved": "7.00"},
        ),
        (
            Choice.REFUND,
            "USD",
            {"refund_due": "15.00", "credit_returned": "5.00", "earned": "40.00"},
        ),
    ],
)
def test_the_closing_entries_empty_the_source_account(
    choice: Choice, currency: str, entries: dict[str, str]
) -> None:
    """CRD-1, QUO-3, QUO-6: the settled value first; the rest becomes revenue."""
    facts = with_target(currency=currency)(some_facts(a_paid_source(), choice=choice))
    transfers = closing_of(facts).transfers(prepaid=eur("60.00"), credit=eur("7.00"))
    sums: dict[str, Decimal] = {}
    for transfer in transfers:
        sums[transfer.kind] = sums.get(transfer.kind, Decimal(0)) + transfer.amount.amount
    assert sums == {kind: Decimal(amount) for kind, amount in entries.items()}
    given = [each.amount.amount for each in transfers if each.debited == prepaid_of("solo")]
    assert sum(given) == Decimal("60.00")
    returned = [each for each in transfers if each.kind == "credit_returned"]
    assert [each.credited for each in returned] == [
        credit_of("acme" if currency == "EUR" else "solo")
    ]


def test_without_a_choice_all_prepaid_value_becomes_revenue() -> None:
    """QUO-6: the credit balance still moves."""
    closing = closing_of(some_facts(a_source(plan="free")))
    transfers = closing.transfers(prepaid=eur("5.00"), credit=eur("7.00"))
    assert [(each.kind, each.amount) for each in transfers] == [
        ("earned", eur("5.00")),
        ("credit_moved", eur("7.00")),
    ]
    assert closing.transfers(eur("0.00"), eur("0.00")) == ()


# Data that moves, and the record.


def test_the_manifest_counts_what_moves_from_the_source_account() -> None:
    """TRF-1, TRF-4: chat history is the person's own, on whichever account it was written."""
    acceptance = decide_acceptance(some_facts(**a_member(paid=False), chat_messages=8))
    counts = {item.item: item.count for item in acceptance.record.manifest}
    assert counts[Item.RECORDINGS] == 2
    assert counts[Item.CHAT_HISTORY] == 8
    assert counts[Item.MEETINGS] == 0
    assert not acceptance.complete


def test_an_acceptance_without_settlement_and_data_is_complete() -> None:
    """TRF-1: no workflow step remains."""
    assert decide_acceptance(some_facts()).complete
    assert decide_acceptance(some_facts(a_source(plan="free"))).complete


@pytest.mark.parametrize(("administers", "note"), [(True, None), (False, INVITER_GONE)])
def test_the_journal_notes_an_inviter_who_is_no_longer_admin(
    administers: bool, note: str | None
) -> None:
    """INV-12: the acceptance succeeds all the same."""
    facts = some_facts(inviter_administers=administers)
    record = decide_acceptance(facts).record
    assert record.journal[:-1] == facts.accepted.journal[:-1]
    assert record.journal[-1].note == note


def test_the_owners_of_both_accounts_are_signalled() -> None:
    """BLK-4: their owners' open invitations are checked again."""
    assert decide_acceptance(some_facts()).changed_accounts == {"acme"}
    member = some_facts(**a_member(paid=False))
    assert decide_acceptance(member).changed_accounts == {"acme", "solo"}
