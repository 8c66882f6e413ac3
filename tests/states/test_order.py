"""Tests of the states of an order."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from domain.license import Sku
from domain.money import Money
from domain.order import BuyLicenses, Order, OrderQuote, OrderState
from states.lifecycle import after, allowed
from states.order import OrderMachine, ending_event, initial_record

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def an_order(state: OrderState) -> Order:
    order = BuyLicenses(
        order_id="1",
        account="acme",
        sku=Sku.WORKPLACE,
        quantity=2,
        cycle="monthly",
        bought_by="admin@acme.example",
    )
    due = Money(amount=Decimal("13.00"), currency="EUR")
    quote = OrderQuote(due_now=due, then=due, next_billing_date=date(2026, 12, 1))
    return initial_record(order, quote, at=NOON).model_copy(update={"state": state})


@pytest.mark.parametrize(
    ("state", "updates"),
    [
        ("draft", ()),
        ("review", ("confirm", "cancel")),
        ("placed", ("cancel",)),
        ("active", ("cancel", "change_quantity")),
        ("payment_failed", ("cancel",)),
        ("cancelled", ()),
        ("ended", ()),
    ],
)
def test_a_record_lists_the_updates_that_callers_may_send(
    state: str, updates: tuple[str, ...]
) -> None:
    """ADD-3, ADD-6: `allowed` has no update that the state refuses."""
    assert allowed(OrderMachine, state) == updates


@pytest.mark.parametrize("state", [state for state in OrderState if not state.final])
def test_an_order_that_ends_at_once_is_ended_only_if_it_was_paid(state: OrderState) -> None:
    """ADD-6: `cancelled` is for orders that were never paid."""
    paid = state in {OrderState.PAID, OrderState.ACTIVE}
    order = an_order(state).model_copy(update={"paid_until": NOON if paid else None})
    over = after(OrderMachine, order, ending_event(order), at=NOON, by="seatflow")
    assert over.state is (OrderState.ENDED if paid else OrderState.CANCELLED)
