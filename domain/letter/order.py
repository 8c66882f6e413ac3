"""E-mails to the buyer about an order, and to users who lose a license with it (ADD)."""

from collections.abc import Iterator
from datetime import date
from typing import Literal

from pydantic import AwareDatetime

from domain.letter.base import BaseLetter, Reader
from domain.license import Sku
from domain.model import Value
from domain.money import Money
from domain.order import Cycle, Order
from domain.text import OneLine


class OrderParties(Value):
    """The people concerned by an order, as the directory has them now."""

    account_name: OneLine
    buyer: Reader
    """The buyer, or the account's owner when the buyer has left it."""
    holders: tuple[Reader, ...] = ()
    """The users who lost a license in the last transition (ADD-6, ADD-7)."""


class OrderedLicenses(Value):
    """The licenses of an order."""

    order_id: str
    sku: Sku
    capacity: int | None
    quantity: int


class NextPayment(Value):
    """The charge at the beginning of the next cycle."""

    amount: Money
    on: date
    """A date in the account's time zone."""
    cycle: Cycle


class OrderReviewLetter(BaseLetter):
    """E-mail to the buyer: a review waits for confirmation; nothing is ordered yet (ADD-3)."""

    event: Literal["order_review"] = "order_review"
    order: OrderedLicenses
    due_now: Money
    next_payment: NextPayment
    lapses_at: AwareDatetime


class OrderConfirmedLetter(BaseLetter):
    """E-mail to the buyer: the order is paid and the licenses are available (ADD-5)."""

    event: Literal["order_confirmed"] = "order_confirmed"
    order: OrderedLicenses
    amount: Money
    """The amount charged to credit and payment methods."""
    next_payment: NextPayment


class OrderRenewedLetter(BaseLetter):
    """E-mail to the buyer: the next cycle is paid (ADD-7)."""

    event: Literal["order_renewed"] = "order_renewed"
    order: OrderedLicenses
    amount: Money
    """The amount charged to credit and payment methods."""
    next_payment: NextPayment


class OrderPaymentFailedLetter(BaseLetter):
    """E-mail to the buyer: the payment was declined, with the time of the retry (ADD-4, ADD-7)."""

    event: Literal["order_payment_failed"] = "order_payment_failed"
    order: OrderedLicenses
    amount: Money
    renewal: bool
    """True if the order was paid before, so that its licenses keep working."""
    next_try_at: AwareDatetime


class OrderCancelledLetter(BaseLetter):
    """E-mail to the buyer: the order is cancelled, at once or with its term (ADD-6)."""

    event: Literal["order_cancelled"] = "order_cancelled"
    order: OrderedLicenses
    reason: str | None
    """The order's note: the reason, unless the buyer cancelled it."""
    ends_on: date | None = None
    """The end of the paid term; None if the order was never paid."""


class OrderEndedLetter(BaseLetter):
    """E-mail to the buyer: the order has ended and its licenses are released (ADD-6, ADD-7)."""

    event: Literal["order_ended"] = "order_ended"
    order: OrderedLicenses
    reason: str | None
    """The order's note: the end of its term, declined payments, or the closed account."""


class LicenseEndedLetter(BaseLetter):
    """E-mail to a user who lost a license with its order (ADD-6, ADD-7)."""

    event: Literal["license_ended"] = "license_ended"
    sku: Sku
    capacity: int | None


AnyOrderLetter = (
    OrderReviewLetter
    | OrderConfirmedLetter
    | OrderRenewedLetter
    | OrderPaymentFailedLetter
    | OrderCancelledLetter
    | OrderEndedLetter
    | LicenseEndedLetter
)


def order_letters(
    order: Order, parties: OrderParties, *, lapses_at: AwareDatetime | None = None
) -> Iterator[AnyOrderLetter]:
    """Yield the e-mails about the last transition, to the buyer and to users who lost a license.

    `lapses_at` is the time at which a waiting review lapses.
    """
    # An order is renewed for years; each transition has its own e-mail.
    about = f"{len(order.journal)}.{order.order_id}"
    yield from _buyer_letters(order, parties, about, lapses_at)
    for number, holder in enumerate(parties.holders, start=1):
        yield LicenseEndedLetter(
            id=f"license_ended.{number}.{about}",
            reader=holder,
            account_name=parties.account_name,
            sku=order.sku,
            capacity=order.capacity,
        )


def _buyer_letters(
    order: Order, parties: OrderParties, about: str, lapses_at: AwareDatetime | None
) -> Iterator[AnyOrderLetter]:
    buyer, name, quote = parties.buyer, parties.account_name, order.quote
    amount = order.invoices[-1].amount if order.invoices else quote.due_now
    ordered = OrderedLicenses(
        order_id=order.order_id, sku=order.sku, capacity=order.capacity, quantity=order.quantity
    )
    next_payment = NextPayment(amount=quote.then, on=quote.next_billing_date, cycle=order.cycle)
    match order.journal[-1].event:
        case "review" if lapses_at:
            yield OrderReviewLetter(
                id=f"order_review.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                due_now=quote.due_now,
                next_payment=next_payment,
                lapses_at=lapses_at,
            )
        case "activate":
            yield OrderConfirmedLetter(
                id=f"order_confirmed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                next_payment=next_payment,
            )
        case "renew":
            yield OrderRenewedLetter(
                id=f"order_renewed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                next_payment=next_payment,
            )
        case "decline" if next_try_at := order.next_try_at():
            yield OrderPaymentFailedLetter(
                id=f"order_payment_failed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                renewal=order.was_paid,
                next_try_at=next_try_at,
            )
        case "lapse" | "give_up" | "cancel":
            yield OrderCancelledLetter(
                id=f"order_cancelled.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                reason=order.note,
                ends_on=quote.next_billing_date if order.was_paid else None,
            )
        case "end":
            yield OrderEndedLetter(
                id=f"order_ended.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                reason=order.note,
            )
