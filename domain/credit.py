"""The credit of an account and its entries (CRD)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, Field

from domain.ledger import Transfer, TransferKind, credit_of, owner_of, revenue_of
from domain.model import Value
from domain.money import Money


class CreditEntry(Value):
    """One movement of an account's credit."""

    id: str
    at: AwareDatetime
    kind: TransferKind
    amount: Money
    """Negative when credit was used or moved away."""
    source: str | None = Field(default=None, alias="from")
    """The account or refund that it came from; None when there is no other."""
    to: str | None = None
    """The account that it went to, if it was another one."""
    invoice: str | None = None
    """The invoice that it paid."""
    by: str | None = None
    """The author of the entry (OPS-8)."""


class Credit(Value):
    """The credit balance of an account, with its entries."""

    account: str
    balance: Money
    """The credit, from which nothing that is owed is taken off."""
    balance_owed: Money
    """The sum of the open invoices; credit pays it only by an entry (QUO-7)."""
    entries: tuple[CreditEntry, ...]
    """In the order of posting; they add up to the balance."""

    @classmethod
    def of(
        cls, account: str, balance: Money, balance_owed: Money, transfers: Iterable[Transfer]
    ) -> Self:
        """Return the credit of `account`, given all its transfers."""
        entries = tuple(_entry(account, transfer) for transfer in transfers)
        return cls(account=account, balance=balance, balance_owed=balance_owed, entries=entries)


def _entry(account: str, transfer: Transfer) -> CreditEntry:
    received = transfer.credited == credit_of(account)
    other = owner_of(transfer.debited if received else transfer.credited)
    elsewhere = None if other == account else other
    amount = transfer.amount
    return CreditEntry(
        id=transfer.id,
        at=transfer.at,
        kind=transfer.kind,
        amount=amount if received else amount.model_copy(update={"amount": -amount.amount}),
        source=elsewhere if received else None,
        to=None if received else elsewhere,
        invoice=transfer.invoice,
        by=transfer.by,
    )


def apply_credit(
    account: str, credit: Money, due: Iterable[tuple[str, Money]], posted: int, at: datetime
) -> list[Transfer]:
    """Return the transfers that pay invoices in the order given, until no credit is left (CRD-3).

    `due` has the id and the open amount of each invoice. `posted` is the number of the credit's
    entries so far; the ids of the transfers continue from it.
    """
    left = credit.amount
    transfers: list[Transfer] = []
    for invoice, amount in due:
        paid = min(left, amount.amount)
        if paid:
            left -= paid
            number = posted + len(transfers) + 1
            transfers.append(
                Transfer(
                    id=f"{TransferKind.APPLIED}/{account}/{number}",
                    at=at,
                    kind=TransferKind.APPLIED,
                    debited=credit_of(account),
                    credited=revenue_of(account),
                    amount=amount.model_copy(update={"amount": paid}),
                    invoice=invoice,
                )
            )
    return transfers
