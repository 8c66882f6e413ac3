"""The price catalogue: the example, and prices in an import file."""

from decimal import Decimal
from typing import Literal

import pytest
from pydantic import ValidationError

from domain.account import Directory
from domain.catalog import Catalog
from domain.license import Sku


@pytest.mark.parametrize(
    ("sku", "capacity", "monthly"),
    [
        (Sku.WORKPLACE, None, "13"),
        (Sku.LARGE_MEETING, 500, "50"),
        (Sku.LARGE_MEETING, 1000, "90"),
        (Sku.LARGE_MEETING, 3000, "200"),
        (Sku.LARGE_MEETING, 5000, "300"),
        (Sku.WEBINAR, 500, "79"),
        (Sku.WEBINAR, 1000, "340"),
        (Sku.WEBINAR, 3000, "990"),
        (Sku.WEBINAR, 5000, "2490"),
        (Sku.WEBINAR, 10000, "6490"),
    ],
)
@pytest.mark.parametrize(("cycle", "months"), [("monthly", 1), ("annual", 10)])
def test_the_example_has_the_prices_of_the_rules(
    sku: Sku,
    capacity: int | None,
    monthly: str,
    cycle: Literal["monthly", "annual"],
    months: int,
) -> None:
    """ADD-4: a year costs ten months."""
    price = Catalog().price(sku, capacity, 3, cycle)
    assert price == 3 * months * Decimal(monthly)


def test_prices_missing_from_a_file_are_those_of_the_example() -> None:
    """ADD-4: an imported catalogue may be partial."""
    catalog = Catalog.model_validate(
        {"large-meeting": {"500": "49.90", "5000": 250}, "webinar": {"10000": "6000.00"}}
    )
    assert catalog.model_dump(mode="json") == {
        "workplace": "13.00",
        "large-meeting": {"500": "49.90", "1000": "90.00", "3000": "200.00", "5000": "250"},
        "webinar": {
            "500": "79.00",
            "1000": "340.00",
            "3000": "990.00",
            "5000": "2490.00",
            "10000": "6000.00",
        },
    }


@pytest.mark.parametrize(
    ("catalog", "place"),
    [
        ({"webinar": "1.00"}, ("webinar",)),
        ({"workplace": "free"}, ("workplace",)),
        ({"workplace": -1}, ("workplace",)),
        ({"workplace": True}, ("workplace",)),
        ({"workplace": "10000000"}, ("workplace",)),
        ({"large-meeting": "50.00"}, ("large-meeting",)),
        ({"large-meeting": {"750": "60.00"}}, ("large-meeting", "750", "[key]")),
        ({"large-meeting": {"10000": "600.00"}}, ("large-meeting", "10000", "[key]")),
        ({"webinar": {"100": "60.00"}}, ("webinar", "100", "[key]")),
        ({"large-meeting": {"500": None}}, ("large-meeting", "500")),
        ({"large_meeting": {}}, ("large_meeting",)),
    ],
)
def test_an_error_in_a_catalogue_is_reported_with_its_path(
    catalog: dict[str, object], place: tuple[str, ...]
) -> None:
    """ADD-4: an invalid price is refused with its path in the file."""
    with pytest.raises(ValidationError) as invalid:
        Directory.model_validate({"catalog": catalog, "accounts": []})
    [error] = invalid.value.errors()
    assert error["loc"] == ("catalog", *place)
