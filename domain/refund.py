"""Refunds to the original payment methods (REF)."""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import AwareDatetime

from domain.journal import OPERATOR, JournalEntry
from domain.model import Value
from domain.money import Money
from domain.text import OneLine

LATE_LOOKUP_INTERVAL: Final = timedelta(weeks=1)
"""The interval of look-ups of a closed refund, after those on the next business days."""
LATE_LOOKUP_PERIOD: Final = timedelta(days=90)
"""The time for which a closed refund is looked up.

Afterwards only a notification of the provider is applied.
"""


class RefundState(StrEnum):
    """The state of a refund; `states/refund.py` declares the transitions."""

    REQUESTED = "requested"
    PROCESSING = "processing"
    OVERDUE = "overdue"
    FAILED = "failed"
    SETTLED = "settled"
    CONVERTED = "converted"
    CLOSED = "closed"

    @property
    def finished(self) -> bool:
        """Return true when the invitation is no longer `refunding` (REF-6).

        A success that the provider reports later still changes the state (REF-4).
        """
        return self in {RefundState.SETTLED, RefundState.CONVERTED, RefundState.CLOSED}


class PartState(StrEnum):
    """The state of one payment's share: the provider's states, and three of our own."""

    REQUESTED = "requested"
    """Our state: not requested from the provider yet, or the request has no result yet."""
    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    CONVERTED = "converted"
    """Our state: converted to credit of the target account (REF-4)."""
    CLOSED = "closed"
    """Our state: closed by an operator (REF-4)."""

    @property
    def open(self) -> bool:
        """Return true while the provider may still report a result."""
        return self in {PartState.REQUESTED, PartState.PENDING, PartState.REQUIRES_ACTION}

    @property
    def failed(self) -> bool:
        """Return true when the provider has failed or canceled this share (REF-4)."""
        return self in {PartState.FAILED, PartState.CANCELED}

    @property
    def converted_or_closed(self) -> bool:
        """Return true for a share that was converted or closed (REF-4).

        Only a late success changes its state.
        """
        return self in {PartState.CONVERTED, PartState.CLOSED}


class RefundPart(Value):
    """One payment's share of a refund (QUO-3)."""

    payment: str
    method: Literal["card", "bank"]
    amount: Money
    """The amount; at most the amount that the payment paid."""
    state: PartState = PartState.REQUESTED
    provider_id: str | None = None
    failure: OneLine | None = None
    """The provider's reason, for example `expired_or_canceled_card`."""
    attempt: int = 1
    """The number of the operator's request: 1 at first; each `retry` adds one.

    A retry of the activity has the same number.
    """
    to_method: str | None = None
    """Another payment method named by a retry; None: the original one."""

    def reported(self, report: "PartReport") -> "RefundPart":
        """Return the part with the status that the provider reports.

        Only a late success changes a part that was converted or closed (REF-4), and nothing one
        that has arrived or was requested again since.
        """
        if self.state is PartState.SUCCEEDED or self.attempt != report.attempt:
            return self
        if self.state.converted_or_closed and report.state is not PartState.SUCCEEDED:
            return self
        return self.model_copy(
            update={
                "state": report.state,
                "provider_id": report.provider_id,
                "failure": report.failure,
            }
        )

    @property
    def may_change(self) -> bool:
        """Return whether the provider may report another status than the present one."""
        known = self.provider_id is not None or self._was_given_up_unanswered
        return known and self.state is not PartState.SUCCEEDED

    @property
    def may_arrive_late(self) -> bool:
        """Return whether the provider may report a success after all (REF-4)."""
        return self.may_change and self.state.converted_or_closed

    @property
    def _was_given_up_unanswered(self) -> bool:
        """Return whether it was closed before its request had an answer.

        The provider may have carried out the request. A request that it has refused has a failure.
        """
        unanswered = self.provider_id is None and self.failure is None
        return unanswered and self.state is PartState.CLOSED


class PartReport(Value):
    """The provider's status of one part, or its refusal of the request."""

    payment: str
    attempt: int
    state: PartState
    provider_id: str | None = None
    failure: OneLine | None = None


def request_key(refund_id: str, part: RefundPart) -> str:
    """Return the provider's idempotency key (REF-5).

    It is the same on every retry of the activity; an operator's `retry` makes a new one.
    """
    return f"{refund_id}/{part.payment}/{part.attempt}"


class RefundPlan(Value):
    """The input of a refund: its parts, the payee and the promised dates (REF-1)."""

    refund_id: str
    invitation_id: str
    source: str
    """The account whose payments are returned; its time zone and holidays apply."""
    target: str
    """The account that the payee has joined; failed parts may become its credit."""
    payee: str
    """The normalized address of the payee, who is notified."""
    locale: str | None = None
    parts: tuple[RefundPart, ...]
    requested_at: AwareDatetime
    arrives_between: tuple[date, date]
    """The first and the last day on which it arrives on time, as e-mailed to the payee."""
    lookups: tuple[AwareDatetime, ...]
    """The times of look-ups, computed when the refund was requested (REF-2)."""
    overdue_from: AwareDatetime
    """The instant from which an unsettled refund is overdue (REF-3)."""

    @property
    def workflow_id(self) -> str:
        """Return the workflow id: one workflow for each refund (REF-5)."""
        return f"refund/{self.refund_id}"

    @property
    def watch_workflow_id(self) -> str:
        """Return the id of the workflow that looks for a late success (REF-4)."""
        return f"watch/{self.refund_id}"


