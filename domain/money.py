"""Amounts of money: exact, in one currency, counted in its minor unit.

How many digits a currency has comes from a table that changes with releases and is
read from disk. So amounts are worked out in activities and recorded, not in workflows;
adding up recorded ones is fine anywhere.
"""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from babel.numbers import get_currency_precision
from pydantic import BeforeValidator, Field, PlainSerializer

from domain.model import Value

_AMOUNT = re.compile(r"\d+(\.\d+)?")

Amount = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:f}", return_type=str)]
"""An exact amount in the currency's major unit; text in JSON, never a float."""


def _decimal(value: object) -> object:
    if not isinstance(value, Decimal) and not _AMOUNT.fullmatch(str(value)):
        raise ValueError('write amounts as text, such as "12.50"')
    return value


DecimalText = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(ge=0, lt=10**12),
    PlainSerializer(lambda amount: f"{amount:f}", return_type=str),
]
"""An amount as people write it into a file: not negative, as text or as a number."""


class Money(Value):
    """An amount and its ISO 4217 currency."""

    amount: Amount
    currency: str

    def __add__(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"{other.currency} cannot be added to {self.currency}")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    @property
    def minor_units(self) -> int:
        """The amount in the currency's smallest unit, for example cents.

        Raises ValueError when it is finer than that.
        """
        units: Fraction = Fraction(self.amount) * 10 ** minor_digits(self.currency)
        if units.denominator != 1:
            raise ValueError(f"{self.amount} is finer than {self.currency} can be")
        return units.numerator


def minor_digits(currency: str) -> int:
    """How many decimals `currency` has: JPY 0, EUR 2, KWD 3."""
    return get_currency_precision(currency)


def of_minor_units(units: int, currency: str) -> Money:
    """`units` cents, yen or fils, with all the decimals of the currency."""
    return Money(amount=Decimal(units).scaleb(-minor_digits(currency)), currency=currency)


def zero(currency: str) -> Money:
    """Nothing, in `currency`."""
    return of_minor_units(0, currency)


def rounded(amount: Decimal | Fraction, currency: str) -> Money:
    """`amount`, not negative, rounded half-up to the minor unit of `currency` (QUO-1)."""
    units: Fraction = Fraction(amount) * 10 ** minor_digits(currency)
    return of_minor_units(math.floor(units + Fraction(1, 2)), currency)


def total(amounts: Iterable[Money], currency: str) -> Money:
    """The sum of `amounts`, all in `currency`; zero when there are none."""
    return sum(amounts, start=zero(currency))


def divided(whole: Money, weights: Sequence[Money]) -> tuple[Money, ...]:
    """`whole` in proportion to `weights`, to the minor unit, with nothing lost (QUO-3).

    Largest remainder, earlier ones first among equals. While `whole` is no more than the
    weights together, no part is more than its weight. Weights of nothing divide nothing.
    """
    units = [weight.minor_units for weight in weights]
    exact = [Fraction(whole.minor_units * unit, sum(units) or 1) for unit in units]
    parts = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: int(sum(exact)) - sum(parts)]:
        parts[i] += 1
    return tuple(of_minor_units(part, whole.currency) for part in parts)
