"""Charges of payment methods (ADD-4)."""

from enum import StrEnum
from typing import Final

EXAMPLE_CARD: Final = "example-card"
"""The built-in provider's card for accounts that list no payment method; it never declines."""


class ChargeState(StrEnum):
    """The final result of a charge."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
