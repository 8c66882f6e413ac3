"""Stripe's amounts: no money is gained or lost on the way to Stripe and back."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from adapters.stripe_amount import (
    AmountTooPrecise,
    chargeable,
    money_of,
    returnable,
    stripe_units,
)
from domain.money import Money, of_minor_units, zero

CURRENCIES = sorted(currency.code for currency in Currency if currency.exponent is not None)
currencies = st.sampled_from(CURRENCIES)
units = st.integers(min_value=0, max_value=10**12)


def money(amount: str, currency: str) -> Money:
    return Money(amount=Decimal(amount), currency=currency)


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        # https://docs.stripe.com/currencies: minor units, zero-decimal, three-decimal.
        ("10.00", "USD", 1000),
        ("500", "JPY", 500),
        ("5.120", "KWD", 5120),
        # Special cases: no decimals, but counted in hundredths.
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        # Special cases in payouts only.
        ("10.45", "HUF", 1045),
        ("800.45", "TWD", 80045),
        # Zero-decimal at Stripe, with two decimals in ISO 4217.
        ("5.00", "MGA", 5),
        ("1499.90", "RSD", 149990),
    ],
)
def test_amounts_are_in_the_units_that_stripe_uses(amount: str, currency: str, units: int) -> None:
    """QUO-3: by Stripe's list of currencies, not by ISO 4217."""
    assert stripe_units(money(amount, currency)) == units
    assert money_of(units, currency.lower()) == money(amount, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("0.5", "JPY"), ("5.124", "KWD"), ("0.001", "EUR"), ("0.20", "MGA"), ("5.5", "UGX")],
)
def test_an_amount_that_stripe_does_not_support_is_refused(amount: str, currency: str) -> None:
    """QUO-3: no amount is rounded on its way to Stripe."""
    with pytest.raises(AmountTooPrecise):
        stripe_units(money(amount, currency))


@pytest.mark.parametrize(
    ("amount", "currency", "part"),
    [
        ("5.124", "KWD", "5.120"),
        ("0.009", "KWD", "0.000"),
        ("10.45", "HUF", "10.45"),
        ("800.45", "TWD", "800.45"),
        ("5", "UGX", "5"),
        ("5.80", "MGA", "5.00"),
        ("10.01", "EUR", "10.01"),
    ],
)
def test_the_supported_part_of_an_amount_is_returned(amount: str, currency: str, part: str) -> None:
    """QUO-3: the rest becomes credit."""
    assert returnable(money(amount, currency)) == money(part, currency)


@pytest.mark.parametrize(
    ("amount", "currency", "part"),
    [
        # https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
        ("0.49", "EUR", "0.00"),
        ("0.50", "EUR", "0.50"),
        ("174.99", "HUF", "0.00"),
        ("49", "JPY", "0"),
        ("0.30", "GBP", "0.30"),
        ("5.124", "KWD", "5.120"),
        # No minimum is documented; Stripe converts that of the bank account.
        ("0.01", "RSD", "0.01"),
    ],
)
def test_an_amount_below_the_minimum_is_not_charged(amount: str, currency: str, part: str) -> None:
    """ADD-4: it is carried to the next invoice."""
    assert chargeable(money(amount, currency)) == money(part, currency)


@given(currency=currencies, number=units)
def test_no_money_is_gained_or_lost_on_the_way_to_stripe_and_back(
    currency: str, number: int
) -> None:
    """QUO-3, CRD-4: for every currency and amount the part and its rest are the whole."""
    whole = of_minor_units(number, currency)
    part = returnable(whole)
    rest = whole.minus(part)
    assert money_of(stripe_units(part), currency) == part
    assert part + rest == whole
    assert zero(currency).amount <= rest.amount < 1
    assert returnable(part) == part


@given(currency=currencies, number=units)
def test_the_chargeable_part_is_supported_and_fixed(currency: str, number: int) -> None:
    """ADD-4: a repeated charge has the same amount."""
    whole = of_minor_units(number, currency)
    part = chargeable(whole)
    assert part in {zero(currency), returnable(whole)}
    assert chargeable(part) == part
    assert stripe_units(part) >= 0
