"""E-mails to the buyer about an order of licenses, and to who loses one with it (ADD)."""

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
    """Whom an order of licenses concerns, as the directory knows them now."""

    account_name: OneLine
    buyer: Reader
    """Who bought, or the owner of the account when the buyer has left it."""
    holders: tuple[Reader, ...] = ()
    """Who has just lost a license of it (ADD-6, ADD-7)."""


class OrderedLicenses(Value):
    """What an order is for."""

    order_id: str
    sku: Sku
    capacity: int | None
    quantity: int


class NextPayment(Value):
    """What will be charged when the next cycle begins."""

    amount: Money
    on: date
    """In the account's time zone."""
    cycle: Cycle


class OrderReviewLetter(BaseLetter):
    """To the buyer: a review waits to be confirmed; nothing is ordered yet (ADD-3)."""

    event: Literal["order_review"] = "order_review"
    order: OrderedLicenses
    due_now: Money
    next_payment: NextPayment
    lapses_at: AwareDatetime


class OrderConfirmedLetter(BaseLetter):
    """To the buyer: paid, and the licenses are there (ADD-5)."""

    event: Literal["order_confirmed"] = "order_confirmed"
    order: OrderedLicenses
    amount: Money
    """What was charged, to credit and payment methods."""
    next_payment: NextPayment


class OrderRenewedLetter(BaseLetter):
    """To the buyer: the next cycle is paid (ADD-7)."""

    event: Literal["order_renewed"] = "order_renewed"
    order: OrderedLicenses
    amount: Money
    """What was charged, to credit and payment methods."""
    next_payment: NextPayment


class OrderPaymentFailedLetter(BaseLetter):
    """To the buyer: declined, and when it is tried again (ADD-4, ADD-7)."""

    event: Literal["order_payment_failed"] = "order_payment_failed"
    order: OrderedLicenses
    amount: Money
    renewal: bool
    """Whether the licenses are there already and go on working."""
    next_try_at: AwareDatetime


class OrderCancelledLetter(BaseLetter):
    """To the buyer: nothing was paid and nothing will be, or it ends with its term (ADD-6)."""

    event: Literal["order_cancelled"] = "order_cancelled"
    order: OrderedLicenses
    reason: str | None
    """The order's note: why, where it was not the buyer who said so."""
    ends_on: date | None = None
    """The end of the term that was paid for; None where nothing ever was."""


class OrderEndedLetter(BaseLetter):
    """To the buyer: its licenses are released (ADD-6, ADD-7)."""

    event: Literal["order_ended"] = "order_ended"
    order: OrderedLicenses
    reason: str | None
    """The order's note: its term, declined payments, or the account."""


class LicenseEndedLetter(BaseLetter):
    """To a user who has lost a license with its order (ADD-6, ADD-7)."""

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
    """What the buyer is told of the order where it stands now, and each who lost a license.

    `lapses_at` is when a review that waits lapses.
    """
    # An order is renewed for years: the letter about each move is one of its own.
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
    coming = NextPayment(amount=quote.then, on=quote.next_billing_date, cycle=order.cycle)
    match order.journal[-1].event:
        case "review" if lapses_at:
            yield OrderReviewLetter(
                id=f"order_review.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                due_now=quote.due_now,
                next_payment=coming,
                lapses_at=lapses_at,
            )
        case "activate":
            yield OrderConfirmedLetter(
                id=f"order_confirmed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                next_payment=coming,
            )
        case "renew":
            yield OrderRenewedLetter(
                id=f"order_renewed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                next_payment=coming,
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
