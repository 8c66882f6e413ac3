"""E-mails to the payee about a refund (REF)."""

from collections.abc import Iterator
from datetime import date
from typing import Literal

from domain.letter.base import BaseLetter, Reader
from domain.letter.credit import AnyCreditLetter, CreditParties, credit_letters
from domain.money import Money
from domain.refund import PartState, Refund, RefundPlan
from domain.text import OneLine


class RefundParties(CreditParties):
    """The people concerned by a refund, as the directory has them now."""

    payee: Reader


class RefundRequestedLetter(BaseLetter):
    """E-mail to the payee: the requested refund with its amount and dates (REF-1)."""

    event: Literal["refund_requested"] = "refund_requested"
    amount: Money
    """The amount returned to payment methods."""
    arrives_between: tuple[date, date]


class RefundSettledLetter(BaseLetter):
    """E-mail to the payee: the provider reports that the money has arrived (REF-2)."""

    event: Literal["refund_settled"] = "refund_settled"
    amount: Money


class RefundOverdueLetter(BaseLetter):
    """E-mail to the payee: the refund is late, and look-ups continue (REF-3)."""

    event: Literal["refund_overdue"] = "refund_overdue"
    amount: Money
    arrives_between: tuple[date, date]
    operators_know: bool = False
    """True if the operators are notified by e-mail."""


class RefundFailedLetter(BaseLetter):
    """E-mail to the payee: the refund failed; credit or another method is possible (REF-4)."""

    event: Literal["refund_failed"] = "refund_failed"
    amount: Money
    """The amount still open."""


class RefundConvertedLetter(BaseLetter):
    """E-mail to the payee: the failed amount became credit of their account (REF-4, TXT-2)."""

    event: Literal["refund_converted"] = "refund_converted"
    amount: Money


class RefundRetriedLetter(BaseLetter):
    """E-mail to the payee: the failed amount was requested again (REF-4)."""

    event: Literal["refund_retried"] = "refund_retried"
    amount: Money
    to_another_method: bool = False


class RefundClosedLetter(BaseLetter):
    """E-mail to the payee: an operator closed the refund, with the reason (REF-4, TXT-2)."""

    event: Literal["refund_closed"] = "refund_closed"
    amount: Money
    """The amount that will not be returned."""
    reason: OneLine
    """The reason given by the operator."""
    still_open: Money | None = None
    """The amount that may still arrive."""


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
    plan: RefundPlan,
    refund: Refund,
    parties: RefundParties,
    *,
    decided: Money | None = None,
    operators_know: bool = False,
) -> Iterator[AnyRefundLetter | AnyCreditLetter]:
    """Yield the e-mails about the last transition of the refund (TXT-2).

    `decided` is the amount that an operator has just closed or retried.
    """
    moves, name = refund.journal, parties.account_name
    # A refund may fail again after a retry; each transition has its own e-mail.
    about, payee = f"{len(moves)}.{plan.refund_id}", parties.payee
    event = moves[-1].event
    if event in {"submit", "settle", "fall_due", "fail"}:
        yield RefundRequestedLetter(
            id=f"refund_requested.{plan.refund_id}",
            reader=payee,
            account_name=name,
            amount=refund.amount,
            arrives_between=plan.arrives_between,
        )
    match event:
        case "settle":
            # Closed parts may still arrive later, one by one.
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
                arrives_between=plan.arrives_between,
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
