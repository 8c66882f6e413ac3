"""The payment provider: charges and refunds."""

from typing import Protocol

from pydantic import AwareDatetime

from domain.charge import ChargeState
from domain.model import Value
from domain.money import Money
from domain.refund import PartState


class ChargePending(Exception):
    """The provider has the charge, but its result is not known yet; look it up again later.

    A bank debit, for example, takes days.
    """


class RefundRefused(Exception):
    """The provider refuses this refund for good.

    The text is the provider's reason: more than was paid, an unknown payment, a method that
    cannot receive it.
    """


class RefundRequest(Value):
    """Return `amount` of one payment."""

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
    """Charge `amount` to one payment method, off-session."""

    key: str
    """The business id of the request: the invoice, the attempt and the method."""
    account: str
    """Our id of the account that pays."""
    billing_customer: str | None = None
    """The external provider's id of the account; the built-in one needs none."""
    method: str
    """The id of the payment method; `EXAMPLE_CARD` where the account lists none (ADD-4)."""
    amount: Money
    description: str
    """The text shown at the provider; no personal data."""
    at: AwareDatetime
    """Current workflow time."""


class ProviderCharge(Value):
    """The provider's result of one charge."""

    provider_id: str | None
    """The payment that may be refunded; None only if the provider rejected the request and
    recorded nothing."""
    state: ChargeState
    failure: str | None = None
    """The provider's reason of a decline, for example `card_declined`."""


class PaymentProvider(Protocol):
    """A payment provider. The built-in ledger and Stripe make the same guarantees."""

    async def charge(self, request: ChargeRequest) -> ProviderCharge:
        """Charge once per `request.key`; a repeated key returns the first result.

        A decline is a result: the same method is charged again with another key only. After any
        exception the outcome is unknown.
        """

    async def find_charge(self, request: ChargeRequest) -> ProviderCharge | None:
        """Return the result of `request.key`, if any; used when the outcome is unknown.

        Raises ChargePending while there is none yet. A decline that the provider did not record
        is not found; the charge is then made again.
        """

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        """Refund once per `request.key`; a repeated key returns the current status of the first.

        A refund that the provider accepts and then fails is returned with its state. Raises
        RefundRefused; after any other exception the outcome is unknown.
        """

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """Return the refund of `request.key`, if any; used when the outcome is unknown."""

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        """Return the status of the refund at `request.at`."""
