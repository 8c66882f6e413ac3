"""Stripe's amounts, where they differ from ISO 4217 (https://docs.stripe.com/currencies).

HUF and TWD differ in payouts only, which Seatflow does not make: they are charged and refunded with
two decimals, as ISO 4217 has it.
"""

from decimal import Decimal
from typing import Final

from domain.money import Money, of_minor_units, rounded

_DECIMALS: Final = dict.fromkeys(
    (
        *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"),
        *("PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
    ),
    0,
) | dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3)
"""The decimals of zero-decimal and three-decimal currencies; all others have two at Stripe."""

_STEPS: Final = (
    # They have no decimals any more; for compatibility Stripe counts them in hundredths.
    dict.fromkeys(("ISK", "UGX"), 100)
    # The last digit must be 0, for card networks that know two decimals.
    | dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 10)
)
"""The steps between two amounts that Stripe supports, in its own units."""

_MINIMUM_CHARGES: Final = {
    **dict.fromkeys(("ARS", "AUD", "BRL", "CAD", "CHF", "COP", "EUR", "IDR", "ILS"), "0.50"),
    **dict.fromkeys(("INR", "NZD", "PHP", "RUB", "SGD", "USD", "ZAR"), "0.50"),
    **dict.fromkeys(("AED", "MYR", "PLN", "RON"), "2.00"),
    **dict.fromkeys(("NOK", "SEK"), "3.00"),
    **dict.fromkeys(("JPY", "KRW"), "50"),
    **dict.fromkeys(("MXN", "THB"), "10.00"),
    **{"CZK": "15.00", "DKK": "2.50", "GBP": "0.30", "HKD": "4.00", "HUF": "175.00"},
}
"""The smallest charge by currency, where the bank account of the Stripe account has the same one.

Otherwise Stripe converts the minimum of the bank account's currency, and answers `amount_too_small`
to what is less.
"""


class AmountTooPrecise(ValueError):
    """An amount with more decimals than Stripe supports for its currency."""


def stripe_units(amount: Money) -> int:
    """Return `amount` in the units that Stripe uses. Raises AmountTooPrecise."""
    units = amount.amount.scaleb(_DECIMALS.get(amount.currency, 2))
    if units % _STEPS.get(amount.currency, 1):
        raise AmountTooPrecise(f"Stripe does not support {amount.amount:f} {amount.currency}.")
    return int(units)


def money_of(units: int, currency: str) -> Money:
    """Return an amount of Stripe as Money."""
    currency = currency.upper()
    return rounded(Decimal(units).scaleb(-_DECIMALS.get(currency, 2)), currency)


def returnable(amount: Money) -> Money:
    """Return the largest part of `amount` that Stripe supports: KWD 5.120 of 5.124 (QUO-3)."""
    units = amount.amount.scaleb(_DECIMALS.get(amount.currency, 2))
    return money_of(int(units - units % _STEPS.get(amount.currency, 1)), amount.currency)


def chargeable(amount: Money) -> Money:
    """Return the largest part of `amount` that can be charged; 0 below the minimum (ADD-4)."""
    supported = returnable(amount)
    too_small = supported.amount < Decimal(_MINIMUM_CHARGES.get(amount.currency, 0))
    return of_minor_units(0, amount.currency) if too_small else supported