class LateSuccess(Value):
    """A late success of a converted part whose credit is used already (REF-4)."""

    at: AwareDatetime
    amount: Money


class LookupFailure(Value):
    """Failing look-ups, for the operators' list; look-ups continue (OPS-3)."""

    since: AwareDatetime
    reason: OneLine


class RefundSummary(Value):
    """The state of a refund, without its parts (OPS-7)."""

    refund_id: str
    state: RefundState
    amount_open: Money


class Refund(Value):
    """The present status of a refund, as `refund show` prints it and the store keeps it."""

    refund_id: str
    workflow_id: str
    state: RefundState
    amount: Money
    """The amount returned to payment methods, not the whole quote."""
    amount_open: Money
    """The amount that has not arrived and was neither converted nor closed."""
    parts: tuple[RefundPart, ...]
    requested_at: AwareDatetime
    arrives_between: tuple[date, date]
    settled_at: AwareDatetime | None = None
    failure: OneLine | None = None
    not_reversed: LateSuccess | None = None
    """A late success for the operators' list, until its credit can be reversed."""
    lookup_failure: LookupFailure | None = None
    """Set while the provider does not report the status."""
    journal: tuple[JournalEntry, ...] = ()
    allowed: tuple[str, ...] = ()
    """The updates that are accepted now."""

    @property
    def outcome(self) -> str:
        """Return nothing: the state says it all."""
        return ""

    @property
    def returned(self) -> Money:
        """Return the amount that the provider reports as arrived."""
        return self._sum_of(lambda state: state is PartState.SUCCEEDED)

    @property
    def failed(self) -> Money:
        """Return the amount that has failed, with no decision yet (REF-4)."""
        return self._sum_of(lambda state: state.failed)

    @property
    def converted(self) -> Money:
        """Return the amount that was converted to credit of the target account (REF-4)."""
        return self._sum_of(lambda state: state is PartState.CONVERTED)

    @property
    def closed(self) -> Money:
        """Return the amount that an operator has closed (REF-4)."""
        return self._sum_of(lambda state: state is PartState.CLOSED)

    @property
    def under_way(self) -> Money:
        """Return the amount that the provider may still report."""
        return self._sum_of(lambda state: state.open)

    @property
    def requested_again(self) -> bool:
        """Return whether an amount under way was requested again, so that no date is known."""
        return any(part.state.open and part.attempt > 1 for part in self.parts)

    @property
    def failed_methods(self) -> frozenset[str]:
        """Return the payment methods that a retry named and that failed as well."""
        failed = (part for part in self.parts if part.state.failed)
        return frozenset(part.to_method for part in failed if part.to_method)

    def total_of(self, payments: Collection[str]) -> Money:
        """Return the sum of the parts of these payments; zero if there are none."""
        parts = tuple(part for part in self.parts if part.payment in payments)
        return _sum_of(parts or self.parts, lambda state: bool(parts))

    def returned_since(self, before: Self) -> Money:
        """Return the amount that has arrived since `before`."""
        known = {part.payment for part in before.parts if part.state is PartState.SUCCEEDED}
        return self.total_of(
            {part.payment for part in self.parts if part.state is PartState.SUCCEEDED} - known
        )

    @property
    def may_arrive_late(self) -> bool:
        """Return whether the provider may still report a closed part as arrived (REF-4)."""
        return any(part.may_arrive_late for part in self.parts)

    @property
    def entered_at(self) -> datetime:
        """Return the time of the transition to the present state."""
        return next(
            entry.at for entry in reversed(self.journal) if entry.from_state != entry.to_state
        )

    @property
    def summary(self) -> RefundSummary:
        """Return the state without the parts."""
        return RefundSummary(
            refund_id=self.refund_id, state=self.state, amount_open=self.amount_open
        )

    def _sum_of(self, included: Callable[[PartState], bool]) -> Money:
        return _sum_of(self.parts, included)

    def with_entry(self, entry: JournalEntry, **changes: object) -> Self:
        """Return the refund after the transition of `entry`; no other method changes the state."""
        return self.model_copy(
            update={
                "state": RefundState(entry.to_state),
                "journal": (*self.journal, entry),
                **changes,
            }
        )

    def with_parts(self, parts: tuple[RefundPart, ...]) -> Self:
        """Return a copy with these parts, as reported by the provider."""
        failures = dict.fromkeys(part.failure or "" for part in parts if part.state.failed)
        return self.model_copy(
            update={
                "parts": parts,
                "amount_open": amount_open(parts),
                "failure": "; ".join(filter(None, failures)) or None,
            }
        )

    def part_of(self, payment: str) -> RefundPart | None:
        """Return the part of this payment, if any."""
        return next((part for part in self.parts if part.payment == payment), None)

    def with_part(self, part: RefundPart) -> Self:
        """Return a copy with this part in place of the one of the same payment."""
        return self.with_parts(
            tuple(part if each.payment == part.payment else each for each in self.parts)
        )

    def with_reports(self, reports: Iterable[PartReport]) -> Self:
        """Return a copy with the reported statuses."""
        by_payment = {report.payment: report for report in reports}
        return self.with_parts(
            tuple(
                part.reported(by_payment[part.payment]) if part.payment in by_payment else part
                for part in self.parts
            )
        )


