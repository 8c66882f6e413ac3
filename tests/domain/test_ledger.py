"""The transfers of settlements, and credit entries."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credit import Credit
from domain.error import ErrorCode, Refused
from domain.invitation import Choice
from domain.ledger import (
    AccountClosure,
    TransferKind,
    due_for_parts,
    owner_of,
    part_transfer,
    possible_part_ids,
    prepaid_of,
    require_convertible,
    require_unused,
)
from domain.money import Money, total, zero
from domain.policy import Policy
from domain.quote import Quote, quote, terms_of
from domain.refund import PartState, RefundPart, RefundPlan
from tests.builders.source_account import a_line, a_payment, a_source

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
    """QUO-3, QUO-4: the part paid from credit becomes credit, in another currency of the source."""
    found = a_closure(same_currency=same_currency).settlement_transfers(a_quote(*MIXED), choice)
    assert [(one.id, one.credited, one.amount) for one in found] == [
        (id, receiver, eur(amount)) for id, receiver, amount in entries
    ]


def test_the_used_value_becomes_revenue_and_credit_moves() -> None:
    """QUO-6: in another currency the credit stays."""
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


def test_credit_entries_have_a_sign_and_an_origin() -> None:
    """CRD-1: negative for the source, positive with its origin for the target."""
    entries = [*a_closure().remaining_transfers(zero("EUR"), eur("5.00"))]
    given = Credit.of("solo", eur("0.00"), eur("0.00"), entries).model_dump(
        mode="json", by_alias=True
    )
    assert given["entries"] == [
        {
            "id": "credit_moved/i1",
            "at": "2026-04-21T10:00:00Z",
            "kind": "credit_moved",
            "amount": {"amount": "-5.00", "currency": "EUR"},
            "from": None,
            "to": "acme",
            "invoice": None,
            "by": None,
        }
    ]
    [received] = Credit.of("acme", eur("5.00"), eur("0.00"), entries).entries
    assert (received.amount, received.source, received.to) == (eur("5.00"), "solo", None)
    assert owner_of("refund_due/rf-1") == "rf-1"


PART = RefundPart(payment="p1", method="card", amount=eur("10.00"))


def a_refund() -> RefundPlan:
    return RefundPlan(
        refund_id="rf-i1",
        invitation_id="i1",
        source="solo",
        target="acme",
        payee="sue@solo.example",
        parts=(PART,),
        requested_at=AT,
        arrives_between=(AT.date(), AT.date()),
        lookups=(AT,),
        overdue_from=AT,
    )


def part_in(state: PartState) -> RefundPart:
    return PART.model_copy(update={"state": state})


@pytest.mark.parametrize(
    ("before", "now", "entries"),
    [
        (None, PartState.PENDING, []),
        (None, PartState.SUCCEEDED, [("refunded", "methods/solo")]),
        (None, PartState.CONVERTED, [("converted", "credit/acme")]),
        (None, PartState.CLOSED, [("given_up", "written_off/solo")]),
        (PartState.SUCCEEDED, PartState.SUCCEEDED, []),
        (
            PartState.CONVERTED,
            PartState.SUCCEEDED,
            [("reversed", "refund_due/rf-i1"), ("refunded", "methods/solo")],
        ),
        (
            PartState.CLOSED,
            PartState.SUCCEEDED,
            [("reversed", "refund_due/rf-i1"), ("refunded", "methods/solo")],
        ),
    ],
)
def test_each_part_of_a_refund_is_posted_once_and_a_late_success_reverses(
    before: PartState | None, now: PartState, entries: list[tuple[str, str]]
) -> None:
    """REF-4, REF-5: one entry for each part and state."""
    order = a_refund()
    earlier = part_transfer(order, PART, before, AT) if before else None
    posted = {earlier.id: earlier} if earlier else {}
    due = list(due_for_parts(order, [part_in(now)], posted, AT))
    assert [(each.kind, each.credited) for each in due] == entries
    if earlier:
        assert earlier.id in possible_part_ids(order, [PART], AT)


def test_a_refund_is_converted_only_into_usable_credit_of_the_same_currency() -> None:
    """REF-4: in another currency, or for a closed account, conversion is refused."""
    due = list(due_for_parts(a_refund(), [part_in(PartState.CONVERTED)], {}, AT))
    require_convertible(due, "acme", "EUR", closed=False)
    with pytest.raises(Refused) as refused:
        require_convertible(due, "acme", "USD", closed=False)
    assert refused.value.code is ErrorCode.CURRENCY_MISMATCH
    with pytest.raises(Refused) as refused:
        require_convertible(due, "acme", "EUR", closed=True)
    assert refused.value.code is ErrorCode.CONFLICT


def test_converted_credit_that_was_used_is_not_reversed() -> None:
    """REF-4: a late success after the credit was used is a case for an operator."""
    order = a_refund()
    converted = part_transfer(order, PART, PartState.CONVERTED, AT)
    assert converted
    due = list(due_for_parts(order, [part_in(PartState.SUCCEEDED)], {converted.id: converted}, AT))
    require_unused(due, "acme", eur("10.00"))
    with pytest.raises(Refused) as refused:
        require_unused(due, "acme", eur("9.99"))
    assert refused.value.code is ErrorCode.CONFLICT
