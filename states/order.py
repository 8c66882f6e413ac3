"""The machine of an order (ADD)."""

from pydantic import AwareDatetime
from statemachine.states import States

from domain.error import ErrorCode
from domain.journal import JournalEntry
from domain.order import BuyLicenses, Order, OrderQuote, OrderState
from states.lifecycle import LifecycleMachine, allowed


class OrderMachine(LifecycleMachine):
    """The lifecycle of an order, from the draft to the end of its last term.

    `cancelled` is for orders that were never paid. A paid order becomes `ended`, and its
    licenses are released, at the end of its term or after the last retry of a declined renewal
    (ADD-6, ADD-7).

    A cancellation while a payment is undecided, and one of a paid order in Temporal, are entries in
    the journal (OPS-10): the first takes effect when the payment is decided.
    """

    _ = States.from_enum(
        OrderState,
        initial=OrderState.DRAFT,
        final=[state for state in OrderState if state.final],
        use_enum_instance=True,
    )

    review = _.DRAFT.to(_.REVIEW)
    place = _.DRAFT.to(_.PLACED)
    confirm = _.REVIEW.to(_.PLACED)
    lapse = _.REVIEW.to(_.CANCELLED)
    pay = _.PLACED.to(_.PAID) | _.PAYMENT_FAILED.to(_.PAID)
    activate = _.PAID.to(_.ACTIVE)
    renew = _.ACTIVE.to.itself() | _.PAYMENT_FAILED.to(_.ACTIVE)
    decline = (
        _.PLACED.to(_.PAYMENT_FAILED) | _.ACTIVE.to(_.PAYMENT_FAILED) | _.PAYMENT_FAILED.to.itself()
    )
    change_quantity = _.ACTIVE.to.itself()
    reduce = _.ACTIVE.to.itself()
    cancel = _.REVIEW.to(_.CANCELLED) | _.PAYMENT_FAILED.to(_.CANCELLED) | _.ACTIVE.to.itself()
    cancel_requested = _.PLACED.to.itself() | _.ACTIVE.to.itself() | _.PAYMENT_FAILED.to.itself()
    give_up = (
        _.DRAFT.to(_.CANCELLED)
        | _.REVIEW.to(_.CANCELLED)
        | _.PLACED.to(_.CANCELLED)
        | _.PAYMENT_FAILED.to(_.CANCELLED)
    )
    end = _.PAID.to(_.ENDED) | _.ACTIVE.to(_.ENDED) | _.PAYMENT_FAILED.to(_.ENDED)

    updates = ("confirm", "cancel", "change_quantity")
    # Its payment is undecided: cancelling requests `cancel_requested`.
    other_updates = {"cancel": frozenset({OrderState.PLACED})}
    waits_for = {
        OrderState.DRAFT: "the store to write the draft",
        OrderState.REVIEW: "the buyer to confirm it",
        OrderState.PLACED: "the payment provider to charge the first payment",
        OrderState.PAID: "the store to list the licenses",
        OrderState.ACTIVE: "the next billing date",
        OrderState.PAYMENT_FAILED: "the next retry of the declined payment",
    }
    happened = {
        OrderState.DRAFT: "Drafted",
        OrderState.REVIEW: "Opened for review",
        OrderState.PLACED: "Placed",
        OrderState.PAID: "Paid",
        OrderState.ACTIVE: "Activated",
        OrderState.PAYMENT_FAILED: "Payment declined",
        OrderState.CANCELLED: "Cancelled",
        OrderState.ENDED: "Ended",
    }
    participles = {"confirm": "confirmed", "cancel": "cancelled", "change_quantity": "reduced"}
    moved_by = {
        "review": "the store",
        "place": "the store",
        "confirm": "the buyer",
        "lapse": "the clock",
        "pay": "the payment provider",
        "activate": "the store",
        "renew": "the payment provider",
        "decline": "the payment provider",
        "change_quantity": "the buyer",
        "reduce": "the clock",
        "cancel": "the buyer",
        "cancel_requested": "the buyer during a payment, or a cancellation in Temporal",
        "give_up": "the clock, or the account's end",
        "end": "the clock, the buyer after a declined renewal, or the account's end",
    }
    refusals = {state: ErrorCode.CONFLICT for state in OrderState}


def initial_record(order: BuyLicenses, quote: OrderQuote, *, at: AwareDatetime) -> Order:
    """Return the draft of an order at `quote`."""
    state = OrderState.DRAFT
    return Order(
        order_id=order.order_id,
        workflow_id=order.workflow_id,
        account=order.account,
        state=state,
        sku=order.sku,
        capacity=order.capacity,
        quantity=order.quantity,
        cycle=order.cycle,
        portal=order.portal,
        bought_by=order.bought_by,
        policy=order.policy,
        quote=quote,
        caller_waits_until=order.caller_waits_until,
        journal=(
            JournalEntry(
                at=at,
                event="buy",
                from_state=None,
                to_state=state,
                by=order.author or order.bought_by,
            ),
        ),
        allowed=allowed(OrderMachine, state),
    )


def ending_event(order: Order) -> str:
    """Return the event that ends a live order at once: `end` if it was paid, else `give_up`."""
    return "end" if order.was_paid else "give_up"