class RefundChange(Value):
    """The difference between two records: one entry at most, and the changed parts (OPS-7)."""

    known_entries: int
    """The number of journal entries before the change."""
    entry: JournalEntry | None = None
    parts: tuple[RefundPart, ...] = ()
    state: RefundState
    amount_open: Money
    settled_at: AwareDatetime | None = None
    failure: OneLine | None = None
    not_reversed: LateSuccess | None = None
    lookup_failure: LookupFailure | None = None
    allowed: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Refund, after: Refund) -> Self:
        """Return the change from `before` to `after`."""
        known = len(before.journal)
        parts = zip(before.parts, after.parts, strict=True)
        return cls(
            known_entries=known,
            entry=next(iter(after.journal[known:]), None),
            parts=tuple(part for previous, part in parts if part != previous),
            **{name: getattr(after, name) for name in _SMALL_MEMBERS},
        )

    def applied_to(self, refund: Refund) -> Refund:
        """Return the record after the change."""
        changed = {part.payment: part for part in self.parts}
        return refund.model_copy(
            update={
                "journal": (*refund.journal, *((self.entry,) if self.entry else ())),
                "parts": tuple(changed.get(part.payment, part) for part in refund.parts),
                **{name: getattr(self, name) for name in _SMALL_MEMBERS},
            }
        )


_SMALL_MEMBERS: Final = (
    "state",
    "amount_open",
    "settled_at",
    "failure",
    "not_reversed",
    "lookup_failure",
    "allowed",
)
"""The members of a record, other than lists, that a change carries."""


def decided_amount(before: Refund, after: Refund) -> Money | None:
    """Return the amount that an operator has just closed or requested again, if any (REF-4)."""
    decided = {
        part.payment
        for previous, part in zip(before.parts, after.parts, strict=True)
        if (part.state is PartState.CLOSED and previous.state is not PartState.CLOSED)
        or (part.attempt > previous.attempt and not part.state.failed)
    }
    return after.total_of(decided) if decided else None


def gave_up_open_parts(before: Refund, after: Refund) -> bool:
    """Return whether an operator has closed parts that may still arrive (REF-4)."""
    return any(
        previous.state.open and part.state is PartState.CLOSED
        for previous, part in zip(before.parts, after.parts, strict=True)
    )


def amount_open(parts: tuple[RefundPart, ...]) -> Money:
    """Return the amount that has not arrived and was neither converted nor closed."""
    return _sum_of(parts, lambda state: state.open or state.failed)


def _sum_of(parts: tuple[RefundPart, ...], included: Callable[[PartState], bool]) -> Money:
    # Workflows must not read the table of currencies, which changes with releases.
    amount = parts[0].amount
    zero = amount.model_copy(update={"amount": amount.amount * 0})
    return sum((part.amount for part in parts if included(part.state)), start=zero)


class RetryRefund(Value):
    """The retry of the failed parts, requested by an operator or the payee (REF-4)."""

    method: str | None = None
    """Another payment method of the payee; None: the original ones."""
    by: str = OPERATOR


class ConvertRefund(Value):
    """The conversion of the failed parts to credit of the target account (REF-4)."""

    by: str = OPERATOR


class CloseRefund(Value):
    """The end of a refund by an operator's decision (REF-4)."""

    reason: OneLine
    by: str = OPERATOR


class WatchRefund(Value):
    """The input of look-ups of a refund that was closed before it arrived (REF-4)."""

    plan: RefundPlan
    closed_at: AwareDatetime


def late_lookups(closed_at: datetime, business_days: tuple[datetime, ...]) -> Iterator[datetime]:
    """Yield the times of look-ups of a closed refund: on business days, and then weekly."""
    yield from business_days
    time = max(business_days, default=closed_at)
    while (time := time + LATE_LOOKUP_INTERVAL) <= closed_at + LATE_LOOKUP_PERIOD:
        yield time


class StartRefund(Value):
    """The input of one run: the plan, and the state of the previous run or of the store."""

    plan: RefundPlan
    carried: Refund | None = None
