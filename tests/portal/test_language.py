"""The formats of pages in the reader's language."""

from decimal import Decimal

import pytest

from domain.money import Money
from portal.language import page_language


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ("en", "RSD\N{NO-BREAK SPACE}1,499.90"),
        ("de", "1.499,90\N{NO-BREAK SPACE}RSD"),
        ("nl", "RSD\N{NO-BREAK SPACE}1.499,90"),
    ],
)
def test_an_amount_has_the_decimals_of_iso_4217(locale: str, shown: str) -> None:
    """QUO-5, TXT-1: the page shows the binding amount, not one rounded to whole dinars."""
    language = page_language([locale], "Europe/Belgrade")
    assert language.amount(Money(amount=Decimal("1499.90"), currency="RSD")) == shown
