"""The price catalogue of licenses (ADD-4)."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field

from domain.license import Sku
from domain.model import Value
from domain.money import DecimalText

MONTHS_IN_A_YEAR: Final = 10
"""The number of monthly prices that an annual cycle costs."""

# The ledger stores ten-thousandths in 64 bits; a year of a million licenses must fit.
Price = Annotated[DecimalText, Field(lt=10**7)]
SoldCapacity = Literal["500", "1000", "3000", "5000"]
Prices = dict[SoldCapacity, Price]

_EXAMPLE_WORKPLACE: Final = Decimal("13.00")
_EXAMPLE_LARGE_MEETING: Final[Mapping[SoldCapacity, Decimal]] = MappingProxyType(
    {
        "500": Decimal("50.00"),
        "1000": Decimal("90.00"),
        "3000": Decimal("200.00"),
        "5000": Decimal("300.00"),
    }
)


def _completed(prices: Prices) -> Prices:
    return {**_EXAMPLE_LARGE_MEETING, **prices}


class Catalog(Value):
    """Prices per license and month, the same figures in every currency.

    Prices missing from an imported catalogue are those of the example, which applies until a
    catalogue is imported.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=False, serialize_by_alias=True)

    workplace: Price = _EXAMPLE_WORKPLACE
    large_meeting: Annotated[Prices, AfterValidator(_completed)] = Field(
        default_factory=lambda: _completed({}), alias="large-meeting"
    )

    def price(
        self, sku: Sku, capacity: int | None, quantity: int, cycle: Literal["monthly", "annual"]
    ) -> Decimal:
        """Return the price of `quantity` licenses for a whole cycle, not rounded."""
        months = MONTHS_IN_A_YEAR if cycle == "annual" else 1
        if sku is Sku.WORKPLACE:
            return self.workplace * quantity * months
        prices = {int(sold): price for sold, price in self.large_meeting.items()}
        return prices[capacity or 0] * quantity * months
