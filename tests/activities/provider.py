"""A payment provider without a network."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from activities.billing import (
    ChargePending,
    ChargeRequest,
    ChargeTooSmall,
    LookupRefused,
    ProviderCharge,
    ProviderRefund,
    RefundRefused,
    RefundRequest,
)
from domain.charge import ChargeState
from domain.money import Money
from domain.quote import in_full
from domain.refund import PartState


@dataclass
class FakeProvider:
    """A `PaymentProvider` that keeps one charge and one refund for each key."""

    declining: Mapping[str, str] = field(default_factory=dict)
    """The reason of the decline, by method."""
    refusing: Mapping[str, str] = field(default_factory=dict)
    """The reason of the refusal to refund, by payment."""
    lost_responses: set[str] = field(default_factory=set)
    """The methods and payments whose next request is carried out, but its response is lost."""
    pending: Collection[str] = ()
    """The methods whose charges have no result yet."""
    chargeable: Callable[[Money], Money] = in_full
    too_small: bool = False
    """True while every charge is below the minimum."""
    charges: dict[str, ProviderCharge] = field(default_factory=dict)
    refunds: dict[str, ProviderRefund] = field(default_factory=dict)
    charge_requests: list[ChargeRequest] = field(default_factory=list)
    refund_requests: list[RefundRequest] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    """The keys whose charge or refund was searched for."""
    lookups: list[str] = field(default_factory=list)
    """The ids of the refunds that were looked up."""
    unreachable: bool = False
    """True while look-ups fail without an answer."""

    async def charge(self, request: ChargeRequest) -> ProviderCharge:
        self.charge_requests.append(request)
        if self.too_small:
            raise ChargeTooSmall
        if request.key not in self.charges:
            number = len(self.charges) + 1
            failure = self.declining.get(request.method)
            state = ChargeState.DECLINED if failure else ChargeState.SUCCEEDED
            self.charges[request.key] = ProviderCharge(
                provider_id=f"ch_{number}", state=state, failure=failure
            )
        self._lose_response_of(request.method)
        return self.charges[request.key]

    async def find_charge(self, request: ChargeRequest) -> ProviderCharge | None:
        self.searches.append(request.key)
        if request.method in self.pending:
            raise ChargePending
        return self.charges.get(request.key)

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        self.refund_requests.append(request)
        if reason := self.refusing.get(request.payment):
            raise RefundRefused(reason)
        number = len(self.refunds) + 1
        self.refunds.setdefault(
            request.key, ProviderRefund(provider_id=f"re_{number}", state=PartState.PENDING)
        )
        self._lose_response_of(request.payment)
        return self.refunds[request.key]

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        self.searches.append(request.key)
        return self.refunds.get(request.key)

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        self.lookups.append(provider_id)
        if self.unreachable:
            raise ConnectionError("The provider is unreachable.")
        for refund in self.refunds.values():
            if refund.provider_id == provider_id:
                return refund
        raise LookupRefused("unknown_refund")

    def _lose_response_of(self, subject: str) -> None:
        if subject in self.lost_responses:
            self.lost_responses.remove(subject)
            raise TimeoutError("The response was lost.")
