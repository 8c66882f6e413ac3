"""The payment provider: charges and refunds."""

from collections.abc import AsyncIterator
from typing import Protocol

from pydantic import AwareDatetime

from domain.charge import ChargeState
from domain.model import Value
from domain.money import Money
from domain.refund import PartState


class ChargePending(Exception):
    """A charge without a result yet, to be looked up again later; a bank debit takes days."""


class ChargeTooSmall(Exception):
    """A charge below the provider's minimum: nothing was charged, and no method can pay it."""


class RefundRefused(Exception):
    """A permanent refusal of a refund by the provider.

    The text is the provider's reason: more than was paid, an unknown payment, a method that
    cannot receive it.
    """


class LookupRefused(Exception):
    """An answer to a look-up without a status, which only a person can change.

    The text is the reason: a revoked key, a refund that the provider does not know.
    """


class RefundRequest(Value):
    """A request to return `amount` of one payment."""

    key: str
    """The business id of the request (REF-5)."""
    account: str
    """Our id of the account that paid."""
    payment: str
    """The provider's id of the payment."""
    amount: Money
    to_method: str | None = None
    """A method other than the original one; not every provider supports it."""
    at: AwareDatetime
    """Current workflow time."""


class ProviderRefund(Value):
    """The provider's status of one refund."""

    provider_id: str
    state: PartState
    """A status of the provider: pending to canceled."""
    failure: str | None = None


class ChargeRequest(Value):
    """A request to charge `amount` to one payment method, off-session."""

    key: str
    """The business id of the request: the invoice, its number of declines and the method."""
    account: str
    """Our id of the account that pays."""
    billing_customer: str | None = None
    """The external provider's id of the account; the built-in one needs none."""
    method: str
    """The id of the payment method; `EXAMPLE_CARD` if the account lists none (ADD-4)."""
    amount: Money
    description: str
    """The text shown at the provider; no personal data."""
    at: AwareDatetime
    """Current workflow time."""


class ProviderCharge(Value):
    """The provider's result of one charge."""

    provider_id: str | None
    """The provider's id of the payment; None if it rejected the request and recorded nothing."""
    state: ChargeState
    amount: Money | None = None
    """The amount that was charged; None for a decline."""
    failure: str | None = None
    """The provider's reason of a decline, for example `card_declined`."""


class PaymentProvider(Protocol):
    """A payment provider. The built-in ledger and Stripe make the same guarantees."""

    def chargeable(self, amount: Money) -> Money:
        """Return the largest part of `amount` that can be charged; 0 below a known minimum.

        It is a fixed point: the chargeable part of a chargeable amount is the whole.
        """

    async def charge(self, request: ChargeRequest) -> ProviderCharge:
        """Charge once per `request.key`; a repeated key returns the first result.

        A decline is a result, too: charging the same method again needs another key. Raises
        ChargeTooSmall; after any other exception the outcome is unknown.
        """

    async def find_charge(self, request: ChargeRequest) -> ProviderCharge | None:
        """Return the result of `request.key`, if any; used when the outcome is unknown.

        Raises ChargePending while the charge has no result yet. A decline that the provider did
        not record is not found, so the charge is repeated.
        """

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        """Refund once per `request.key`; a repeated key returns the current status of the first.

        A refund that fails after the provider accepted it is returned as failed. Raises
        RefundRefused; after any other exception the outcome is unknown.
        """

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """Return the refund of `request.key`, if any; used when the outcome is unknown."""

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        """Return the status of the refund at `request.at`. Raises LookupRefused."""


class ListedRefund(Value):
    """A refund of ours, as the provider lists it."""

    key: str
    """The key with which it was requested."""
    amount: Money
    status: ProviderRefund
    at: AwareDatetime


class ListedCharge(Value):
    """A charge of ours that has succeeded, as the provider lists it."""

    key: str
    """The key with which it was requested."""
    provider_id: str
    amount: Money
    at: AwareDatetime


class ProviderRecords(PaymentProvider, Protocol):
    """A provider that lists what it has done, to compare it with the store (OPS-6)."""

    @property
    def is_in_store(self) -> bool:
        """Return whether its records are in the store's database, and are restored with it."""

    def refunds(self) -> AsyncIterator[ListedRefund]:
        """Yield all refunds that were requested with a key of ours, in pages."""

    def charges(self) -> AsyncIterator[ListedCharge]:
        """Yield all charges with a key of ours that have succeeded, in pages."""

    async def has_charge(self, provider_id: str) -> bool:
        """Return whether the provider knows the charge."""
