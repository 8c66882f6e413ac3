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
SoldWebinarCapacity = Literal["500", "1000", "3000", "5000", "10000"]
Prices = dict[SoldCapacity, Price]
WebinarPrices = dict[SoldWebinarCapacity, Price]

_EXAMPLE_WORKPLACE: Final = Decimal("13.00")
_EXAMPLE_LARGE_MEETING: Final[Mapping[SoldCapacity, Decimal]] = MappingProxyType(
    {
        "500": Decimal("50.00"),
        "1000": Decimal("90.00"),
        "3000": Decimal("200.00"),
        "5000": Decimal("300.00"),
    }
)
_EXAMPLE_WEBINAR: Final[Mapping[SoldWebinarCapacity, Decimal]] = MappingProxyType(
    {
        "500": Decimal("79.00"),
        "1000": Decimal("340.00"),
        "3000": Decimal("990.00"),
        "5000": Decimal("2490.00"),
        "10000": Decimal("6490.00"),
    }
)


def _completed(prices: Prices) -> Prices:
    return {**_EXAMPLE_LARGE_MEETING, **prices}


def _completed_webinar(prices: WebinarPrices) -> WebinarPrices:
    return {**_EXAMPLE_WEBINAR, **prices}


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
    webinar: Annotated[WebinarPrices, AfterValidator(_completed_webinar)] = Field(
        default_factory=lambda: _completed_webinar({})
    )

    def price(
        self, sku: Sku, capacity: int | None, quantity: int, cycle: Literal["monthly", "annual"]
    ) -> Decimal:
        """Return the price of `quantity` licenses for a whole cycle, not rounded."""
        months = MONTHS_IN_A_YEAR if cycle == "annual" else 1
        return self._monthly(sku, capacity) * quantity * months

    def _monthly(self, sku: Sku, capacity: int | None) -> Decimal:
        match sku:
            case Sku.WORKPLACE:
                return self.workplace
            case Sku.LARGE_MEETING:
                prices = {int(sold): price for sold, price in self.large_meeting.items()}
            case Sku.WEBINAR:
                prices = {int(sold): price for sold, price in self.webinar.items()}
        return prices[capacity or 0]
