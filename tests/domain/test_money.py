"""Money: exact, one currency at a time, to the minor unit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import Money, divided, minor_digits, of_minor_units, rounded, total, zero

currencies = st.sampled_from(["JPY", "EUR", "KWD"])
units = st.integers(min_value=0, max_value=10**12)


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


@pytest.mark.parametrize(
    ("currency", "digits", "nothing"), [("JPY", 0, "0"), ("EUR", 2, "0.00"), ("KWD", 3, "0.000")]
)
def test_a_currency_has_its_own_decimals(currency: str, digits: int, nothing: str) -> None:
    """QUO-1: JPY 0, EUR 2, KWD 3; the source is ISO 4217."""
    assert minor_digits(currency) == digits
    assert zero(currency).model_dump(mode="json") == {"amount": nothing, "currency": currency}


@pytest.mark.parametrize(
    ("digits", "codes"),
    [
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
        # Of these, shops have no coins, and tables of display digits have fewer.
        (2, "AFN ALL IRR KPW LAK LBP MGA MMK MRU RSD SOS SYP YER EUR HUF TWD"),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
        # Withdrawn from the list: the last digits that it had.
        (2, "BGN HRK"),
    ],
)
def test_minor_units_are_those_of_iso_4217(digits: int, codes: str) -> None:
    """QUO-1: ISO 4217, list one of 2026-01-01, column "Minor unit"."""
    assert {code: minor_digits(code) for code in codes.split()} == dict.fromkeys(
        codes.split(), digits
    )


@pytest.mark.parametrize(
    ("exact", "currency", "kept"),
    [
        (Fraction(14999, 30), "RSD", "499.97"),
        (Fraction(1, 3), "IQD", "0.333"),
        (Fraction(1, 2), "JPY", "1"),
        (Fraction(49, 100), "JPY", "0"),
        (Fraction(5, 1000), "EUR", "0.01"),
        (Fraction(4999, 1000_000), "EUR", "0.00"),
        (Fraction(25, 1000), "EUR", "0.03"),
        (Fraction(1, 3), "EUR", "0.33"),
        (Fraction(2, 3), "KWD", "0.667"),
        (Decimal("2.5"), "KWD", "2.500"),
    ],
)
def test_half_a_minor_unit_is_rounded_up(
    exact: Fraction | Decimal, currency: str, kept: str
) -> None:
    """QUO-1: rounding is half-up."""
    assert rounded(exact, currency).model_dump(mode="json")["amount"] == kept


def test_amounts_add_up_in_one_currency_only() -> None:
    """CRD-4: amounts of two currencies are never added."""
    assert eur("0.10") + eur("0.20") == eur("0.30")
    assert total([eur("1.10"), eur("2.20")], "EUR") == eur("3.30")
    assert total([], "KWD") == zero("KWD")
    with pytest.raises(ValueError, match="USD cannot be added to EUR"):
        eur("1.00") + Money(amount=Decimal("1.00"), currency="USD")


def test_an_amount_finer_than_its_currency_has_no_minor_units() -> None:
    """QUO-1: the amount is an error, and not rounded."""
    assert eur("12.50").minor_units == 1250
    with pytest.raises(ValueError, match="too many decimals"):
        _ = eur("0.005").minor_units


@pytest.mark.parametrize(
    ("whole", "weights", "parts"),
    [
        ("10.00", ["1.00", "1.00", "1.00"], ["3.34", "3.33", "3.33"]),
        ("10.00", ["10.00", "20.00"], ["3.33", "6.67"]),
        ("0.01", ["5.00", "5.00"], ["0.01", "0.00"]),
        ("15.00", ["15.00", "0.00"], ["15.00", "0.00"]),
        ("0.00", ["0.00", "0.00"], ["0.00", "0.00"]),
        ("0.00", [], []),
    ],
)
def test_remaining_units_go_to_the_largest_remainder_and_then_to_the_first(
    whole: str, weights: list[str], parts: list[str]
) -> None:
    """QUO-3: largest remainder, in file order; the figures were worked out by hand."""
    assert divided(eur(whole), [eur(weight) for weight in weights]) == tuple(map(eur, parts))


@given(currency=currencies, weights=st.lists(units, max_size=6), data=st.data())
def test_parts_add_up_and_never_exceed_their_weights(
    currency: str, weights: list[int], data: st.DataObject
) -> None:
    """QUO-3: exact to the minor unit; a part never exceeds what was paid."""
    whole = data.draw(st.integers(min_value=0, max_value=sum(weights)))
    parts = divided(
        of_minor_units(whole, currency), [of_minor_units(each, currency) for each in weights]
    )
    assert total(parts, currency) == of_minor_units(whole, currency)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part.minor_units - Fraction(whole * weight, sum(weights) or 1)) < 1
        assert 0 <= part.minor_units <= weight


@given(currency=currencies, amount=st.fractions(min_value=0, max_value=10**9))
def test_rounding_moves_an_amount_by_half_a_minor_unit_at_most(
    currency: str, amount: Fraction
) -> None:
    """QUO-1: for every amount and currency."""
    moved = rounded(amount, currency).minor_units - amount * 10 ** minor_digits(currency)
    assert Fraction(-1, 2) < moved <= Fraction(1, 2)
