"""E-mails to the payee about a refund (REF)."""

from collections.abc import Iterator
from datetime import date
from typing import Literal

from domain.letter.base import BaseLetter, Reader
from domain.letter.credit import AnyCreditLetter, CreditParties, credit_letters
from domain.money import Money
from domain.refund import PartState, Refund, RefundOrder
from domain.text import OneLine


class RefundParties(CreditParties):
    """Whom a refund concerns, as the directory knows them now."""

    payee: Reader


class RefundRequestedLetter(BaseLetter):
    """To the payee: what they chose, the amount, and the two dates (REF-1)."""

    event: Literal["refund_requested"] = "refund_requested"
    amount: Money
    """What goes back to payment methods."""
    arrives_between: tuple[date, date]


class RefundSettledLetter(BaseLetter):
    """To the payee: the provider says that the money has arrived (REF-2)."""

    event: Literal["refund_settled"] = "refund_settled"
    amount: Money


class RefundOverdueLetter(BaseLetter):
    """To the payee: later than was promised, and it is being looked after (REF-3)."""

    event: Literal["refund_overdue"] = "refund_overdue"
    amount: Money
    arrives_between: tuple[date, date]
    operators_know: bool = False
    """Whether they are told by e-mail; otherwise they have to look for it."""


class RefundFailedLetter(BaseLetter):
    """To the payee: it could not be returned; credit or another method (REF-4)."""

    event: Literal["refund_failed"] = "refund_failed"
    amount: Money
    """What is still open."""


class RefundConvertedLetter(BaseLetter):
    """To the payee: what failed was credited to the account they joined (REF-4, TXT-2)."""

    event: Literal["refund_converted"] = "refund_converted"
    amount: Money


class RefundRetriedLetter(BaseLetter):
    """To the payee: the provider was asked anew for what had failed (REF-4)."""

    event: Literal["refund_retried"] = "refund_retried"
    amount: Money
    to_another_method: bool = False


class RefundClosedLetter(BaseLetter):
    """To the payee: the operators gave up what was open, and why (REF-4, TXT-2)."""

    event: Literal["refund_closed"] = "refund_closed"
    amount: Money
    """What was given up."""
    reason: OneLine
    """The operator's words."""
    still_open: Money | None = None
    """What is still on its way."""


AnyRefundLetter = (
    RefundRequestedLetter
    | RefundSettledLetter
    | RefundOverdueLetter
    | RefundFailedLetter
    | RefundConvertedLetter
    | RefundRetriedLetter
    | RefundClosedLetter
)


def refund_letters(
    order: RefundOrder,
    refund: Refund,
    parties: RefundParties,
    *,
    decided: Money | None = None,
    operators_know: bool = False,
) -> Iterator[AnyRefundLetter | AnyCreditLetter]:
    """What the payee is told of the refund where it stands now (TXT-2).

    `decided` is what an operator has just given up, or had asked for anew.
    """
    moves, name = refund.journal, parties.account_name
    # A refund may fail again after a retry: the letter about each move is one of its own.
    about, payee = f"{len(moves)}.{order.refund_id}", parties.payee
    event = moves[-1].event
    if event in {"submit", "settle", "fall_due", "fail"}:
        yield RefundRequestedLetter(
            id=f"refund_requested.{order.refund_id}",
            reader=payee,
            account_name=name,
            amount=refund.amount,
            arrives_between=order.arrives_between,
        )
    match event:
        case "settle":
            # What was given up may arrive later still, and part by part.
            arrived = sum(part.state is PartState.SUCCEEDED for part in refund.parts)
            yield RefundSettledLetter(
                id=f"refund_settled.{arrived}.{about}",
                reader=payee,
                account_name=name,
                amount=refund.returned,
            )
        case "fall_due":
            yield RefundOverdueLetter(
                id=f"refund_overdue.{about}",
                reader=payee,
                account_name=name,
                amount=refund.amount_open,
                arrives_between=order.arrives_between,
                operators_know=operators_know,
            )
        case "fail":
            yield RefundFailedLetter(
                id=f"refund_failed.{about}", reader=payee, account_name=name, amount=refund.failed
            )
        case "retry" if decided:
            yield RefundRetriedLetter(
                id=f"refund_retried.{about}",
                reader=payee,
                account_name=name,
                amount=decided,
                to_another_method=moves[-1].note is not None,
            )
        case "close" | "resume" if decided:
            yield RefundClosedLetter(
                id=f"refund_closed.{about}",
                reader=payee,
                account_name=name,
                amount=decided,
                reason=moves[-1].note or "",
                still_open=refund.amount_open if refund.amount_open.amount else None,
            )
        case "convert" | "resume" if refund.converted.amount:
            yield RefundConvertedLetter(
                id=f"refund_converted.{about}",
                reader=payee,
                account_name=name,
                amount=refund.converted,
            )
            yield from credit_letters(about, refund.converted, payee, parties)
