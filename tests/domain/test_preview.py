"""What the money of a source account may become on another one."""

from datetime import UTC, date, datetime
from decimal import Decimal

from domain.account import Account
from domain.money import Money, zero
from domain.policy import Policy
from domain.preview import (
    TransferOffer,
    TransferRefused,
    credit_left_behind,
    credit_taken_along,
    preview,
    transfer_offer,
)
from domain.quote import Quote, quote, terms_of
from tests.domain.source import a_line, a_payment, a_source

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
    """QUO-6."""
    whole = Money(amount=Decimal("20.00"), currency="EUR")
    assert transfer_offer(quoted(a_source(PAID)), EUROPEAN) == TransferOffer(
        amount=whole, to="acme"
    )


def test_a_refund_of_what_was_paid_from_credit_alone_has_no_dates() -> None:
    """QUO-3: nothing goes back to a payment method."""
    paid = a_line(date(2026, 4, 1), date(2026, 5, 1), [a_payment("30.00", "credit")])
    window = date(2026, 4, 24), date(2026, 4, 28)
    offer = preview(quoted(a_source(paid)), window).refund
    assert offer
    assert (offer.amount, offer.arrives_between) == (zero("EUR"), None)


def test_where_nothing_is_worth_anything_nothing_is_offered() -> None:
    """QUO-4."""
    window = date(2026, 4, 24), date(2026, 4, 28)
    shown = preview(quoted(a_source()), window, EUROPEAN)
    assert (shown.amount, shown.refund, shown.transfer) == (zero("EUR"), None, None)


def test_a_transfer_needs_the_same_currency() -> None:
    """QUO-6."""
    refused = transfer_offer(quoted(a_source(PAID)), AMERICAN)
    assert refused == TransferRefused(refused="currency_mismatch")


def test_credit_stays_behind_when_the_currency_is_another() -> None:
    """QUO-3, QUO-6: the balance, and what was paid from credit and is unused."""
    source = a_source(PAID, credit="5.50")
    [notice] = credit_left_behind(source, AMERICAN, quoted(source))
    assert notice.item == "credit"
    assert notice.message == "Credit of 15.50 EUR, because Acme pays in USD."


def test_credit_follows_into_the_same_currency() -> None:
    """QUO-6."""
    source = a_source(PAID, credit="5.50")
    assert credit_left_behind(source, EUROPEAN, quoted(source)) == ()
    [notice] = credit_taken_along(source, EUROPEAN, quoted(source))
    assert notice.message == "Credit of 15.50 EUR, to Acme."
    assert credit_taken_along(source, AMERICAN, quoted(source)) == ()


def test_no_credit_leaves_nothing_behind() -> None:
    assert credit_left_behind(a_source(), AMERICAN, quoted(a_source())) == ()
