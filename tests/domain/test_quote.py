"""Quotes: the value of a source account line by line, and the owner of it (QUO)."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stripe_amount import returnable, stripe_units
from domain.account import Account
from domain.day import begin
from domain.invitation import Choice
from domain.ledger import AccountClosure
from domain.money import Money, of_minor_units, total, zero
from domain.policy import Policy
from domain.proration import ProrationTerms, unused_share
from domain.quote import Quote, binding_quote, quote, requires_choice, same_lines, terms_of
from tests.builders.source_account import OWNER, a_line, a_payment, a_source

APRIL = date(2026, 4, 1), date(2026, 5, 1)
THE_21ST = datetime(2026, 4, 21, 10, tzinfo=UTC)


def quoted(source: Account, at: datetime = THE_21ST, policy: Policy | None = None) -> Quote:
    return quote(source, at, terms_of(policy or Policy(), source))


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def test_a_quote_has_the_value_of_each_line_and_its_policy() -> None:
    """QUO-1, QUO-2: unused time of each line, by the unit and the day of change of the policy."""
    source = a_source(
        a_line(*APRIL, [a_payment("60.00")]),
        a_line(*APRIL, [a_payment("10.00", id="pay-2")], id="sub-2"),
    )
    found = quoted(source)
    assert [(line.subscription, line.paid, line.unused) for line in found.lines] == [
        ("sub-1", eur("60.00"), eur("20.00")),
        ("sub-2", eur("10.00"), eur("3.33")),
    ]
    assert {(line.unused_days, line.period_days) for line in found.lines} == {(10, 30)}
    assert found.total == eur("23.33")
    assert found.terms == ProrationTerms(unit="day", change_day="unused", time_zone="Europe/Berlin")


def test_a_line_is_rounded_once_for_all_its_payments() -> None:
    """QUO-1: a third of 10.05 is 3.35, not three times 1.12."""
    thirds = [a_payment("3.35", id=f"pay-{n}") for n in range(3)]
    [line] = quoted(a_source(a_line(*APRIL, thirds))).lines
    assert line.unused == eur("3.35")
    assert [share.amount for share in line.shares] == [eur("1.12"), eur("1.12"), eur("1.11")]


@pytest.mark.parametrize(
    ("currency", "paid", "unused"),
    [
        ("JPY", "1000", "333"),
        ("EUR", "10.00", "3.33"),
        ("KWD", "10.000", "3.333"),
        ("RSD", "1499.90", "499.97"),
    ],
)
def test_a_line_is_rounded_to_the_minor_unit(currency: str, paid: str, unused: str) -> None:
    """QUO-1: a third of what was paid, in four currencies."""
    [line] = quoted(a_source(a_line(*APRIL, [a_payment(paid)]), currency=currency)).lines
    assert line.model_dump(mode="json")["unused"] == {"amount": unused, "currency": currency}


def test_the_part_paid_from_credit_becomes_credit_and_the_rest_is_refunded() -> None:
    """QUO-3: 20.00 of 60.00 are unused, in proportion to what each method paid."""
    source = a_source(
        a_line(
            *APRIL,
            [
                a_payment("30.00", "card", id="pay-card"),
                a_payment("12.00", "credit", id="pay-credit"),
                a_payment("18.00", "bank", id="pay-bank", refundable=False),
                a_payment("0.00", "card", id="pay-nothing"),
            ],
        )
    )
    found = quoted(source)
    assert [(share.payment, share.amount) for share in found.to_methods] == [
        ("pay-card", eur("10.00")),
        ("pay-bank", eur("6.00")),
    ]
    assert [(share.payment, share.amount) for share in found.to_credit] == [
        ("pay-credit", eur("4.00"))
    ]
    assert found.refundable == eur("16.00")
    assert found.total == eur("20.00")


@pytest.mark.parametrize("payments", [[], [a_payment("0.00")]], ids=["unpaid", "free"])
def test_a_free_or_unpaid_line_has_the_value_zero(payments: list[dict[str, Any]]) -> None:
    """QUO-3: it has no payments that could be refunded."""
    found = quoted(a_source(a_line(*APRIL, payments)))
    assert found.total == zero("EUR")
    assert found.to_methods == found.to_credit == ()
    assert found.lines[0].unused_days == 10


def test_an_account_without_subscriptions_has_the_value_zero() -> None:
    """QUO-1: the total is 0 in the account's currency."""
    found = quoted(a_source())
    assert (found.lines, found.total) == ((), zero("EUR"))


