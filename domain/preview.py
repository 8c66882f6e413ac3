"""What accepting would do, told beforehand (QUO-8)."""

from datetime import date, datetime

from pydantic import AwareDatetime

from domain.account import Account
from domain.invitation import Blocker, License
from domain.model import Value
from domain.money import Money, rounded, total
from domain.proration import ProrationTerms
from domain.quote import Quote, QuoteLine


class Notice(Value):
    """One thing that moves, stays behind or is lost."""

    item: str
    message: str
    count: int | None = None


class RefundOffer(Value):
    """What a refund would return, and when it would arrive."""

    amount: Money
    """What goes back to payment methods; what was paid from credit is not part of it."""
    arrives_between: tuple[date, date] | None
    """For accepting on that day; None when nothing goes back to a payment method."""


class TransferOffer(Value):
    """What a transfer would credit, and to which account."""

    amount: Money
    to: str


class TransferRefused(Value):
    """Why no transfer is possible; a refund remains."""

    refused: str


class Preview(Value):
    """What accepting now would do; looking changes nothing."""

    amount: Money | None = None
    lines: tuple[QuoteLine, ...] = ()
    policy: ProrationTerms
    valid_until: AwareDatetime | None = None
    refund: RefundOffer | None = None
    transfer: TransferOffer | TransferRefused | None = None
    moves: tuple[Notice, ...] = ()
    stays_behind: tuple[Notice, ...] = ()
    loses: tuple[Notice, ...] = ()
    blockers: tuple[Blocker, ...] = ()


FEATURES_OF_A_BASE_LICENSE = (
    Notice(item="cloud_recording", message="Recording meetings to the cloud."),
    Notice(item="long_meetings", message="Meetings of more than 40 minutes."),
    Notice(item="participants", message="Meetings of more than 100 participants."),
    Notice(item="reports", message="Usage reports of your meetings."),
)
"""What a licensed person has and a basic one has not (INV-16)."""


def losses(source: Account | None, invitee: str, license: License) -> tuple[Notice, ...]:
    """What a licensed person who is invited as basic gives up (INV-16)."""
    user = source.user(invitee) if source else None
    if user is None or not user.licensed or license is License.LICENSED:
        return ()
    return FEATURES_OF_A_BASE_LICENSE


def transfer_offer(quoted: Quote, target: Account) -> TransferOffer | TransferRefused:
    """What a transfer to `target` would credit; its currency must be the same (QUO-6)."""
    if target.currency != quoted.total.currency:
        return TransferRefused(refused="currency_mismatch")
    return TransferOffer(amount=quoted.total, to=target.id)


def credit_left_behind(source: Account, target: Account, quoted: Quote) -> tuple[Notice, ...]:
    """Credit of `source` that cannot follow into another currency (QUO-3, QUO-6).

    Its balance, and what the quote owes to credit.
    """
    credit = _credit(source, quoted)
    if source.currency == target.currency or not credit.amount:
        return ()
    return (
        Notice(
            item="credit",
            message=f"Credit of {credit.amount:f} {credit.currency}, "
            f"because {target.name} pays in {target.currency}.",
        ),
    )


def credit_taken_along(source: Account, target: Account, quoted: Quote) -> tuple[Notice, ...]:
    """Credit of `source` that becomes the target's, whatever is chosen (QUO-3, QUO-6)."""
    credit = _credit(source, quoted)
    if source.currency != target.currency or not credit.amount:
        return ()
    return (
        Notice(
            item="credit",
            message=f"Credit of {credit.amount:f} {credit.currency}, to {target.name}.",
        ),
    )


def _credit(source: Account, quoted: Quote) -> Money:
    owed = (share.amount for share in quoted.to_credit)
    return total([rounded(source.credit, source.currency), *owed], source.currency)


def preview(
    quoted: Quote,
    arrives_between: tuple[date, date] | None = None,
    target: Account | None = None,
    valid_until: datetime | None = None,
) -> Preview:
    """What is to be settled, and the ways to settle it; none where it is nothing (QUO-4)."""
    refund, transfer = None, None
    if quoted.total.amount:
        refund = RefundOffer(
            amount=quoted.refundable,
            arrives_between=arrives_between if quoted.to_methods else None,
        )
        transfer = transfer_offer(quoted, target) if target else None
    return Preview(
        amount=quoted.total,
        lines=quoted.lines,
        policy=quoted.terms,
        valid_until=valid_until,
        refund=refund,
        transfer=transfer,
    )
