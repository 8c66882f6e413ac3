"""The payment provider: what it charges, and what it gives back."""

from typing import Protocol

from pydantic import AwareDatetime

from domain.charge import ChargeState
from domain.model import Value
from domain.money import Money
from domain.refund import PartState


class ChargeUndecided(Exception):
    """The provider has the charge and does not know yet how it ends: look for it again later.

    A debit that a bank has days for is one.
    """


class RefundRefused(Exception):
    """The provider will not make this refund, and asking again changes nothing.

    More than was paid, an unknown payment, a method that cannot take it: the text is the
    provider's reason.
    """


class RefundRequest(Value):
    """Return `amount` of one payment."""

    key: str
    """The business id of the request (REF-5)."""
    account: str
    """The account that paid, in our words."""
    payment: str
    """The provider's id of the payment."""
    amount: Money
    to_method: str | None = None
    """Another method than the original one; not every provider can."""
    at: AwareDatetime
    """Now, in the time of the refund."""


class ProviderRefund(Value):
    """What the provider says of one refund."""

    provider_id: str
    state: PartState
    """Only the provider's own words: pending to canceled."""
    failure: str | None = None


class ChargeRequest(Value):
    """Take `amount` from one payment method, which nobody is there to confirm."""

    key: str
    """The business id of the request: the invoice, the attempt and the method."""
    account: str
    """The account that pays, in our words."""
    billing_customer: str | None = None
    """The same in the words of a provider outside; the built-in one needs none."""
    method: str
    """The id of the payment method; `EXAMPLE_CARD` where the account lists none (ADD-4)."""
    amount: Money
    description: str
    """What it is for, to be read at the provider: no personal data."""
    at: AwareDatetime
    """Now, in the time of the order."""


class ProviderCharge(Value):
    """What the provider says of one charge."""

    provider_id: str | None
    """The payment that may be refunded; None only of a decline that the provider keeps nothing
    of, because the request made no sense to it."""
    state: ChargeState
    failure: str | None = None
    """Why it was declined, in the provider's words: `card_declined`."""


class PaymentProvider(Protocol):
    """Keeps payments and refunds. The built-in ledger and Stripe keep the same promises."""

    async def charge(self, request: ChargeRequest) -> ProviderCharge:
        """Charge once per `request.key`; a repeated key returns the first answer.

        A decline is an answer: the same method is asked anew by another key only. Any
        exception leaves it unclear whether money was taken.
        """

    async def find_charge(self, request: ChargeRequest) -> ProviderCharge | None:
        """The answer that `request.key` has had, if any: looked for after an unclear one.

        Raises ChargeUndecided while there is none yet. A decline that the provider keeps nothing
        of is not found, and is answered anew.
        """

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        """Refund once per `request.key`; a repeated key returns the first refund as it stands.

        A refund that the provider takes and then fails is returned with its state. Raises
        RefundRefused; any other exception leaves it unclear whether it was made.
        """

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """The refund that was made for `request.key`, if any: asked after an unclear answer."""

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        """How the refund stands at `request.at`."""