def test_an_ended_line_has_the_value_zero() -> None:
    """QUO-1: no time of its period is unused."""
    source = a_source(a_line(*APRIL, [a_payment("60.00")]))
    assert quoted(source, begin(APRIL[1], "Europe/Berlin")).total == zero("EUR")


@pytest.mark.parametrize(
    "end", [APRIL[1], datetime(2026, 5, 1, 12, tzinfo=UTC)], ids=["a day", "a time"]
)
def test_a_closed_account_has_the_value_zero(end: date | datetime) -> None:
    """SRC-2: its subscriptions ended as it closed."""
    line = a_line(APRIL[0], end, [a_payment("60.00")])
    found = quoted(a_source(line, state="closed", users=[]))
    assert found.total == zero("EUR")
    assert found.lines[0].unused_days == 0


def test_a_pending_cancellation_does_not_reduce_the_value() -> None:
    """BLK-3: it blocks; after the plan is reactivated the same value is settled."""
    line = a_line(*APRIL, [a_payment("60.00")], cancellation_pending=True)
    assert quoted(a_source(line)).total == eur("20.00")


def test_a_quote_is_read_back_as_it_was_written() -> None:
    """QUO-5: a recorded quote survives JSON unchanged."""
    start = datetime.fromisoformat("2026-04-01T08:00:00+02:00")
    found = quoted(a_source(a_line(start, APRIL[1], [a_payment("60.00")])))
    written = found.model_dump_json()
    assert Quote.model_validate_json(written) == found
    assert '"period_start":"2026-04-01T06:00:00Z","period_end":"2026-05-01"' in written


# QUO-5: changes that void a quote.

LINE = a_line(*APRIL, [a_payment("60.00"), a_payment("1.00", "bank", id="pay-2")])


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(a_source(LINE, invoices=[]), id="an invoice paid"),
        pytest.param(a_source({**LINE, "cancellation_pending": False}), id="reactivated"),
        pytest.param(a_source(LINE, rooms=[]), id="a room removed"),
        pytest.param(
            a_source(LINE, users=[{"email": OWNER, "role": "owner"}]), id="a user removed"
        ),
        pytest.param(a_source({**LINE, "product": "Pro (2026)"}), id="renamed"),
        pytest.param(
            a_source(a_line(*APRIL, [a_payment("60"), a_payment("1.0", "bank", id="pay-2")])),
            id="written otherwise",
        ),
        pytest.param(a_source(LINE, credit="7.00"), id="another credit balance"),
        pytest.param(a_source(LINE, time_zone="Asia/Tokyo"), id="another time zone"),
    ],
)
def test_a_quote_is_valid_while_its_lines_are_unchanged(now: Account) -> None:
    """QUO-5: time, users, rooms, invoices and a cancellation do not matter."""
    shown = quoted(
        a_source(
            {**LINE, "cancellation_pending": True},
            rooms=[{"id": "room-1"}],
            users=[
                {"email": OWNER, "role": "owner"},
                {"email": "bob@example.com", "role": "member"},
            ],
            invoices=[{"id": "inv-1", "amount_due": "12.50", "due_on": "2026-12-01"}],
        )
    )
    assert same_lines(shown, quoted(now, THE_21ST + timedelta(days=3)))


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(a_source(), id="gone"),
        pytest.param(a_source(LINE, a_line(*APRIL, id="sub-2")), id="one more"),
        pytest.param(a_source({**LINE, "id": "sub-9"}), id="another line"),
        pytest.param(a_source({**LINE, "period_end": date(2026, 5, 2)}), id="another period"),
        pytest.param(a_source({**LINE, "payments": [a_payment("61.00")]}), id="paid otherwise"),
        pytest.param(
            a_source({**LINE, "payments": LINE["payments"][:1]}), id="a payment withdrawn"
        ),
        pytest.param(a_source(LINE, currency="USD"), id="another currency"),
        pytest.param(
            a_source({**LINE, "payments": LINE["payments"][::-1]}), id="payments in another order"
        ),
    ],
)
def test_a_change_of_its_lines_voids_a_quote(now: Account) -> None:
    """QUO-5: each of these changes requires a new quote."""
    assert not same_lines(quoted(a_source(LINE)), quoted(now))


