"""The ledger: immutable transfers between ledger accounts (CRD).

Each transfer debits one account and credits another, so every entry is balanced. It is never
changed or deleted; another transfer may reverse it. The balance of a ledger account is the
sum of its credits less the sum of its debits.
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
from domain.refund import PartState, RefundPart, RefundPlan


class TransferKind(StrEnum):
    """The purpose of a transfer."""

    PAYMENT = "payment"
    """A payment for a current period."""
    OPENING = "opening"
    """The credit with which an account was imported."""
    CORRECTED = "corrected"
    """A correction: an imported amount differs from the one imported before."""
    EARNED = "earned"
    """Revenue for time that was used."""
    TRANSFER = "transfer"
    """Unused value that becomes credit of the target by the invitee's choice (QUO-4)."""
    CREDIT_RETURNED = "credit_returned"
    """Unused value that no payment method gets: paid from credit, or too fine (QUO-3)."""
    CREDIT_MOVED = "credit_moved"
    """The credit balance of the source account (QUO-6)."""
    REFUND_DUE = "refund_due"
    """Unused value to be refunded to a payment method (REF-1)."""
    REFUNDED = "refunded"
    """A refund that the provider reports as arrived (REF-2)."""
    CONVERTED = "converted"
    """A failed refund that was converted to credit (REF-4)."""
    GIVEN_UP = "given_up"
    """A refund that an operator closed (REF-4)."""
    REVERSED = "reversed"
    """The reversal of another transfer, for example after a late success (REF-4)."""
    APPLIED = "applied"
    """Credit applied to an invoice (CRD-3)."""
    CHARGED = "charged"
    """A charge of a payment method for an invoice (BLK-2)."""
    PAID_OUTSIDE = "paid_outside"
    """A payment of an invoice that an operator has recorded: no method was charged (BLK-2)."""


class Transfer(Value):
    """One entry of the ledger."""

    id: str
    """A business id, so that nothing is posted twice."""
    at: AwareDatetime
    kind: TransferKind
    debited: str
    """The ledger account that is debited."""
    credited: str
    """The ledger account that is credited."""
    amount: Money
    """A positive amount."""
    invoice: str | None = None
    """The invoice to which credit was applied, or for which a method was charged."""
    by: str | None = None
    """The author (OPS-8); None until it is posted."""


# Ledger accounts. The first three are never negative.


def credit_of(account: str) -> str:
    """Return the ledger account of an account's credit."""
    return f"credit/{account}"


def prepaid_of(account: str) -> str:
    """Return the ledger account of the payments for an account's current periods."""
    return f"prepaid/{account}"


def refund_due(refund_id: str) -> str:
    """Return the ledger account of the amount that a refund still has to return."""
    return f"refund_due/{refund_id}"


def methods_of(account: str) -> str:
    """Return the ledger account of an account's payment methods, outside the system."""
    return f"methods/{account}"


def opening_of(account: str) -> str:
    """Return the ledger account of balances from before the ledger began."""
    return f"opening/{account}"


def revenue_of(account: str) -> str:
    """Return the ledger account of the revenue from an account."""
    return f"revenue/{account}"


def outside_of(account: str) -> str:
    """Return the ledger account of an account's payments that no provider of ours has collected."""
    return f"outside/{account}"


def written_off_of(account: str) -> str:
    """Return the ledger account of an account's refunds that were closed unpaid."""
    return f"written_off/{account}"


def owner_of(ledger_account: str) -> str:
    """Return the id of the account or refund that a ledger account belongs to."""
    return ledger_account.partition("/")[2]


def charge(account: str, invoice: str, amount: Money, number: int, at: datetime) -> Transfer:
    """Return the transfer of a charge for an invoice.

    `number` is that of the charge among those for the invoice.
    """
    return Transfer(
        id=f"{TransferKind.CHARGED}/{account}/{invoice}/{number}",
        at=at,
        kind=TransferKind.CHARGED,
        debited=methods_of(account),
        credited=revenue_of(account),
        amount=amount,
        invoice=invoice,
    )


def charge_entries(key: str) -> tuple[str, str]:
    """Return the ids of the entries that book the charge of an invoice with this key."""
    booked = f"{TransferKind.CHARGED}/{key.partition('/')[2]}"
    return booked, f"{booked}/credit"


def overpaid(account: str, invoice: str, amount: Money, number: int, at: datetime) -> Transfer:
    """Return the transfer of the part of a charge that the invoice no longer needs.

    Credit has paid it in the meantime, so the charge becomes credit.
    """
    charged = charge(account, invoice, amount, number, at)
    return charged.model_copy(
        update={"id": f"{charged.id}/credit", "credited": credit_of(account), "invoice": None}
    )


