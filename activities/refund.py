"""What a refund does to the world: requests, look-ups, the ledger, e-mails."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.billing import PaymentProvider, ProviderRefund, RefundRefused, RefundRequest
from activities.letter import Post, Undeliverable, send_patiently
from domain.attention import cases_of_refund
from domain.letter import Letter
from domain.letter.attention import operator_letters
from domain.letter.refund import RefundParties, refund_letters
from domain.model import Value
from domain.money import Money
from domain.refund import PartState, Refund, RefundOrder, RefundPart


class RequestRefund(Value):
    """Ask the provider for one part."""

    order: RefundOrder
    part: RefundPart
    at: AwareDatetime


class LookUpRefund(Value):
    """Ask the provider how parts stand."""

    order: RefundOrder
    parts: tuple[RefundPart, ...]
    at: AwareDatetime


class BookRefund(Value):
    """Bring the ledger to what the record says, and keep the record."""

    order: RefundOrder
    refund: Refund
    at: AwareDatetime


class RecallRefund(Value):
    """Say how the refund stands in the store."""

    refund_id: str


class PlanLookups(Value):
    """Work out the next look-ups after those of the order have been used up."""

    order: RefundOrder
    after: AwareDatetime


class TellPayee(Value):
    """Tell the payee where the refund stands now."""

    order: RefundOrder
    refund: Refund
    decided: Money | None = None
    """What an operator has just given up, or had asked for anew."""


class RefundStore(Protocol):
    """The store, as far as a running refund needs it."""

    async def book(self, order: RefundOrder, refund: Refund, at: datetime) -> None:
        """Post what each part's state says, once each, and keep the record, in one transaction.

        Succeeded: returned to its method. Converted: credit of the target account; succeeded
        after that: the credit is reversed by another entry. Closed: given up.
        Raises Refused, with nothing changed: `currency_mismatch` (the target has another
        currency), `conflict` (a credit to be reversed has been used already).
        """

    async def latest(self, refund_id: str) -> Refund:
        """The refund as it is kept. Raises Refused: `not_found`."""

    async def refund_parties(self, order: RefundOrder) -> RefundParties:
        """Whom the refund concerns, as the directory knows them now."""

    async def next_lookups(self, order: RefundOrder, after: datetime) -> tuple[datetime, ...]:
        """The next business days' look-ups after `after`, by the source account's calendar."""


@dataclass(frozen=True)
class RefundActivities:
    """The side effects of the `Refund` workflow."""

    store: RefundStore
    provider: PaymentProvider
    post: Post
    operators: str | None = None
    """The address of those who are told of what waits for them."""

    @activity.defn
    async def request_refund(self, order: RequestRefund) -> RefundPart:
        """Ask for one part, once; after an unclear answer look before asking again (REF-5)."""
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
        return _as_told(order.part, made)

    @activity.defn
    async def look_up_refund(self, order: LookUpRefund) -> tuple[RefundPart, ...]:
        """What the provider says of each part that it has taken (REF-2)."""
        return tuple([await self._looked_up(order.order, part, order.at) for part in order.parts])

    async def _looked_up(self, order: RefundOrder, part: RefundPart, at: datetime) -> RefundPart:
        if part.provider_id is None or part.state is PartState.SUCCEEDED:
            return part
        told = await self.provider.look_up(_request(order, part, at), part.provider_id)
        if part.state.converted_or_closed:
            # Only a late success changes what was settled otherwise (REF-4).
            return _as_told(part, told) if told.state is PartState.SUCCEEDED else part
        return _as_told(part, told)

    @activity.defn
    async def book_refund(self, order: BookRefund) -> None:
        """Post to the ledger what the parts say, and keep the record."""
        await self.store.book(order.order, order.refund, order.at)

    @activity.defn
    async def recall_refund(self, order: RecallRefund) -> Refund:
        """The refund as the store keeps it."""
        return await self.store.latest(order.refund_id)

    @activity.defn
    async def plan_lookups(self, order: PlanLookups) -> tuple[datetime, ...]:
        """The next look-ups, by the calendar of today; recorded in the history."""
        return await self.store.next_lookups(order.order, order.after)

    @activity.defn
    async def tell_payee(self, order: TellPayee) -> None:
        """Tell the payee, in their language, where the refund stands (TXT-2).

        The operators, where they have an address, are told when it waits for them.
        """
        parties = await self.store.refund_parties(order.order)
        for letter in self._letters(order, parties):
            try:
                await send_patiently(self.post, letter)
            except Undeliverable as refused:
                activity.logger.warning("letter %s was refused: %s", letter.event, refused)

    def _letters(self, order: TellPayee, parties: RefundParties) -> Iterator[Letter]:
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


def _request(order: RefundOrder, part: RefundPart, at: datetime) -> RefundRequest:
    return RefundRequest(
        key=order.key(part),
        account=order.source,
        payment=part.payment,
        amount=part.amount,
        to_method=part.to_method,
        at=at,
    )


def _as_told(part: RefundPart, told: ProviderRefund) -> RefundPart:
    return part.model_copy(
        update={
            "state": told.state,
            "provider_id": told.provider_id,
            "failure": told.failure,
        }
    )