def test_the_order_of_the_lines_does_not_void_a_quote() -> None:
    """QUO-5: lines are compared by id."""
    other = a_line(*APRIL, id="sub-2")
    assert same_lines(quoted(a_source(LINE, other)), quoted(a_source(other, LINE)))


# QUO-4: owners who have to choose.


@pytest.mark.parametrize(
    ("source", "invitee", "required"),
    [
        pytest.param(a_source(LINE), OWNER, True, id="owner of a paid account"),
        pytest.param(a_source(), OWNER, False, id="worth nothing"),
        pytest.param(a_source(LINE, plan="free"), OWNER, False, id="owner of a free account"),
        pytest.param(
            a_source(LINE, users=[{"email": "bob@example.com", "role": "member"}]),
            "bob@example.com",
            False,
            id="plain member",
        ),
        pytest.param(a_source(LINE), "bob@example.com", False, id="not on the account"),
    ],
)
def test_only_the_owner_of_a_paid_account_with_a_quote_must_choose(
    source: Account, invitee: str, required: bool
) -> None:
    """QUO-4: a member, a free account and a quote of 0 need no choice."""
    assert requires_choice(source, invitee, quoted(source)) is required


def test_a_person_without_an_account_need_not_choose() -> None:
    """QUO-4, SRC-1: there is no quote."""
    assert not requires_choice(None, OWNER, quoted(a_source()))
    assert terms_of(Policy(), None).time_zone is None


# Properties of all accounts.

policies = st.builds(
    Policy,
    proration_unit=st.sampled_from(["day", "second", "fixed30"]),
    proration_change_day=st.sampled_from(["unused", "used"]),
)
moments = st.datetimes(
    min_value=datetime(2025, 12, 1), max_value=datetime(2028, 6, 1), timezones=st.just(UTC)
)


@st.composite
def sources(draw: st.DrawFn) -> Account:
    currency = draw(st.sampled_from(["JPY", "EUR", "KWD"]))
    amounts = st.integers(min_value=0, max_value=10**7).map(
        lambda units: f"{of_minor_units(units, currency).amount:f}"
    )
    lines = []
    for n in range(draw(st.integers(min_value=0, max_value=3))):
        start = draw(st.dates(min_value=date(2026, 1, 1), max_value=date(2027, 1, 1)))
        payments = [
            a_payment(
                draw(amounts),
                draw(st.sampled_from(["card", "bank", "credit"])),
                id=f"pay-{n}-{m}",
            )
            for m in range(draw(st.integers(min_value=0, max_value=4)))
        ]
        end = start + timedelta(days=draw(st.integers(min_value=1, max_value=366)))
        lines.append(a_line(start, end, payments, id=f"sub-{n}"))
    zone = draw(st.sampled_from(["Europe/Berlin", "America/New_York"]))
    return a_source(*lines, currency=currency, time_zone=zone)


@given(source=sources(), at=moments, policy=policies)
def test_the_unused_value_is_between_zero_and_the_amount_paid(
    source: Account, at: datetime, policy: Policy
) -> None:
    """QUO-1: within half a minor unit of the exact value."""
    found = quoted(source, at, policy)
    for line in found.lines:
        assert 0 <= line.unused.minor_units <= line.paid.minor_units
        share = unused_share(line.period_start, line.period_end, at, found.terms)
        used = line.paid.minor_units - line.unused.minor_units
        assert used + line.unused.minor_units == line.paid.minor_units
        assert abs(line.paid.minor_units * (1 - share) - used) <= Fraction(1, 2)


