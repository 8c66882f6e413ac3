"""E-mails to the buyer about an order, and to users who lose a license with it (ADD)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Literal

from pydantic import AwareDatetime

from domain.attention import command
from domain.letter.base import BaseLetter, Contact, Guide, Reader, contact_for
from domain.license import Sku
from domain.model import Value
from domain.money import Money
from domain.order import REPLACED, Cycle, Order
from domain.text import OneLine


class OrderParties(Value):
    """The people concerned by an order, as the directory has them now."""

    account_name: OneLine
    buyer: Reader
    """The buyer, or the account's owner when the buyer has left it."""
    holders: tuple[Reader, ...] = ()
    """The users who lost a license in the last transition (ADD-6, ADD-7)."""
    admins: tuple[Reader, ...] = ()
    """The owner and admins of the account, the owner first; none of a closed account."""

    def contact_of(self, reader: Reader) -> Contact | None:
        """Return the first owner or admin of the account who is not the reader."""
        return contact_for(reader, *self.admins)


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

    untrue_after_changes: ClassVar[bool] = True
    guide: ClassVar[Guide | None] = "admin"
    event: Literal["order_review"] = "order_review"
    order: OrderedLicenses
    due_now: Money
    next_payment: NextPayment
    lapses_at: AwareDatetime

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the command that confirms the order."""
        return (command("seatflow", "order", "confirm", self.order.order_id),)


class OrderConfirmedLetter(BaseLetter):
    """E-mail to the buyer: the order is paid and the licenses are available (ADD-5)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["order_confirmed"] = "order_confirmed"
    order: OrderedLicenses
    amount: Money
    """The amount charged to credit and payment methods."""
    next_payment: NextPayment


class OrderRenewedLetter(BaseLetter):
    """E-mail to the buyer: the next cycle is paid (ADD-7)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["order_renewed"] = "order_renewed"
    order: OrderedLicenses
    amount: Money
    """The amount charged to credit and payment methods."""
    next_payment: NextPayment


class OrderPaymentFailedLetter(BaseLetter):
    """E-mail to the buyer: the payment was declined, with the time of the retry (ADD-4, ADD-7)."""

    untrue_after_changes: ClassVar[bool] = True
    guide: ClassVar[Guide | None] = "admin"
    event: Literal["order_payment_failed"] = "order_payment_failed"
    order: OrderedLicenses
    amount: Money
    renewal: bool
    """True if the order was paid before, so that its licenses keep working."""
    next_try_at: AwareDatetime

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the command that cancels the order."""
        return (command("seatflow", "order", "cancel", self.order.order_id),)


class OrderCancelledLetter(BaseLetter):
    """E-mail to the buyer: the order is cancelled, at once or with its term (ADD-6)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["order_cancelled"] = "order_cancelled"
    order: OrderedLicenses
    reason: str | None
    """The order's note: the reason, unless the buyer cancelled it."""
    ends_on: date | None = None
    """The end of the paid term; None if the order was never paid."""


class OrderEndedLetter(BaseLetter):
    """E-mail to the buyer: the order has ended and its licenses are released (ADD-6, ADD-7)."""

    guide: ClassVar[Guide | None] = "admin"
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


def order_letters(order: Order, parties: OrderParties) -> Iterator[AnyOrderLetter]:
    """Yield the e-mails about the last transition, to the buyer and to users who lost a license."""
    letters = _OrderLetters(order, parties)
    match order.journal[-1].event:
        case "review" if order.lapses_at:
            yield letters.review(order.lapses_at)
        case "activate":
            yield letters.confirmed()
        case "renew":
            yield letters.renewed()
        case "decline" if next_try_at := order.next_try_at():
            yield letters.payment_failed(next_try_at)
        case "cancel" if order.note == REPLACED:
            # The review that replaces it has an e-mail of its own.
            pass
        case "lapse" | "give_up" | "cancel":
            yield letters.cancelled()
        case "end":
            yield letters.ended()
    for number, holder in enumerate(parties.holders, start=1):
        yield letters.license_ended(number, holder)


@dataclass(frozen=True)
class _OrderLetters:
    """The possible e-mails about the last transition of an order."""

    order: Order
    parties: OrderParties

    @property
    def about(self) -> str:
        """Return the transition: an order is renewed for years, each time with another e-mail."""
        return f"{len(self.order.journal)}.{self.order.order_id}"

    @property
    def ordered(self) -> OrderedLicenses:
        return OrderedLicenses(
            order_id=self.order.order_id,
            sku=self.order.sku,
            capacity=self.order.capacity,
            quantity=self.order.quantity,
        )

    @property
    def amount(self) -> Money:
        """Return the amount of the last invoice, else of the quote."""
        invoices = self.order.invoices
        return invoices[-1].amount if invoices else self.order.quote.due_now

    @property
    def next_payment(self) -> NextPayment:
        quote = self.order.quote
        return NextPayment(amount=quote.then, on=quote.next_billing_date, cycle=self.order.cycle)

    def review(self, lapses_at: AwareDatetime) -> OrderReviewLetter:
        return OrderReviewLetter(
            id=f"order_review.{self.about}",
            reader=self.parties.buyer,
            account_name=self.parties.account_name,
            contact=self.parties.contact_of(self.parties.buyer),
            order=self.ordered,
            due_now=self.order.quote.due_now,
            next_payment=self.next_payment,
            lapses_at=lapses_at,
        )

    def confirmed(self) -> OrderConfirmedLetter:
        return OrderConfirmedLetter(
            id=f"order_confirmed.{self.about}",
            reader=self.parties.buyer,
            account_name=self.parties.account_name,
            contact=self.parties.contact_of(self.parties.buyer),
            order=self.ordered,
            amount=self.amount,
            next_payment=self.next_payment,
        )

    def renewed(self) -> OrderRenewedLetter:
        return OrderRenewedLetter(
            id=f"order_renewed.{self.about}",
            reader=self.parties.buyer,
            account_name=self.parties.account_name,
            contact=self.parties.contact_of(self.parties.buyer),
            order=self.ordered,
            amount=self.amount,
            next_payment=self.next_payment,
        )

    def payment_failed(self, next_try_at: AwareDatetime) -> OrderPaymentFailedLetter:
        return OrderPaymentFailedLetter(
            id=f"order_payment_failed.{self.about}",
            reader=self.parties.buyer,
            account_name=self.parties.account_name,
            contact=self.parties.contact_of(self.parties.buyer),
            order=self.ordered,
            amount=self.amount,
            renewal=self.order.was_paid,
            next_try_at=next_try_at,
        )

    def cancelled(self) -> OrderCancelledLetter:
        return OrderCancelledLetter(
            id=f"order_cancelled.{self.about}",
            reader=self.parties.buyer,
            account_name=self.parties.account_name,
            contact=self.parties.contact_of(self.parties.buyer),
            order=self.ordered,
            reason=self.order.note,
            ends_on=self.order.quote.next_billing_date if self.order.was_paid else None,
        )

    def ended(self) -> OrderEndedLetter:
        return OrderEndedLetter(
            id=f"order_ended.{self.about}",
            reader=self.parties.buyer,
            account_name=self.parties.account_name,
            contact=self.parties.contact_of(self.parties.buyer),
            order=self.ordered,
            reason=self.order.note,
        )

    def license_ended(self, number: int, holder: Reader) -> LicenseEndedLetter:
        return LicenseEndedLetter(
            id=f"license_ended.{number}.{self.about}",
            reader=holder,
            account_name=self.parties.account_name,
            contact=self.parties.contact_of(holder),
            sku=self.order.sku,
            capacity=self.order.capacity,
        )
