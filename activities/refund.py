"""The side effects of a refund: requests, look-ups, the ledger, letters (REF)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.billing import PaymentProvider, ProviderRefund, RefundRefused, RefundRequest
from activities.letter import Mailer, send_or_log
from domain.attention import cases_of_refund
from domain.letter import Letter
from domain.letter.attention import operator_letters
from domain.letter.base import Reader
from domain.letter.refund import RefundParties, refund_letters
from domain.model import Value
from domain.money import Money
from domain.refund import PartState, Refund, RefundPart, RefundPlan


class RequestRefund(Value):
    """A request to refund one part through the provider."""

    plan: RefundPlan
    part: RefundPart
    at: AwareDatetime


class LookUpRefund(Value):
    """A request to look up the parts at the provider."""

    plan: RefundPlan
    parts: tuple[RefundPart, ...]
    at: AwareDatetime


class BookRefund(Value):
    """A request to book the record in the ledger, and to write it."""

    plan: RefundPlan
    refund: Refund
    at: AwareDatetime


class ReadRefund(Value):
    """A request to read the stored refund."""

    refund_id: str


class PlanLookups(Value):
    """A request to compute the look-ups that follow those of `plan`."""

    plan: RefundPlan
    after: AwareDatetime


class NotifyPayee(Value):
    """A request to notify the payee of the state."""

    kind: Literal["refund"] = "refund"
    plan: RefundPlan
    refund: Refund
    decided: Money | None = None
    """The amount that an operator has just closed or requested again."""


class RefundStore(Protocol):
    """The part of the store that a running refund uses."""

    async def book(self, plan: RefundPlan, refund: Refund, at: datetime) -> None:
        """Post a transfer for the state of each part, once, and write the record.

        Succeeded: returned to its method. Converted: credit of the target account; succeeded
        after that: another entry reverses the credit. Closed: written off.
        Raises Refused, with nothing changed: `currency_mismatch` (the target has another
        currency), `conflict` (the credit to reverse has been used).
        """

    async def latest(self, refund_id: str) -> Refund:
        """Return the stored refund. Raises Refused: `not_found`."""

    async def refund_parties(self, plan: RefundPlan) -> RefundParties:
        """Return the people whom the refund concerns, as the directory has them now."""

    async def next_lookups(self, plan: RefundPlan, after: datetime) -> tuple[datetime, ...]:
        """Return the look-ups after `after`, one on each business day of the source account."""


@dataclass(frozen=True)
class RefundActivities:
    """The activities of the `Refund` workflow."""

    store: RefundStore
    provider: PaymentProvider
    mailer: Mailer
    operators: str | None = None
    """The operators' address; None: they get no letters."""

    @activity.defn
    async def request_refund(self, request: RequestRefund) -> RefundPart:
        """Request one part, once; a retry first searches for an earlier request (REF-5)."""
        refund = _request(request.plan, request.part, request.at)
        try:
            reported = None
            if activity.info().attempt > 1:
                reported = await self.provider.find_refund(refund)
            reported = reported or await self.provider.refund(refund)
        except RefundRefused as refused:
            return request.part.model_copy(
                update={"state": PartState.FAILED, "failure": str(refused)}
            )
        return _with_status(request.part, reported)

    @activity.defn
    async def look_up_refund(self, request: LookUpRefund) -> tuple[RefundPart, ...]:
        """Return each part with the provider's status (REF-2)."""
        return tuple(
            [await self._look_up(request.plan, part, request.at) for part in request.parts]
        )

    async def _look_up(self, plan: RefundPlan, part: RefundPart, at: datetime) -> RefundPart:
        if part.provider_id is None or part.state is PartState.SUCCEEDED:
            return part
        status = await self.provider.look_up(_request(plan, part, at), part.provider_id)
        if part.state.converted_or_closed:
            # Only a late success changes a part that was converted or closed (REF-4).
            return _with_status(part, status) if status.state is PartState.SUCCEEDED else part
        return _with_status(part, status)

    @activity.defn
    async def book_refund(self, request: BookRefund) -> None:
        """Book the record in the ledger, and write it."""
        await self.store.book(request.plan, request.refund, request.at)

    @activity.defn
    async def read_refund(self, request: ReadRefund) -> Refund:
        """Return the stored refund."""
        return await self.store.latest(request.refund_id)

    @activity.defn
    async def plan_lookups(self, request: PlanLookups) -> tuple[datetime, ...]:
        """Return the next look-ups by today's calendar; history records them."""
        return await self.store.next_lookups(request.plan, request.after)

    @activity.defn
    async def notify_payee(self, request: NotifyPayee) -> None:
        """Notify the payee of the state, in their language (TXT-2).

        Operators with an address are notified when the refund waits for their decision.
        """
        parties = await self.store.refund_parties(request.plan)
        for letter in self._letters(request, parties):
            await send_or_log(self.mailer, letter)

    def _letters(self, request: NotifyPayee, parties: RefundParties) -> Iterator[Letter]:
        if self.operators:
            cases = cases_of_refund(request.plan, request.refund)
            for letter in operator_letters(cases, parties.account_name):
                yield letter.model_copy(update={"reader": Reader(email=self.operators)})
        yield from refund_letters(
            request.plan,
            request.refund,
            parties,
            decided=request.decided,
            operators_know=self.operators is not None,
        )


def _request(plan: RefundPlan, part: RefundPart, at: datetime) -> RefundRequest:
    return RefundRequest(
        key=plan.key(part),
        account=plan.source,
        payment=part.payment,
        amount=part.amount,
        to_method=part.to_method,
        at=at,
    )


def _with_status(part: RefundPart, status: ProviderRefund) -> RefundPart:
    return part.model_copy(
        update={
            "state": status.state,
            "provider_id": status.provider_id,
            "failure": status.failure,
        }
    )