@given(source=sources(), times=st.tuples(moments, moments), policy=policies)
def test_a_quote_never_grows_with_time(
    source: Account, times: tuple[datetime, datetime], policy: Policy
) -> None:
    """QUO-1: unused time only shrinks."""
    sooner, later = (quoted(source, at, policy) for at in sorted(times))
    assert sooner.total.amount >= later.total.amount
    assert same_lines(sooner, later)


@given(source=sources(), at=moments, policy=policies)
def test_shares_add_up_to_the_quote_and_none_exceeds_its_payment(
    source: Account, at: datetime, policy: Policy
) -> None:
    """QUO-3: refunded and credited shares together are the quote."""
    found, currency = quoted(source, at, policy), source.currency
    for line in found.lines:
        assert total((share.amount for share in line.shares), currency) == line.unused
        for share in line.shares:
            assert 0 <= share.amount.minor_units <= share.paid.minor_units
    credited = total((share.amount for share in found.to_credit), currency)
    assert found.refundable + credited == found.total


@given(source=sources(), at=moments, policy=policies)
def test_what_stripe_cannot_return_becomes_credit(
    source: Account, at: datetime, policy: Policy
) -> None:
    """QUO-3, CRD-4: no money is gained or lost, and Stripe supports the amount of each refund."""
    found, currency = quoted(source, at, policy), source.currency
    split = found.as_returned(returnable)
    assert split.total == found.total
    assert split.as_returned(returnable) == split
    assert same_lines(split, found)
    assert all(stripe_units(share.amount) > 0 for share in split.to_methods)
    credited = total((share.amount for share in split.to_credit), currency)
    assert split.refundable + credited == found.total
    for choice in Choice:
        closure = AccountClosure(
            invitation_id="i1", source="solo", target="acme", same_currency=True, at=at
        )
        entries = [*closure.settlement_transfers(split, choice)]
        assert total((entry.amount for entry in entries), currency) == found.total
        assert len({entry.id for entry in entries}) == len(entries)


def test_the_rest_of_a_payment_is_its_own_share() -> None:
    """QUO-3: KWD 5.124 of a payment by card is refunded as 5.120; 0.004 becomes credit."""
    source = a_source(a_line(*APRIL, [a_payment("15.372")]), currency="KWD")
    found = quoted(source).as_returned(returnable)
    assert found.total == Money(amount=Decimal("5.124"), currency="KWD")
    [returned], [credited] = found.to_methods, found.to_credit
    assert (returned.payment, returned.method) == (credited.payment, credited.method)
    assert (returned.amount.amount, credited.amount.amount) == (Decimal("5.120"), Decimal("0.004"))


def test_a_shown_quote_is_shown_again_until_its_end_or_until_the_lines_change() -> None:
    """QUO-5: at exactly its end a new one binds."""
    policy, source = Policy(), a_source(a_line(*APRIL, [a_payment("60.00")]))
    first = binding_quote(source, THE_21ST, policy, None)
    assert first.quote == quoted(source)
    assert first.valid_until == THE_21ST + timedelta(hours=24)
    assert binding_quote(source, THE_21ST + timedelta(hours=23), policy, first) == first
    late = THE_21ST + timedelta(hours=24)
    assert binding_quote(source, late, policy, first).quote == quoted(source, late)
    changed = a_source(a_line(*APRIL, [a_payment("90.00")]))
    assert binding_quote(changed, THE_21ST, policy, first).quote == quoted(changed)


def test_a_free_account_has_no_binding_quote() -> None:
    """QUO-4: even if a line of it was paid."""
    source = a_source(a_line(*APRIL, [a_payment("60.00")]), plan="free")
    assert binding_quote(source, THE_21ST, Policy(), None).quote.total == zero("EUR")
