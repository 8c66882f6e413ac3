"""Money on its way back to the payment methods it came from (REF)."""

from collections.abc import Callable, Collection, Iterator
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import AwareDatetime

from domain.journal import JournalEntry
from domain.model import Value
from domain.money import Money
from domain.text import OneLine

LATE_LOOKUP_INTERVAL: Final = timedelta(weeks=1)
"""Once the next business days are over: what was merely late has arrived by then."""
LATE_LOOKUP_PERIOD: Final = timedelta(days=90)
"""A quarter: its accounts are then closed, and only a notification is still believed."""


class RefundState(StrEnum):
    """Where a refund stands; `states/refund.py` draws how it moves."""

    REQUESTED = "requested"
    PROCESSING = "processing"
    OVERDUE = "overdue"
    FAILED = "failed"
    SETTLED = "settled"
    CONVERTED = "converted"
    CLOSED = "closed"

    @property
    def finished(self) -> bool:
        """Nothing is waited for: the invitation is no longer refunding (REF-6).

        A success that the provider reports later still moves it on (REF-4).
        """
        return self in {RefundState.SETTLED, RefundState.CONVERTED, RefundState.CLOSED}


class PartState(StrEnum):
    """What became of one payment's share: the provider's words, and three of ours."""

    REQUESTED = "requested"
    """Ours: the provider has not been asked, or has not answered yet."""
    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    CONVERTED = "converted"
    """Ours: turned into credit of the target account (REF-4)."""
    CLOSED = "closed"
    """Ours: an operator gave up (REF-4)."""

    @property
    def open(self) -> bool:
        """The provider may still say how it ends."""
        return self in {PartState.REQUESTED, PartState.PENDING, PartState.REQUIRES_ACTION}

    @property
    def failed(self) -> bool:
        """The provider will not return this share (REF-4)."""
        return self in {PartState.FAILED, PartState.CANCELED}

    @property
    def converted_or_closed(self) -> bool:
        """Ours, not the provider's: only a late success changes it (REF-4)."""
        return self in {PartState.CONVERTED, PartState.CLOSED}


class RefundPart(Value):
    """One payment's share of a refund (QUO-3)."""

    payment: str
    method: Literal["card", "bank"]
    amount: Money
    """Never more than was really paid by it."""
    state: PartState = PartState.REQUESTED
    provider_id: str | None = None
    failure: OneLine | None = None
    """The provider's reason, for example `expired_or_canceled_card`."""
    attempt: int = 1
    """Which request this is, counted from 1; a retry by an operator is the next."""
    to_method: str | None = None
    """Another payment method that a retry asked for; None: the original one."""


class RefundOrder(Value):
    """The input of a refund: what goes back, to whom, and the dates that were told (REF-1)."""

    refund_id: str
    invitation_id: str
    source: str
    """The account whose payments are returned; its days and holidays count."""
    target: str
    """The account that the payee has joined; what fails may become its credit."""
    payee: str
    """The normalized address of the person who is told."""
    locale: str | None = None
    parts: tuple[RefundPart, ...]
    requested_at: AwareDatetime
    arrives_between: tuple[date, date]
    """The first and the last day on which it arrives on time, both told to the payee."""
    lookups: tuple[AwareDatetime, ...]
    """When to ask the provider, as worked out at the request (REF-2)."""
    late_from: AwareDatetime
    """From this instant on an unsettled refund is overdue (REF-3)."""

    @property
    def workflow_id(self) -> str:
        """One run for each refund (REF-5)."""
        return f"refund/{self.refund_id}"

    def key(self, part: RefundPart) -> str:
        """The provider's idempotency key: a business id, the same on every retry (REF-5)."""
        return f"{self.refund_id}/{part.payment}/{part.attempt}"


class LateSuccess(Value):
    """It has arrived, but the credit that it had become is used already (REF-4)."""

    at: AwareDatetime
    amount: Money


