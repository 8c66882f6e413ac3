"""Invoices of accounts, and the charges that pay them (BLK-2)."""

from typing import Final

from domain.model import Value
from domain.money import Money

CHARGE_KEY: Final = "invoice/"
"""The beginning of the keys of charges for invoices."""


class InvoiceDue(Value):
    """The open amount of an invoice, and the payment methods that may be charged for it."""

    account: str
    invoice: str
    amount: Money
    """May be zero: the invoice is then closed without a charge."""
    methods: tuple[str, ...]
    """The ids of the methods to try, in order; at least one (ADD-4)."""
    billing_customer: str | None
    charges: int
    """The number of charges for this invoice that have a result."""

    @property
    def key(self) -> str:
        """The business id of the next charge; a method that declines takes one as well."""
        return f"{CHARGE_KEY}{self.account}/{self.invoice}/{self.charges}"


def is_invoice_key(key: str) -> bool:
    """Return whether a charge of the provider was for an invoice, and not for an order."""
    return key.startswith(CHARGE_KEY)
