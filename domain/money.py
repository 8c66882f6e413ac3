"""Exact amounts of money, in one currency and to its minor unit.

The number of decimals of a currency comes from ISO 4217, as the package `iso4217` publishes it; the
table is read once, at import. It changes with releases of that package: a currency is added,
withdrawn or, rarely, redenominated. Compute amounts in activities, not in workflows. History then
records them, and a worker with another release replays the same amounts. Adding recorded amounts
is safe everywhere.
"""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Final

from babel.numbers import get_currency_precision
from iso4217 import Currency
from pydantic import BeforeValidator, Field, PlainSerializer

from domain.model import Value

_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?")

_MINOR_DIGITS: Final = {
    currency.code: currency.exponent for currency in Currency if currency.exponent is not None
}
"""The decimals of each current currency, by its code (ISO 4217, list one)."""

Amount = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:f}", return_type=str)]
"""An exact amount in the currency's major unit; text in JSON, never a float."""


def _decimal(value: object) -> object:
    if not isinstance(value, Decimal) and not _AMOUNT.fullmatch(str(value)):
        raise ValueError('invalid amount; write it as text, such as "12.50"')
    return value


DecimalText = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(ge=0, lt=10**12),
    PlainSerializer(lambda amount: f"{amount:f}", return_type=str),
]
"""A non-negative amount in an input file, as text or as a number."""


class Money(Value):
    """An amount and its ISO 4217 currency."""

    amount: Amount
    currency: str

    def __add__(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"{other.currency} cannot be added to {self.currency}")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def minus(self, other: "Money") -> "Money":
        """Return the difference; unlike a sum it may be negative."""
        return self + other.model_copy(update={"amount": -other.amount})

    @property
    def minor_units(self) -> int:
        """Return the amount in the currency's smallest unit, for example cents.

        Raises ValueError when the amount has more decimals than the currency.
        """
        units: Fraction = Fraction(self.amount) * 10 ** minor_digits(self.currency)
        if units.denominator != 1:
            raise ValueError(f"{self.amount} has too many decimals for {self.currency}")
        return units.numerator


def minor_digits(currency: str) -> int:
    """Return the number of decimals of `currency` in ISO 4217: JPY 0, EUR 2, KWD 3."""
    digits = _MINOR_DIGITS.get(currency)
    # ISO withdraws a currency while accounts still have amounts in it, as BGN in 2026. Babel keeps
    # it. For current currencies its digits are those of prices in shops, such as 0 for RSD.
    return get_currency_precision(currency) if digits is None else digits


def of_minor_units(units: int, currency: str) -> Money:
    """Return `units` cents, yen or fils as Money, with all the decimals of the currency."""
    return Money(amount=Decimal(units).scaleb(-minor_digits(currency)), currency=currency)


def zero(currency: str) -> Money:
    """Return zero in `currency`."""
    return of_minor_units(0, currency)


def rounded(amount: Decimal | Fraction, currency: str) -> Money:
    """Round a non-negative `amount` half-up to the minor unit of `currency` (QUO-1)."""
    units: Fraction = Fraction(amount) * 10 ** minor_digits(currency)
    return of_minor_units(math.floor(units + Fraction(1, 2)), currency)


def total(amounts: Iterable[Money], currency: str) -> Money:
    """Return the sum of `amounts`, all in `currency`; zero when there are none."""
    return sum(amounts, start=zero(currency))


def divided(whole: Money, weights: Sequence[Money]) -> tuple[Money, ...]:
    """Divide `whole` in proportion to `weights`; the parts add up to `whole` (QUO-3).

    Minor units go to the largest remainders, among equals to the earlier ones. If `whole` is at
    most the sum of the weights, no part exceeds its weight. If all weights are zero, so are all
    parts.
    """
    units = [weight.minor_units for weight in weights]
    exact = [Fraction(whole.minor_units * unit, sum(units) or 1) for unit in units]
    parts = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: int(sum(exact)) - sum(parts)]:
        parts[i] += 1
    return tuple(of_minor_units(part, whole.currency) for part in parts)
