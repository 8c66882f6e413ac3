"""E-mails about credited money (CRD-2)."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from domain.attention import command
from domain.letter.base import BaseLetter, Guide, Reader, contact_for
from domain.model import Value
from domain.money import Money
from domain.text import OneLine


class PaidInvoice(Value):
    """An invoice, and the amount of it that a credit has paid."""

    id: str
    amount: Money


class CreditParties(Value):
    """The people who are notified of a credit, as the directory has them now."""

    account: str
    """The id of the credited account, which the person has joined."""
    account_name: OneLine
    admins: tuple[Reader, ...] = ()
    """The owner and admins of that account, the owner first.

    They are notified of every credit (CRD-2), and help each other and the payee.
    """
    collection: Literal["autopay", "net_terms"] = "autopay"
    """The way in which that account uses its credit (CRD-3)."""
    paid_invoices: tuple[PaidInvoice, ...] = ()
    """The invoices that the credit has paid at once."""


class TransferredLetter(BaseLetter):
    """E-mail to the invitee: their money was credited to the account they joined (TXT-2)."""

    event: Literal["transferred"] = "transferred"
    amount: Money
    balance: Money | None = None
    """The part of `amount` that was the credit balance of the former account, if any."""
    source: OneLine | None = None
    """The name of the former account."""
    invoices: tuple[PaidInvoice, ...] = ()
    """The invoices that the credit has paid at once."""

    @property
    def unused(self) -> Money | None:
        """Return the part for unused time, if any."""
        amount = self.amount.amount - (self.balance.amount if self.balance else 0)
        return Money(amount=amount, currency=self.amount.currency) if amount else None


class CreditReceivedLetter(BaseLetter):
    """E-mail to the target's owner and admins: exact amount, origin and use (CRD-2)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["credit_received"] = "credit_received"
    account: str
    """The id of the account, for the operators' command."""
    amount: Money
    from_whom: OneLine
    """The person from whose account it came."""
    collection: Literal["autopay", "net_terms"]
    """`autopay`: applied to the next invoice; `net_terms`: applied when an operator requests it."""
    invoices: tuple[PaidInvoice, ...] = ()
    """The invoices that the credit has paid at once."""

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the command that applies the credit to an invoice (CRD-3)."""
        if self.collection == "autopay":
            return ()
        return (command("seatflow", "credit", "apply", self.account, "INVOICE"),)


AnyCreditLetter = TransferredLetter | CreditReceivedLetter


def credit_letters(
    about: str, amount: Money, brought_by: Reader, parties: CreditParties
) -> Iterator[CreditReceivedLetter]:
    """Yield one e-mail to each owner and admin of the account: amount and origin (CRD-2)."""
    for number, admin in enumerate(parties.admins, start=1):
        yield CreditReceivedLetter(
            id=f"credit_received.{number}.{about}",
            reader=admin,
            account_name=parties.account_name,
            contact=contact_for(admin, brought_by, *parties.admins),
            account=parties.account,
            amount=amount,
            from_whom=brought_by.name or brought_by.email,
            collection=parties.collection,
            invoices=parties.paid_invoices,
        )
