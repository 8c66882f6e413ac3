"""What happens to the money of an account when its owner leaves it, in that transaction."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import JoinAccount
from adapters.sql.database.schema import AccountRow, RefundRow, SettlementRow
from adapters.sql.money.credit import apply_by_itself
from adapters.sql.money.ledger import balance, post
from adapters.sql.money.refund_schedule import arrives_between, first_lookups
from domain.account import Account
from domain.business_day import overdue_from
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, Settlement
from domain.ledger import AccountClosure, credit_of, prepaid_of, refund_id_of
from domain.quote import Quote, must_choose, quote, terms_of
from domain.refund import RefundOrder, RefundPart
from states.refund import opening


@dataclass(frozen=True)
class Settled:
    """What was agreed; nothing of it where there was nothing to choose (QUO-4)."""

    choice: Choice | None = None
    settlement: Settlement | None = None
    refund: RefundOrder | None = None


async def settle(
    session: AsyncSession, order: JoinAccount, source: Account, target: AccountRow, at: datetime
) -> Settled:
    """Settle the unused value, and take the credit along (QUO).

    Both accounts are locked. Raises Refused: `choice_required`, `currency_mismatch`,
    `quote_expired`.
    """
    quoted = _agreed(order, source, target, at)
    asked = must_choose(source, order.invite.email, quoted)
    settled = _settled(order, source, quoted, at) if asked else Settled()
    closure = AccountClosure(
        invitation_id=order.invite.invitation_id,
        source=source.id,
        target=target.id,
        same_currency=source.currency == target.currency,
        at=at,
    )
    await _move_money(session, closure, quoted, settled.choice)
    if source.paid:
        session.add(
            SettlementRow(
                invitation_id=order.invite.invitation_id,
                account_id=source.id,
                kind=settled.choice,
                quote=quoted,
            )
        )
    if settled.refund:
        session.add(_refund_row(settled.refund))
    await apply_by_itself(session, target, at)
    return settled


async def refund_of(session: AsyncSession, invitation_id: str) -> RefundOrder | None:
    """The refund that the invitation's acceptance asked for, if any."""
    row = await session.scalar(select(RefundRow).where(RefundRow.invitation_id == invitation_id))
    return row.ordered if row else None


def _agreed(order: JoinAccount, source: Account, target: AccountRow, at: datetime) -> Quote:
    """The quote that was shown, while it binds; else that of this moment (QUO-5)."""
    now, shown = quote(source, at, terms_of(order.invite.policy, source)), order.quote
    void = shown is not None and not shown.binds(at, now)
    quoted = shown.quote if shown and not void else now
    if must_choose(source, order.invite.email, quoted):
        if order.choice is None:
            raise Refused(
                ErrorCode.CHOICE_REQUIRED, "Choose what happens to the unused value of the plan."
            )
        if order.choice is Choice.TRANSFER and target.currency != source.currency:
            raise Refused(
                ErrorCode.CURRENCY_MISMATCH,
                f"{target.id} pays in {target.currency}: choose a refund.",
            )
    if void and source.paid:
        raise Refused(ErrorCode.QUOTE_EXPIRED, "The quote that was shown is no longer valid.")
    return quoted


def _settled(order: JoinAccount, source: Account, quoted: Quote, at: datetime) -> Settled:
    assert order.choice, "it has been made"
    refund = None
    if order.choice is Choice.REFUND and quoted.to_methods:
        refund = _refund_order(order, source, quoted, at)
    return Settled(
        choice=order.choice,
        settlement=Settlement(
            kind=order.choice,
            amount=quoted.total,
            refund_id=refund.refund_id if refund else None,
            arrives_between=refund.arrives_between if refund else None,
        ),
        refund=refund,
    )


def _refund_order(order: JoinAccount, source: Account, quoted: Quote, at: datetime) -> RefundOrder:
    invite, window = order.invite, arrives_between(source, order.invite.policy, at)
    return RefundOrder(
        refund_id=refund_id_of(invite.invitation_id),
        invitation_id=invite.invitation_id,
        source=source.id,
        target=invite.account,
        payee=invite.email,
        locale=invite.locale,
        parts=tuple(
            RefundPart(payment=share.payment, method=share.method, amount=share.amount)
            for share in quoted.to_methods
            if share.method != "credit"
        ),
        requested_at=at,
        arrives_between=window,
        lookups=first_lookups(source, invite.policy, at),
        late_from=overdue_from(window, source.time_zone),
    )


async def _move_money(
    session: AsyncSession, closure: AccountClosure, quoted: Quote, choice: Choice | None
) -> None:
    """What was agreed first; then what is left of the account's money goes its way."""
    currency = quoted.total.currency
    credit = await balance(session, credit_of(closure.source), currency)
    if choice:
        await post(session, tuple(closure.settlement_transfers(quoted, choice)))
    prepaid = await balance(session, prepaid_of(closure.source), currency)
    await post(session, tuple(closure.remaining_transfers(prepaid, credit)))


def _refund_row(order: RefundOrder) -> RefundRow:
    record = opening(order)
    return RefundRow(
        refund_id=order.refund_id,
        invitation_id=order.invitation_id,
        state=record.state,
        requested_at=order.requested_at,
        ordered=order,
        record=record,
    )
