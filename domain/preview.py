"""What accepting would do, told beforehand (QUO-8)."""

from datetime import date

from pydantic import AwareDatetime

from domain.account import Account
from domain.invitation import Blocker, License
from domain.model import Value
from domain.money import Money, rounded, total
from domain.policy import Policy
from domain.proration import ProrationTerms
from domain.quote import Quote, QuoteLine, terms_of


class Notice(Value):
    """One thing that moves, stays behind or is lost."""

    item: str
    message: str
    count: int | None = None


class RefundOffer(Value):
    """What a refund would return, and when it would arrive."""

    amount: Money
    arrives_between: tuple[date, date]


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
    owed = (share.amount for share in quoted.to_credit)
    credit = total([rounded(source.credit, source.currency), *owed], source.currency)
    if source.currency == target.currency or not credit.amount:
        return ()
    return (
        Notice(
            item="credit",
            message=f"Credit of {credit.amount:f} {credit.currency}, "
            f"because {target.name} pays in {target.currency}.",
        ),
    )


def preview(
    source: Account | None,
    invitee: str,
    license: License,
    policy: Policy,
    blocked_by: tuple[Blocker, ...],
) -> Preview:
    """What accepting would do to that person."""
    return Preview(
        policy=terms_of(policy, source),
        loses=losses(source, invitee, license),
        blockers=blocked_by,
    )
