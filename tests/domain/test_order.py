"""Prices of orders, and retries of declined payments."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.catalog import Catalog
from domain.error import ErrorCode, Refused
from domain.license import Sku
from domain.money import zero
from domain.order import (
    MAX_LICENSES_PER_ORDER,
    BuyLicenses,
    Order,
    OrderQuote,
    OrderState,
    PlanTerm,
    billing_day,
    price_of,
    require_valid_order,
)

MONTHLY_PLAN = PlanTerm(start=date(2026, 2, 20), end=date(2026, 3, 20), annual=False)
ANNUAL_PLAN = PlanTerm(start=date(2025, 7, 1), end=date(2026, 7, 1), annual=True)
LONG_PLAN = PlanTerm(start=date(2025, 7, 1), end=date(2030, 7, 1), annual=True)
LAPSED_PLAN = PlanTerm(start=date(2024, 1, 5), end=date(2025, 1, 5), annual=True)


def an_order(**more: Any) -> BuyLicenses:
    return BuyLicenses(
        **{
            "order_id": "o1",
            "account": "acme",
            "sku": Sku.LARGE_MEETING,
            "capacity": 500,
            "quantity": 1,
            "cycle": "monthly",
            "bought_by": "adam@acme.example",
            **more,
        }
    )


# (cycle, currency, quantity, plan, billing day named, bought on, due now, next billing date).
QUOTES = [
    pytest.param("monthly", "EUR", 1, None, 1, (2026, 3, 2), "48.39", (2026, 4, 1),
                 id="50 × 30/31"),
    pytest.param("monthly", "EUR", 3, None, 1, (2026, 3, 2), "145.16", (2026, 4, 1),
                 id="rounded once, not for each license: 3 × 48.39 would be 145.17"),
    pytest.param("monthly", "JPY", 1, None, 1, (2026, 3, 2), "48", (2026, 4, 1), id="no decimals"),
    pytest.param("monthly", "KWD", 1, None, 1, (2026, 3, 2), "48.387", (2026, 4, 1), id="three"),
    pytest.param("monthly", "EUR", 1, None, None, (2026, 3, 2), "50.00", (2026, 4, 2),
                 id="else the day of the order"),
    pytest.param("monthly", "EUR", 1, MONTHLY_PLAN, None, (2026, 3, 2), "32.14", (2026, 3, 20),
                 id="else the day on which the plan's period began: 18/28"),
    pytest.param("monthly", "EUR", 1, MONTHLY_PLAN, 2, (2026, 3, 2), "50.00", (2026, 4, 2),
                 id="the account's own day comes first"),
    pytest.param("annual", "EUR", 1, None, 1, (2026, 3, 2), "500.00", (2027, 3, 2),
                 id="a year on"),
    pytest.param("annual", "EUR", 1, MONTHLY_PLAN, None, (2026, 3, 2), "500.00", (2027, 3, 2),
                 id="a year on beside a monthly plan"),
    pytest.param("annual", "EUR", 1, ANNUAL_PLAN, 1, (2026, 3, 2), "165.75", (2026, 7, 1),
                 id="the annual plan's end: 500 × 121/365"),
    pytest.param("annual", "EUR", 1, LONG_PLAN, 1, (2026, 3, 2), "165.75", (2026, 7, 1),
                 id="a plan that was paid for years: a cycle is never longer than its own year"),
    pytest.param("annual", "EUR", 1, LAPSED_PLAN, None, (2026, 3, 2), "423.29", (2027, 1, 5),
                 id="an annual plan that was not renewed here: its next end"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cycle", "currency", "quantity", "plan", "named", "bought_on", "due_now", "following"), QUOTES
)
def test_an_order_has_its_amounts_and_next_billing_date(
    cycle: str,
    currency: str,
    quantity: int,
    plan: PlanTerm | None,
    named: int | None,
    bought_on: tuple[int, int, int],
    due_now: str,
    following: tuple[int, int, int],
) -> None:
    """ADD-4: with the prices of the example."""
    order, on = an_order(cycle=cycle, quantity=quantity), date(*bought_on)
    term = billing_day(order, on, plan, named).term(on)
    assert price_of(order, quantity, Catalog(), currency, term.share).amount == Decimal(due_now)
    assert term.end == date(*following)


def test_an_unknown_capacity_or_quantity_is_refused() -> None:
    """ADD-1: each with its error code."""
    unsold: list[tuple[dict[str, Any], ErrorCode]] = [
        ({"capacity": 750}, ErrorCode.INVALID_CAPACITY),
        ({"capacity": None}, ErrorCode.INVALID_CAPACITY),
        ({"sku": Sku.WORKPLACE}, ErrorCode.INVALID_CAPACITY),
        ({"quantity": MAX_LICENSES_PER_ORDER + 1}, ErrorCode.INVALID_QUANTITY),
    ]
    for more, code in unsold:
        with pytest.raises(Refused) as refused:
            require_valid_order(an_order(**more))
        assert refused.value.code is code
    require_valid_order(an_order(quantity=MAX_LICENSES_PER_ORDER))


def test_a_declined_payment_is_retried_after_1_3_5_and_7_days() -> None:
    """ADD-4: counted from the first failure; after that there is no retry."""
    since = datetime(2026, 3, 2, 12, tzinfo=UTC)
    quote = OrderQuote(due_now=zero("EUR"), then=zero("EUR"), next_billing_date=date(2026, 4, 1))
    order = Order(
        **an_order().model_dump(exclude={"policy"}),
        workflow_id="addon/acme/o1",
        state=OrderState.PAYMENT_FAILED,
        quote=quote,
        failed_since=since,
    )
    tries = [order.model_copy(update={"tries": number}).next_try_at() for number in range(1, 6)]
    assert tries == [*(since + timedelta(days=days) for days in (1, 3, 5, 7)), None]
