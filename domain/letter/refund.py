"""E-mails to the payee about a refund (REF)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Literal

from domain.letter.base import BaseLetter, Contact, Reader, contact_for
from domain.letter.credit import AnyCreditLetter, CreditParties, credit_letters
from domain.money import Money
from domain.refund import PartState, Refund, RefundPlan, decided_amount
from domain.text import OneLine


class RefundParties(CreditParties):
    """The people concerned by a refund, as the directory has them now."""

    payee: Reader
    convertible: bool = True
    """False if the joined account has another currency, so that it can get no credit (REF-4)."""

    @property
    def contact(self) -> Contact | None:
        """Return the first owner or admin of the account, other than the payee."""
        return contact_for(self.payee, *self.admins)


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

    untrue_after_changes: ClassVar[bool] = True
    event: Literal["refund_overdue"] = "refund_overdue"
    amount: Money
    arrives_between: tuple[date, date]
    operators_know: bool = False
    """True if the operators are notified by e-mail; it is set when the letter is sent."""


class RefundFailedLetter(BaseLetter):
    """E-mail to the payee: the refund failed; credit or another method is possible (REF-4)."""

    opens_page: ClassVar[bool] = True
    untrue_after_changes: ClassVar[bool] = True
    event: Literal["refund_failed"] = "refund_failed"
    link: str = ""
    amount: Money
    """The amount still open."""
    convertible: bool = True
    """True if the amount can become credit of the joined account."""


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


def is_news(before: Refund, after: Refund) -> bool:
    """Return whether someone has to be notified of the change."""
    return (
        len(after.journal) > len(before.journal)
        or after.returned != before.returned
        or (after.not_reversed is not None and after.not_reversed != before.not_reversed)
    )


def refund_letters(
    plan: RefundPlan, before: Refund, refund: Refund, parties: RefundParties
) -> Iterator[AnyRefundLetter | AnyCreditLetter]:
    """Yield the e-mails about the last transition of the refund (TXT-2)."""
    letters, event = _RefundLetters(plan, refund, parties), refund.journal[-1].event
    decided = decided_amount(before, refund)
    if event in {"submit", "settle", "fall_due", "fail"}:
        yield letters.requested()
    match event:
        case "settle":
            yield letters.settled()
        case "fall_due":
            yield letters.overdue()
        case "fail":
            yield letters.failed()
        case "retry" if decided:
            yield letters.retried(decided)
        case "close" | "resume" if decided:
            yield letters.closed(decided)
        case "convert" | "resume" if refund.converted.amount:
            yield letters.converted()
            yield from credit_letters(letters.about, refund.converted, parties.payee, parties)


@dataclass(frozen=True)
class _RefundLetters:
    """The possible e-mails about the last transition of a refund."""

    plan: RefundPlan
    refund: Refund
    parties: RefundParties

    @property
    def about(self) -> str:
        """Return the transition: a refund may fail again after a retry, with another e-mail."""
        return f"{len(self.refund.journal)}.{self.plan.refund_id}"

    def requested(self) -> RefundRequestedLetter:
        return RefundRequestedLetter(
            id=f"refund_requested.{self.plan.refund_id}",
            reader=self.parties.payee,
            account_name=self.parties.account_name,
            contact=self.parties.contact,
            amount=self.refund.amount,
            arrives_between=self.plan.arrives_between,
        )

    def settled(self) -> RefundSettledLetter:
        # Closed parts may still arrive later, one by one.
        arrived = sum(part.state is PartState.SUCCEEDED for part in self.refund.parts)
        return RefundSettledLetter(
            id=f"refund_settled.{arrived}.{self.about}",
            reader=self.parties.payee,
            account_name=self.parties.account_name,
            contact=self.parties.contact,
            amount=self.refund.returned,
        )

    def overdue(self) -> RefundOverdueLetter:
        return RefundOverdueLetter(
            id=f"refund_overdue.{self.about}",
            reader=self.parties.payee,
            account_name=self.parties.account_name,
            contact=self.parties.contact,
            amount=self.refund.amount_open,
            arrives_between=self.plan.arrives_between,
        )

    def failed(self) -> RefundFailedLetter:
        return RefundFailedLetter(
            id=f"refund_failed.{self.about}",
            reader=self.parties.payee,
            account_name=self.parties.account_name,
            contact=self.parties.contact,
            amount=self.refund.failed,
            convertible=self.parties.convertible,
        )

    def retried(self, amount: Money) -> RefundRetriedLetter:
        return RefundRetriedLetter(
            id=f"refund_retried.{self.about}",
            reader=self.parties.payee,
            account_name=self.parties.account_name,
            contact=self.parties.contact,
            amount=amount,
            to_another_method=self.refund.journal[-1].note is not None,
        )

    def closed(self, amount: Money) -> RefundClosedLetter:
        still_open = self.refund.amount_open
        return RefundClosedLetter(
            id=f"refund_closed.{self.about}",
            reader=self.parties.payee,
            account_name=self.parties.account_name,
            contact=self.parties.contact,
            amount=amount,
            reason=self.refund.journal[-1].note or "",
            still_open=still_open if still_open.amount else None,
        )

    def converted(self) -> RefundConvertedLetter:
        return RefundConvertedLetter(
            id=f"refund_converted.{self.about}",
            reader=self.parties.payee,
            account_name=self.parties.account_name,
            contact=self.parties.contact,
            amount=self.refund.converted,
        )