def paid_outside(account: str, invoice: str, amount: Money, number: int, at: datetime) -> Transfer:
    """Return the transfer of a payment that was made elsewhere, with a number of its own."""
    return Transfer(
        id=f"{TransferKind.PAID_OUTSIDE}/{account}/{number}",
        at=at,
        kind=TransferKind.PAID_OUTSIDE,
        debited=outside_of(account),
        credited=revenue_of(account),
        amount=amount,
        invoice=invoice,
    )


# Payments of orders, one or more for each term.


def credit_reserved(
    account: str, invoice: str, tries: int, amount: Money, at: datetime
) -> Transfer:
    """Return the transfer of credit that pays an order's invoice in part or in full (ADD-4).

    It is reversed when the invoice is voided.
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
    """Return the transfer of a payment of an order's invoice by a payment method.

    It credits the account's prepaid value, or the ledger account `into`.
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
    """Return the transfer to revenue when the term of a paid invoice is over (ADD-7)."""
    return Transfer(
        id=f"{TransferKind.EARNED}/order/{invoice}",
        at=at,
        kind=TransferKind.EARNED,
        debited=prepaid_of(account),
        credited=revenue_of(account),
        amount=amount,
    )


# The settlement of an account that is closed because its owner leaves.


def refund_id_of(invitation_id: str) -> str:
    """Return the id of the invitation's refund: one for each invitation (REF-5)."""
    return f"rf-{invitation_id}"


def credit_transfer_ids(invitation_id: str) -> tuple[str, str, str]:
    """Return the ids of the transfers by which an acceptance may credit the target."""
    return (
        f"{TransferKind.TRANSFER}/{invitation_id}",
        f"{TransferKind.CREDIT_RETURNED}/{invitation_id}",
        f"{TransferKind.CREDIT_MOVED}/{invitation_id}",
    )


class AccountClosure(Value):
    """The closure of `source` when its owner joins `target`, with the settlement of its money."""

    invitation_id: str
    source: str
    target: str
    same_currency: bool
    at: AwareDatetime

    def settlement_transfers(self, quoted: Quote, choice: Choice) -> Iterator[Transfer]:
        """Yield the transfers of the unused value, by the choice made (QUO-3, QUO-4)."""
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
        # Credit cannot move to another currency; it stays on the source account.
        keeper = self.target if self.same_currency else self.source
        returned = total((share.amount for share in quoted.to_credit), quoted.total.currency)
        yield from self._entry(
            TransferKind.CREDIT_RETURNED, prepaid_of, credit_of(keeper), returned
        )

    def remaining_transfers(self, prepaid: Money, credit: Money) -> Iterator[Transfer]:
        """Yield the transfers of used value to revenue, and of credit to the target (QUO-6)."""
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


# The parts of a refund.


def part_transfer(
    plan: RefundPlan, part: RefundPart, state: PartState, at: datetime
) -> Transfer | None:
    """Return the transfer to post when `part` enters `state`; None when there is none."""
    match state:
        case PartState.SUCCEEDED:
            kind, receiver = TransferKind.REFUNDED, methods_of(plan.source)
        case PartState.CONVERTED:
            kind, receiver = TransferKind.CONVERTED, credit_of(plan.target)
        case PartState.CLOSED:
            kind, receiver = TransferKind.GIVEN_UP, written_off_of(plan.source)
        case _:
            return None
    return Transfer(
        id=f"{kind}/{plan.refund_id}/{part.payment}",
        at=at,
        kind=kind,
        debited=refund_due(plan.refund_id),
        credited=receiver,
        amount=part.amount,
    )


def reversal(posted: Transfer, at: datetime) -> Transfer:
    """Return the transfer that reverses another one."""
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


def possible_part_ids(plan: RefundPlan, parts: Iterable[RefundPart], at: datetime) -> list[str]:
    """Return the ids of all transfers that may have been posted for the parts of a refund."""
    transfers = (
        part_transfer(plan, part, state, at) for part in parts for state in _SETTLED_STATES
    )
    return [transfer.id for transfer in transfers if transfer]


def due_for_parts(
    plan: RefundPlan, parts: Iterable[RefundPart], posted: Mapping[str, Transfer], at: datetime
) -> Iterator[Transfer]:
    """Return the transfers to post for the parts of a refund, given those already posted."""
    for part in parts:
        due = part_transfer(plan, part, part.state, at)
        if due is None or due.id in posted:
            continue
        for state in _SETTLED_STATES:
            other = part_transfer(plan, part, state, at)
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
