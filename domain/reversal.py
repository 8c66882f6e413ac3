"""Reversals: payments and refunds whose money the provider has moved back (REF-4, OPS-5)."""

from enum import StrEnum

from pydantic import AwareDatetime

from domain.model import Value
from domain.money import Money
from domain.text import OneLine


class ReversalKind(StrEnum):
    """The kind of money that was moved back."""

    DISPUTE = "dispute"
    """A payment that the payer disputes at their bank."""
    REFUND = "refund"
    """A refund that the provider had reported as arrived, and that came back."""


class ReversalStatus(StrEnum):
    """The status of a reversal; of a dispute the one that the provider reports."""

    OPEN = "open"
    """The bank expects an answer, or is deciding."""
    LOST = "lost"
    """The money is gone."""
    WON = "won"
    """The money stays, or has been returned."""


class Reversal(Value):
    """The latest report of a reversal."""

    reversal_id: str
    """The provider's id of the dispute or of the refund."""
    kind: ReversalKind
    account: str
    """The account that has paid; for a refund, the account that the payee has joined."""
    subject: str
    """The provider's id of the payment, or our id of the refund."""
    amount: Money
    reason: OneLine | None = None
    """The provider's reason, for example `fraudulent`."""
    status: ReversalStatus
    since: AwareDatetime
    answer_by: AwareDatetime | None = None
    """The time until which an answer to the bank is expected, if one is."""
    reported_at: AwareDatetime
    """The time of the report; earlier ones are ignored."""


class Dispute(Value):
    """A dispute as the provider reports it."""

    dispute_id: str
    payments: tuple[str, ...]
    """The provider's ids of the payment; a payment is recorded under one of them."""
    amount: Money
    reason: OneLine | None = None
    status: ReversalStatus
    since: AwareDatetime
    answer_by: AwareDatetime | None = None
    reported_at: AwareDatetime


class FailedRefund(Value):
    """A refund that the provider reports as failed."""

    refund_id: str
    """Our id of the refund."""
    provider_id: str
    """The provider's id of one part of it."""
    reason: OneLine | None = None
    reported_at: AwareDatetime
