"""The application of credit to invoices."""

from datetime import UTC, datetime
from decimal import Decimal

from domain.credit import apply_credit
from domain.money import Money

AT = datetime(2026, 4, 21, 10, tzinfo=UTC)


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def test_credit_pays_invoices_in_order_until_it_is_used_up() -> None:
    """CRD-3: the rest pays a part of the next invoice, and later ones get none."""
    due = [("i1", eur("10.00")), ("i2", eur("0.00")), ("i3", eur("8.00")), ("i4", eur("5.00"))]
    transfers = apply_credit("acme", eur("15.00"), due, 2, AT)
    assert [(each.id, each.invoice, each.amount) for each in transfers] == [
        ("applied/acme/3", "i1", eur("10.00")),
        ("applied/acme/4", "i3", eur("5.00")),
    ]
    assert {(each.debited, each.credited) for each in transfers} == {
        ("credit/acme", "revenue/acme")
    }


def test_without_credit_nothing_is_applied() -> None:
    """CRD-3: an account without credit has no entries."""
    assert apply_credit("acme", eur("0.00"), [("i1", eur("10.00"))], 0, AT) == []
