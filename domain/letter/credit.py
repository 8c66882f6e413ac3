"""E-mails about money that was credited (CRD-2)."""

from collections.abc import Iterator
from typing import Literal

from domain.letter.base import BaseLetter, Reader
from domain.model import Value
from domain.money import Money
from domain.text import OneLine


class CreditParties(Value):
    """Who is told of a credit, as the directory knows them now."""

    account_name: OneLine
    """The name of the account that was credited: the one that the person has joined."""
    admins: tuple[Reader, ...] = ()
    """Owner and admins of that account, told of every credit (CRD-2)."""
    collection: Literal["autopay", "net_terms"] = "autopay"
    """How that account uses its credit (CRD-3)."""


class TransferredLetter(BaseLetter):
    """To the invitee: what came of their money was credited to the account they joined (TXT-2)."""

    event: Literal["transferred"] = "transferred"
    amount: Money


class CreditReceivedLetter(BaseLetter):
    """To the target's owner and admins: exact amount, from whom, where it is used (CRD-2)."""

    event: Literal["credit_received"] = "credit_received"
    amount: Money
    from_whom: OneLine
    """The person who brought it."""
    collection: Literal["autopay", "net_terms"]
    """`autopay`: used for the next invoice by itself; `net_terms`: when an operator says so."""


AnyCreditLetter = TransferredLetter | CreditReceivedLetter


def credit_letters(
    about: str, amount: Money, brought_by: Reader, parties: CreditParties
) -> Iterator[CreditReceivedLetter]:
    """To the account's owner and each admin: the exact amount, and from whom (CRD-2)."""
    for number, admin in enumerate(parties.admins, start=1):
        yield CreditReceivedLetter(
            id=f"credit_received.{number}.{about}",
            reader=admin,
            account_name=parties.account_name,
            amount=amount,
            from_whom=brought_by.name or brought_by.email,
            collection=parties.collection,
        )
