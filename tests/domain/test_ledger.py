"""The transfers of settlements, and credit entries."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credit import Credit
from domain.invitation import Choice
from domain.ledger import AccountClosure, TransferKind, owner_of, prepaid_of
from domain.money import Money, total, zero
from domain.policy import Policy
from domain.quote import Quote, quote, terms_of
from tests.domain.source import a_line, a_payment, a_source

AT = datetime(2026, 4, 21, 10, tzinfo=UTC)


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def a_closure(*, same_currency: bool = True) -> AccountClosure:
    return AccountClosure(
        invitation_id="i1", source="solo", target="acme", same_currency=same_currency, at=AT
    )


def a_quote(*payments: tuple[str, str]) -> Quote:
    line = a_line(
        date(2026, 4, 1),
        date(2026, 5, 1),
        [a_payment(amount, method, id=f"p{n}") for n, (amount, method) in enumerate(payments)],
    )
    source = a_source(line)
    return quote(source, AT, terms_of(Policy(), source))


MIXED = ("30.00", "card"), ("30.00", "credit"), ("30.00", "bank")


@pytest.mark.parametrize(
    ("choice", "same_currency", "entries"),
    [
        (
            Choice.REFUND,
            True,
            [
                ("refund_due/i1/p0", "refund_due/rf-i1", "10.00"),
                ("refund_due/i1/p2", "refund_due/rf-i1", "10.00"),
                ("credit_returned/i1", "credit/acme", "10.00"),
            ],
        ),
        (
            Choice.TRANSFER,
            True,
            [
                ("transfer/i1", "credit/acme", "20.00"),
                ("credit_returned/i1", "credit/acme", "10.00"),
            ],
        ),
        (
            Choice.REFUND,
            False,
            [
                ("refund_due/i1/p0", "refund_due/rf-i1", "10.00"),
                ("refund_due/i1/p2", "refund_due/rf-i1", "10.00"),
                ("credit_returned/i1", "credit/solo", "10.00"),
            ],
        ),
    ],
)
def test_unused_value_is_refunded_or_credited_by_choice(
    choice: Choice, same_currency: bool, entries: list[tuple[str, str, str]]
) -> None:
    """QUO-3, QUO-4: the part paid from credit is credited with either choice."""
    found = a_closure(same_currency=same_currency).settlement_transfers(a_quote(*MIXED), choice)
    assert [(one.id, one.credited, one.amount) for one in found] == [
        (id, receiver, eur(amount)) for id, receiver, amount in entries
    ]


def test_used_value_is_earned_and_credit_moves() -> None:
    """QUO-6: credit moves only in the same currency."""
    found = [*a_closure().remaining_transfers(eur("60.00"), eur("5.00"))]
    assert [(one.kind, one.credited) for one in found] == [
        (TransferKind.EARNED, "revenue/solo"),
        (TransferKind.CREDIT_MOVED, "credit/acme"),
    ]
    abroad = [*a_closure(same_currency=False).remaining_transfers(zero("EUR"), eur("5.00"))]
    assert abroad == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 99999).map(lambda cents: f"{Decimal(cents).scaleb(-2):f}"),
            st.sampled_from(["card", "bank", "credit"]),
        ),
        max_size=5,
    ),
    st.sampled_from(Choice),
)
def test_a_settlement_equals_the_quote_to_the_minor_unit(
    payments: list[tuple[str, str]], choice: Choice
) -> None:
    """QUO-5: there is no transfer of zero."""
    quoted = a_quote(*payments)
    entries = [*a_closure().settlement_transfers(quoted, choice)]
    assert total((entry.amount for entry in entries), "EUR") == quoted.total
    assert all(entry.amount.amount > 0 for entry in entries)
    assert {entry.debited for entry in entries} <= {prepaid_of("solo")}


def test_credit_entries_have_sign_and_origin() -> None:
    """CRD-1: received credit is positive, credit used or moved is negative."""
    entries = [*a_closure().remaining_transfers(zero("EUR"), eur("5.00"))]
    given = Credit.of("solo", eur("0.00"), entries).model_dump(mode="json", by_alias=True)
    assert given["entries"] == [
        {
            "id": "credit_moved/i1",
            "at": "2026-04-21T10:00:00Z",
            "kind": "credit_moved",
            "amount": {"amount": "-5.00", "currency": "EUR"},
            "from": None,
            "to": "acme",
            "invoice": None,
        }
    ]
    [received] = Credit.of("acme", eur("5.00"), entries).entries
    assert (received.amount, received.source, received.to) == (eur("5.00"), "solo", None)
    assert owner_of("refund_due/rf-1") == "rf-1"
