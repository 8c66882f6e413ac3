"""The ledger: every amount goes from one ledger account to another, for ever (CRD).

An entry is balanced by its shape and is never changed or taken away; another one may
reverse it. What a ledger account has is what it received less what it gave.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime

from domain.error import ErrorCode, Refused
from domain.invitation import Choice
from domain.model import Value
from domain.money import Money, total
from domain.quote import Quote
from domain.refund import PartState, RefundOrder, RefundPart


class TransferKind(StrEnum):
    """What an entry is about."""

    PAYMENT = "payment"
    """Paid for a current period."""
    OPENING = "opening"
    """Credit that an account was imported with."""
    CORRECTED = "corrected"
    """A file names another amount than it did before."""
    EARNED = "earned"
    """Paid for time that was used."""
    TRANSFER = "transfer"
    """Unused value that was chosen to become credit of the target (QUO-4)."""
    CREDIT_RETURNED = "credit_returned"
    """Unused value that had been paid from credit (QUO-3)."""
    CREDIT_MOVED = "credit_moved"
    """The credit balance of the source account (QUO-6)."""
    REFUND_DUE = "refund_due"
    """Unused value on its way back to a payment method (REF-1)."""
    REFUNDED = "refunded"
    """Arrived, as the provider says (REF-2)."""
    CONVERTED = "converted"
    """Credited instead, after the provider had failed (REF-4)."""
    GIVEN_UP = "given_up"
    """An operator closed the refund (REF-4)."""
    REVERSED = "reversed"
    """Converted or given up, and reported as arrived later (REF-4)."""
    APPLIED = "applied"
    """Credit that paid an invoice (CRD-3)."""
    CHARGED = "charged"
    """Taken from a payment method for an invoice (BLK-2)."""


class Transfer(Value):
    """One entry."""

    id: str
    """A business id: nothing is posted twice."""
    at: AwareDatetime
    kind: TransferKind
    debited: str
    """The ledger account that gives."""
    credited: str
    """The ledger account that receives."""
    amount: Money
    """More than nothing."""
    invoice: str | None = None
    """What the credit was applied to, or the payment method was charged for."""


# Ledger accounts. The first three are never overdrawn.


def credit_of(account: str) -> str:
    """The credit of an account, to be used for its invoices."""
    return f"credit/{account}"


def prepaid_of(account: str) -> str:
    """What was paid for the account's current periods."""
    return f"prepaid/{account}"


def refund_due(refund_id: str) -> str:
    """What a refund has yet to return."""
    return f"refund_due/{refund_id}"


def methods_of(account: str) -> str:
    """The world outside: the account's cards and banks."""
    return f"methods/{account}"


def opening_of(account: str) -> str:
    """What was before the ledger began."""
    return f"opening/{account}"


def revenue_of(account: str) -> str:
    """What was earned from an account."""
    return f"revenue/{account}"


def written_off_of(account: str) -> str:
    """What was owed to the payment methods of an account and given up."""
    return f"written_off/{account}"


def owner_of(ledger_account: str) -> str:
    """Whose ledger account it is: an account, or a refund."""
    return ledger_account.partition("/")[2]


def charge(account: str, invoice: str, amount: Money, number: int, at: datetime) -> Transfer:
    """What a payment method of the account has paid for an invoice.

    `number` was used for no other charge of that account.
    """
    return Transfer(
        id=f"{TransferKind.CHARGED}/{account}/{number}",
        at=at,
        kind=TransferKind.CHARGED,
        debited=methods_of(account),
        credited=revenue_of(account),
        amount=amount,
        invoice=invoice,
    )


# What orders of licenses pay, for each of their terms.


def credit_reserved(
    account: str, invoice: str, tries: int, amount: Money, at: datetime
) -> Transfer:
    """Credit that pays an order's invoice, as far as it lasts at that try (ADD-4).

    Given back by a reversal when the invoice is given up.
    """
    return Transfer(
        id=f"{TransferKind.APPLIED}/order/{invoice}/{tries}",
        at=at,
        kind=TransferKind.APPLIED,
        debited=credit_of(account),
        credited=prepaid_of(account),
        amount=amount,
        invoice=invoice,
    )


def order_paid(
    account: str, invoice: str, amount: Money, at: datetime, *, into: str | None = None
) -> Transfer:
    """What a payment method has paid of an order's invoice, once.

    For the term that it is for, or `into` another ledger account.
    """
    return Transfer(
        id=f"{TransferKind.PAYMENT}/order/{invoice}",
        at=at,
        kind=TransferKind.PAYMENT,
        debited=methods_of(account),
        credited=into or prepaid_of(account),
        amount=amount,
        invoice=invoice,
    )


def term_earned(account: str, invoice: str, amount: Money, at: datetime) -> Transfer:
    """The term that the invoice paid for is over, and with it what it was paid (ADD-7)."""
    return Transfer(
        id=f"{TransferKind.EARNED}/order/{invoice}",
        at=at,
        kind=TransferKind.EARNED,
        debited=prepaid_of(account),
        credited=revenue_of(account),
        amount=amount,
    )


# What becomes of the prepaid value of an account that is closed behind its owner.


def refund_id_of(invitation_id: str) -> str:
    """One refund for each invitation (REF-5)."""
    return f"rf-{invitation_id}"


def credit_transfer_ids(invitation_id: str) -> tuple[str, str, str]:
    """The entries by which an acceptance may credit the target."""
    return (
        f"{TransferKind.TRANSFER}/{invitation_id}",
        f"{TransferKind.CREDIT_RETURNED}/{invitation_id}",
        f"{TransferKind.CREDIT_MOVED}/{invitation_id}",
    )