class Refund(Value):
    """A refund as it stands: what `refund show` prints and what the store keeps."""

    refund_id: str
    workflow_id: str
    state: RefundState
    amount: Money
    """What goes back to payment methods, not the whole quote."""
    amount_open: Money
    """What has neither arrived nor been converted or given up."""
    parts: tuple[RefundPart, ...]
    requested_at: AwareDatetime
    arrives_between: tuple[date, date]
    settled_at: AwareDatetime | None = None
    failure: OneLine | None = None
    not_reversed: LateSuccess | None = None
    """For the operators, until it can be reversed."""
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = ()
    """The updates that an outsider may send now."""

    @property
    def returned(self) -> Money:
        """What the provider says has arrived."""
        return self._sum_of(lambda state: state is PartState.SUCCEEDED)

    @property
    def failed(self) -> Money:
        """What the provider will not return, and nobody has decided about (REF-4)."""
        return self._sum_of(lambda state: state.failed)

    @property
    def converted(self) -> Money:
        """What has become credit of the target account (REF-4)."""
        return self._sum_of(lambda state: state is PartState.CONVERTED)

    def total_of(self, payments: Collection[str]) -> Money:
        """What the parts of these payments come to."""
        parts = tuple(part for part in self.parts if part.payment in payments)
        return _sum_of(parts or self.parts, lambda state: bool(parts))

    def returned_since(self, before: Self) -> Money:
        """What has arrived since it stood as `before`."""
        known = {part.payment for part in before.parts if part.state is PartState.SUCCEEDED}
        return self.total_of(
            {part.payment for part in self.parts if part.state is PartState.SUCCEEDED} - known
        )

    @property
    def may_arrive_late(self) -> bool:
        """Something was settled otherwise that the provider may still report as arrived (REF-4)."""
        return any(part.provider_id and part.state.converted_or_closed for part in self.parts)

    def _sum_of(self, these: Callable[[PartState], bool]) -> Money:
        return _sum_of(self.parts, these)

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """The refund after `entry`: the one way in which it changes state."""
        return self.model_copy(
            update={
                "state": RefundState(entry.to_state),
                "journal": (*self.journal, entry),
                **changes,
            }
        )

    def with_parts(self, parts: tuple[RefundPart, ...]) -> Self:
        """The same refund with its parts as the provider tells of them."""
        failures = [part.failure for part in parts if part.state.failed and part.failure]
        return self.model_copy(
            update={
                "parts": parts,
                "amount_open": amount_open(parts),
                "failure": "; ".join(failures) or None,
            }
        )


def amount_open(parts: tuple[RefundPart, ...]) -> Money:
    """What has neither arrived nor been converted or given up."""
    return _sum_of(parts, lambda state: state.open or state.failed)


def _sum_of(parts: tuple[RefundPart, ...], these: Callable[[PartState], bool]) -> Money:
    # Nothing, with the digits of the currency.
    amount = parts[0].amount
    nothing = amount.model_copy(update={"amount": amount.amount * 0})
    return sum((part.amount for part in parts if these(part.state)), start=nothing)


class RetryRefund(Value):
    """An operator asks the provider anew for what failed (REF-4)."""

    method: str | None = None
    """Another payment method of the payee's; None: the original ones."""


class ConvertRefund(Value):
    """What failed is to become credit of the target account (REF-4)."""


class CloseRefund(Value):
    """An operator gives up (REF-4)."""

    reason: OneLine


class WatchRefund(Value):
    """Go on looking after what was given up while it was on its way (REF-4)."""

    order: RefundOrder
    closed_at: AwareDatetime


def late_lookups(closed_at: datetime, business_days: tuple[datetime, ...]) -> Iterator[datetime]:
    """When to look after what was given up: on the next business days, and then weekly."""
    yield from business_days
    moment = max(business_days, default=closed_at)
    while (moment := moment + LATE_LOOKUP_INTERVAL) <= closed_at + LATE_LOOKUP_PERIOD:
        yield moment


class StartRefund(Value):
    """The input of one run: the order, and what the run before, or the store, hands on."""

    order: RefundOrder
    carried: Refund | None = None
