"""The drawing of a purchase, event by event."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from statemachine.exceptions import TransitionNotAllowed

from domain.error import ErrorCode, Refused
from domain.license import Sku
from domain.money import Money
from domain.order import BuyLicenses, Order, OrderQuote, OrderState
from states.lifecycle import after, allowed, transitions
from states.order import OrderMachine, ending, opening

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TERM = {
    "renew": "active",
    "decline": "payment_failed",
    "change_quantity": "active",
    "reduce": "active",
    "cancel": "active",
    "end": "ended",
}

# ADD: the lifecycle as domain rules tell it. What is not here is refused.
DRAWING = {
    "draft": {"review": "review", "place": "placed", "give_up": "cancelled"},
    "review": {
        "confirm": "placed",
        "lapse": "cancelled",
        "cancel": "cancelled",
        "give_up": "cancelled",
    },
    "placed": {"pay": "paid", "decline": "payment_failed", "give_up": "cancelled"},
    "paid": {"activate": "active", "end": "ended"},
    "active": TERM,
    "payment_failed": {
        "pay": "paid",
        "renew": "active",
        "decline": "payment_failed",
        "cancel": "cancelled",
        "give_up": "cancelled",
        "end": "ended",
    },
}
EVENTS = sorted({event for moves in DRAWING.values() for event in moves})
EVERYWHERE = [(state, event) for state in OrderState for event in EVENTS]


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
    return opening(order, quote, at=NOON).model_copy(update={"state": state})


@pytest.mark.parametrize(("state", "event"), EVERYWHERE)
def test_every_event_in_every_state_moves_the_machine_as_drawn_or_not_at_all(
    state: OrderState, event: str
) -> None:
    machine = OrderMachine(start_value=state)
    target = DRAWING.get(state, {}).get(event)
    if target:
        machine.send(event)
        assert machine.current_state_value == target
    else:
        with pytest.raises(TransitionNotAllowed):
            machine.send(event)
        assert machine.current_state_value == state


@pytest.mark.parametrize(("state", "event"), EVERYWHERE)
def test_a_record_foresees_what_the_machine_will_do_or_is_in_conflict(
    state: OrderState, event: str
) -> None:
    order = an_order(state)
    target = DRAWING.get(state, {}).get(event)
    if target is None:
        with pytest.raises(Refused) as refused:
            after(OrderMachine, order, event, at=NOON, by="somebody")
        assert refused.value.code is ErrorCode.CONFLICT
        return
    moved = after(OrderMachine, order, event, at=NOON, by="somebody")
    assert moved.state == target
    entry = moved.journal[-1]
    assert (entry.event, entry.from_state, entry.to_state) == (event, state, target)
    assert moved.journal[:-1] == order.journal


def test_the_machine_and_the_table_of_rules_are_the_same_drawing() -> None:
    assert transitions(OrderMachine) == {
        (state, event): target
        for state, moves in DRAWING.items()
        for event, target in moves.items()
    }


def test_every_state_and_event_is_explained() -> None:
    assert set(OrderMachine.refusals) == set(OrderState)
    assert set(OrderMachine.waits_for) == {s for s in OrderState if not s.final}
    assert set(OrderMachine.moved_by) == set(EVENTS)


@pytest.mark.parametrize(
    ("state", "updates"),
    [
        ("draft", ()),
        ("review", ("confirm", "cancel")),
        ("placed", ()),
        ("active", ("cancel", "change_quantity")),
        ("payment_failed", ("cancel",)),
        ("cancelled", ()),
        ("ended", ()),
    ],
)
def test_an_outsider_is_told_which_updates_may_be_sent(
    state: str, updates: tuple[str, ...]
) -> None:
    assert allowed(OrderMachine, state) == updates


@pytest.mark.parametrize("state", [state for state in OrderState if not state.final])
def test_what_is_over_at_once_has_ended_only_if_it_was_paid(state: OrderState) -> None:
    """ADD-6: `cancelled` is for orders that were never paid."""
    paid = state in {OrderState.PAID, OrderState.ACTIVE}
    order = an_order(state).model_copy(update={"paid_until": NOON if paid else None})
    over = after(OrderMachine, order, ending(order), at=NOON, by="seatflow")
    assert over.state is (OrderState.ENDED if paid else OrderState.CANCELLED)
