"""What is asked of a payment method, and what it answers (ADD-4)."""

from enum import StrEnum
from typing import Final

EXAMPLE_CARD: Final = "example-card"
"""The payment method of an account that lists none: the built-in provider's, and it works."""


class ChargeState(StrEnum):
    """What came of a charge; both are answers, and final."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
