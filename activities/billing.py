"""The payment provider, as far as refunds need it."""

from typing import Protocol

from pydantic import AwareDatetime

from domain.model import Value
from domain.money import Money
from domain.refund import PartState


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


class PaymentProvider(Protocol):
    """Keeps payments and refunds. The built-in ledger and Stripe keep the same promises."""

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        """Refund once per `request.key`; a repeated key returns the first refund as it stands.

        A refund that the provider takes and then fails is returned with its state. Raises
        RefundRefused; any other exception leaves it unclear whether it was made.
        """

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """The refund that was made for `request.key`, if any: asked after an unclear answer."""

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        """How the refund stands at `request.at`."""
