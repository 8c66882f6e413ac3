"""The side effects of a refund: requests, look-ups, the ledger, letters (REF)."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime, Field
from temporalio import activity

from activities.billing import (
    LookupRefused,
    PaymentProvider,
    ProviderRefund,
    RefundRefused,
    RefundRequest,
)
from domain.error import Refusal, Refused
from domain.model import Value
from domain.refund import (
    PartReport,
    PartState,
    Refund,
    RefundChange,
    RefundPart,
    request_key,
)

NO_ANSWER = "the provider does not answer"
"""The reason of a look-up that failed."""


class RequestRefund(Value):
    """A request to refund some parts through the provider."""

    refund_id: str
    account: str
    """The account that paid."""
    parts: tuple[RefundPart, ...]
    at: AwareDatetime
    unclear: bool = False
    """True if the parts were requested before, without an answer."""


class LookUpRefund(Value):
    """A request to look up the parts of some payments at the provider."""

    refund_id: str
    account: str
    """The account that paid."""
    payments: tuple[str, ...]
    at: AwareDatetime


class RefundLookedUp(Value):
    """The changes that the provider reports."""

    reports: tuple[PartReport, ...] = ()
    failures: dict[str, int] = Field(default_factory=dict)
    """The number of parts without a status, by reason."""


class BookRefund(Value):
    """A request to book a change in the ledger, and to write it."""

    refund_id: str
    change: RefundChange
    at: AwareDatetime


class ReadRefund(Value):
    """A request to read the stored refund."""

    refund_id: str


class PlanLookups(Value):
    """A request to compute the look-ups after `after`."""

    refund_id: str
    after: AwareDatetime


class RefundStore(Protocol):
    """The part of the store that a running refund uses."""

    async def book(self, refund_id: str, change: RefundChange, at: datetime) -> Refund | None:
        """Post a transfer for the state of each changed part, once, and write the record.

        Succeeded: returned to its method. Converted: credit of the target account; succeeded
        after that: another entry reverses the credit. Closed: written off. Letters about the
        change, and what else follows it, are queued. Returns the stored
        record, unchanged, if it has later entries.
        Raises Refused, with nothing changed: `currency_mismatch` (the target has another
        currency), `conflict` (the credit to reverse has been used), `invariant_broken` (the
        record lacks entries).
        """

    async def latest(self, refund_id: str) -> Refund:
        """Return the stored refund. Raises Refused: `not_found`."""

    async def next_lookups(self, refund_id: str, after: datetime) -> tuple[datetime, ...]:
        """Return the look-ups after `after`, one on each business day of the source account."""


@dataclass(frozen=True)
class RefundActivities:
    """The activities of the `Refund` workflow."""

    store: RefundStore
    provider: PaymentProvider

    @activity.defn
    async def request_refund(self, request: RequestRefund) -> tuple[PartReport, ...]:
        """Request each part, once, and return the answers (REF-5).

        A part without an answer is missing in the result; without any answer this fails.
        """
        unclear = request.unclear or activity.info().attempt > 1
        results = await asyncio.gather(
            *(self._request(request, part, unclear=unclear) for part in request.parts),
            return_exceptions=True,
        )
        answers = tuple(result for result in results if isinstance(result, PartReport))
        if not answers:
            _raise_first(results)
        return answers

    async def _request(
        self, request: RequestRefund, part: RefundPart, *, unclear: bool
    ) -> PartReport:
        refund = _request_of(request, part)
        try:
            # After an unclear answer an earlier request is searched for (REF-5).
            found = await self.provider.find_refund(refund) if unclear else None
            return report_of(part, found or await self.provider.refund(refund))
        except RefundRefused as refused:
            return PartReport(
                payment=part.payment,
                attempt=part.attempt,
                state=PartState.FAILED,
                failure=str(refused),
            )

    @activity.defn
    async def look_up_refund(self, request: LookUpRefund) -> RefundLookedUp:
        """Return the changes that the provider reports of the parts (REF-2).

        Without any answer this fails.
        """
        refund = await self.store.latest(request.refund_id)
        parts = [part for part in refund.parts if part.payment in request.payments]
        results = await asyncio.gather(
            *(self._look_up(request, part) for part in parts), return_exceptions=True
        )
        failures = Counter(
            str(result) if isinstance(result, LookupRefused) else NO_ANSWER
            for result in results
            if isinstance(result, BaseException)
        )
        if failures[NO_ANSWER] == len(parts) > 0:
            _raise_first(results)
        return RefundLookedUp(
            reports=tuple(
                report
                for part, report in zip(parts, results, strict=True)
                if isinstance(report, PartReport) and part.reported(report) != part
            ),
            failures=failures,
        )

    async def _look_up(self, request: LookUpRefund, part: RefundPart) -> PartReport | None:
        refund = _request_of(request, part)
        if part.provider_id:
            return report_of(part, await self.provider.look_up(refund, part.provider_id))
        # Its request had no answer, and may have been carried out.
        found = await self.provider.find_refund(refund)
        return report_of(part, found) if found else None

    @activity.defn
    async def book_refund(self, request: BookRefund) -> Refund | Refusal | None:
        """Book the change in the ledger, and write it.

        Returns None, the refusal, or the stored record if it has later entries.
        """
        try:
            return await self.store.book(request.refund_id, request.change, request.at)
        except Refused as refused:
            return Refusal.of(refused)

    @activity.defn
    async def read_refund(self, request: ReadRefund) -> Refund:
        """Return the stored refund."""
        return await self.store.latest(request.refund_id)

    @activity.defn
    async def plan_lookups(self, request: PlanLookups) -> tuple[datetime, ...]:
        """Return the next look-ups by today's calendar; history records them."""
        return await self.store.next_lookups(request.refund_id, request.after)


def _request_of(request: RequestRefund | LookUpRefund, part: RefundPart) -> RefundRequest:
    return refund_request(request.refund_id, request.account, part, request.at)


def refund_request(refund_id: str, account: str, part: RefundPart, at: datetime) -> RefundRequest:
    """Return the request of one part, with its own key (REF-5)."""
    return RefundRequest(
        key=request_key(refund_id, part),
        account=account,
        payment=part.payment,
        amount=part.amount,
        to_method=part.to_method,
        at=at,
    )


def report_of(part: RefundPart, status: ProviderRefund) -> PartReport:
    """Return the provider's status of a part."""
    return PartReport(
        payment=part.payment,
        attempt=part.attempt,
        state=status.state,
        provider_id=status.provider_id,
        failure=status.failure,
    )


def _raise_first(results: Iterable[object]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result
