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
from domain.letter.refund import RefundParties, refund_letters
from domain.model import Value
from domain.money import Money
from domain.refund import PartState, Refund, RefundPart, RefundPlan


class RequestRefund(Value):
    """Request one part from the provider."""

    order: RefundPlan
    part: RefundPart
    at: AwareDatetime


class LookUpRefund(Value):
    """Look up the parts at the provider."""

    order: RefundPlan
    parts: tuple[RefundPart, ...]
    at: AwareDatetime


class BookRefund(Value):
    """Book the record in the ledger, and write it."""

    order: RefundPlan
    refund: Refund
    at: AwareDatetime


class ReadRefund(Value):
    """Read the stored refund."""

    refund_id: str


class PlanLookups(Value):
    """Plan the look-ups that follow those of the order."""

    order: RefundPlan
    after: AwareDatetime


class NotifyPayee(Value):
    """Notify the payee of the state."""

    kind: Literal["refund"] = "refund"
    order: RefundPlan
    refund: Refund
    decided: Money | None = None
    """The amount that an operator has just closed or requested again."""


class RefundStore(Protocol):
    """The part of the store that a running refund uses."""

    async def book(self, order: RefundPlan, refund: Refund, at: datetime) -> None:
        """Mailer the state of each part, once each, and write the record, in one transaction.

        Succeeded: returned to its method. Converted: credit of the target account; succeeded
        after that: another entry reverses the credit. Closed: written off.
        Raises Refused, with nothing changed: `currency_mismatch` (the target has another
        currency), `conflict` (the credit to reverse has been used).
        """

    async def latest(self, refund_id: str) -> Refund:
        """Return the stored refund. Raises Refused: `not_found`."""

    async def refund_parties(self, order: RefundPlan) -> RefundParties:
        """Return the people whom the refund concerns, as the directory has them now."""

    async def next_lookups(self, order: RefundPlan, after: datetime) -> tuple[datetime, ...]:
        """Return the business days' look-ups after `after`, by the source account's calendar."""


@dataclass(frozen=True)
class RefundActivities:
    """The activities of the `Refund` workflow."""

    store: RefundStore
    provider: PaymentProvider
    mailer: Mailer
    operators: str | None = None
    """The operators' address; None: they get no letters."""

    @activity.defn
    async def request_refund(self, order: RequestRefund) -> RefundPart:
        """Request one part, once; a retry first looks for an earlier request (REF-5)."""
        request = _request(order.order, order.part, order.at)
        try:
            made = None
            if activity.info().attempt > 1:
                made = await self.provider.find_refund(request)
            made = made or await self.provider.refund(request)
        except RefundRefused as refused:
            return order.part.model_copy(
                update={"state": PartState.FAILED, "failure": str(refused)}
            )
        return _with_status(order.part, made)

    @activity.defn
    async def look_up_refund(self, order: LookUpRefund) -> tuple[RefundPart, ...]:
        """Return each part with the provider's status (REF-2)."""
        return tuple([await self._look_up(order.order, part, order.at) for part in order.parts])

    async def _look_up(self, order: RefundPlan, part: RefundPart, at: datetime) -> RefundPart:
        if part.provider_id is None or part.state is PartState.SUCCEEDED:
            return part
        status = await self.provider.look_up(_request(order, part, at), part.provider_id)
        if part.state.converted_or_closed:
            # Only a late success changes a part that was converted or closed (REF-4).
            return _with_status(part, status) if status.state is PartState.SUCCEEDED else part
        return _with_status(part, status)

    @activity.defn
    async def book_refund(self, order: BookRefund) -> None:
        """Book the record in the ledger, and write it."""
        await self.store.book(order.order, order.refund, order.at)

    @activity.defn
    async def read_refund(self, order: ReadRefund) -> Refund:
        """Return the stored refund."""
        return await self.store.latest(order.refund_id)

    @activity.defn
    async def plan_lookups(self, order: PlanLookups) -> tuple[datetime, ...]:
        """Return the next look-ups by today's calendar; history records them."""
        return await self.store.next_lookups(order.order, order.after)

    @activity.defn
    async def notify_payee(self, order: NotifyPayee) -> None:
        """Notify the payee of the state, in their language (TXT-2).

        The operators, if they have an address, are notified when the refund waits for them.
        """
        parties = await self.store.refund_parties(order.order)
        for letter in self._letters(order, parties):
            await send_or_log(self.mailer, letter)

    def _letters(self, order: NotifyPayee, parties: RefundParties) -> Iterator[Letter]:
        if self.operators:
            cases = cases_of_refund(order.order, order.refund)
            yield from operator_letters(self.operators, cases, parties.account_name)
        yield from refund_letters(
            order.order,
            order.refund,
            parties,
            decided=order.decided,
            operators_know=self.operators is not None,
        )


def _request(order: RefundPlan, part: RefundPart, at: datetime) -> RefundRequest:
    return RefundRequest(
        key=order.key(part),
        account=order.source,
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