class AccountClosure(Value):
    """The owner of `source` leaves it for `target`, and its money has to go somewhere."""

    invitation_id: str
    source: str
    target: str
    same_currency: bool
    at: AwareDatetime

    def settlement_transfers(self, quoted: Quote, choice: Choice) -> Iterator[Transfer]:
        """What becomes of the unused value: refund or credit, as was chosen (QUO-3, QUO-4)."""
        if choice is Choice.REFUND:
            for share in quoted.to_methods:
                yield Transfer(
                    id=f"{TransferKind.REFUND_DUE}/{self.invitation_id}/{share.payment}",
                    at=self.at,
                    kind=TransferKind.REFUND_DUE,
                    debited=prepaid_of(self.source),
                    credited=refund_due(refund_id_of(self.invitation_id)),
                    amount=share.amount,
                )
        else:
            yield from self._entry(
                TransferKind.TRANSFER, prepaid_of, credit_of(self.target), quoted.refundable
            )
        # Credit cannot follow into another currency: it stays where it was.
        keeper = self.target if self.same_currency else self.source
        returned = total((share.amount for share in quoted.to_credit), quoted.total.currency)
        yield from self._entry(
            TransferKind.CREDIT_RETURNED, prepaid_of, credit_of(keeper), returned
        )

    def remaining_transfers(self, prepaid: Money, credit: Money) -> Iterator[Transfer]:
        """What is left is earned, and the credit balance goes along (QUO-6)."""
        yield from self._entry(TransferKind.EARNED, prepaid_of, revenue_of(self.source), prepaid)
        if self.same_currency:
            yield from self._entry(
                TransferKind.CREDIT_MOVED, credit_of, credit_of(self.target), credit
            )

    def _entry(
        self, kind: TransferKind, giver: Callable[[str], str], receiver: str, amount: Money
    ) -> Iterator[Transfer]:
        if amount.amount:
            yield Transfer(
                id=f"{kind}/{self.invitation_id}",
                at=self.at,
                kind=kind,
                debited=giver(self.source),
                credited=receiver,
                amount=amount,
            )


# What becomes of a refund, part by part.


def part_transfer(
    order: RefundOrder, part: RefundPart, state: PartState, at: datetime
) -> Transfer | None:
    """What has to be posted once `part` is in `state`; None while nothing has come of it."""
    match state:
        case PartState.SUCCEEDED:
            kind, receiver = TransferKind.REFUNDED, methods_of(order.source)
        case PartState.CONVERTED:
            kind, receiver = TransferKind.CONVERTED, credit_of(order.target)
        case PartState.CLOSED:
            kind, receiver = TransferKind.GIVEN_UP, written_off_of(order.source)
        case _:
            return None
    return Transfer(
        id=f"{kind}/{order.refund_id}/{part.payment}",
        at=at,
        kind=kind,
        debited=refund_due(order.refund_id),
        credited=receiver,
        amount=part.amount,
    )


def reversal(posted: Transfer, at: datetime) -> Transfer:
    """The entry that undoes another one."""
    return posted.model_copy(
        update={
            "id": f"{TransferKind.REVERSED}/{posted.id}",
            "at": at,
            "kind": TransferKind.REVERSED,
            "debited": posted.credited,
            "credited": posted.debited,
        }
    )


_SETTLED_STATES: Final = (PartState.SUCCEEDED, PartState.CONVERTED, PartState.CLOSED)
"""The states of a part that have a transfer; until then its amount is due."""


def possible_part_ids(order: RefundOrder, parts: Iterable[RefundPart], at: datetime) -> list[str]:
    """Return the ids of all transfers that may have been posted for the parts of a refund."""
    transfers = (
        part_transfer(order, part, state, at) for part in parts for state in _SETTLED_STATES
    )
    return [transfer.id for transfer in transfers if transfer]


def due_for_parts(
    order: RefundOrder, parts: Iterable[RefundPart], posted: Mapping[str, Transfer], at: datetime
) -> Iterator[Transfer]:
    """Return the transfers to post for the parts of a refund, given those already posted."""
    for part in parts:
        due = part_transfer(order, part, part.state, at)
        if due is None or due.id in posted:
            continue
        for state in _SETTLED_STATES:
            other = part_transfer(order, part, state, at)
            if other and other.id in posted:
                # Converted or closed before, and the refund has arrived after all (REF-4).
                yield reversal(posted[other.id], at)
        yield due


def require_convertible(
    transfers: Iterable[Transfer], target: str, currency: str, *, closed: bool
) -> None:
    """Raise Refused if the target account cannot receive converted refunds (REF-4).

    The codes are `currency_mismatch` and, for a closed account, `conflict`.
    """
    converted = [each for each in transfers if each.kind is TransferKind.CONVERTED]
    if any(each.amount.currency != currency for each in converted):
        raise Refused(ErrorCode.CURRENCY_MISMATCH, f"{target} pays in {currency}.")
    if converted and closed:
        raise Refused(ErrorCode.CONFLICT, f"{target} is closed and cannot use credit.")


def require_unused(transfers: Iterable[Transfer], target: str, credit: Money) -> None:
    """Raise Refused(conflict) if converted credit to be reversed was used already (REF-4)."""
    reversed_ = [each.amount.amount for each in transfers if each.debited == credit_of(target)]
    if sum(reversed_, start=Decimal(0)) > credit.amount:
        raise Refused(
            ErrorCode.CONFLICT, "The refund has arrived, but its credit has been used already."
        )
