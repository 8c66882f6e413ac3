"""Checks of the money, computed from the entries of the ledger (AUD)."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from sqlalchemy import exists, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.audit.check import ACCEPTED, Check
from adapters.sql.database.schema import (
    AccountRow,
    BalanceRow,
    InvitationRow,
    MembershipRow,
    PaymentRow,
    ProviderRefundRow,
    RefundRow,
    SettlementRow,
    TransferRow,
)
from domain.account import Plan, Role
from domain.audit import Violation
from domain.invitation import Invitation
from domain.ledger import (
    credit_of,
    methods_of,
    owner_of,
    prepaid_of,
    refund_due,
    written_off_of,
)
from domain.refund import PartState, Refund, RefundPlan

_ZERO: Final = Decimal(0)
_MOVEMENTS: Final = union_all(
    select(TransferRow.credited.label("whose"), TransferRow.currency, TransferRow.amount),
    select(TransferRow.debited, TransferRow.currency, -TransferRow.amount),
)
_RECOMPUTED: Final = _MOVEMENTS.subquery()
_COMPARED: Final = union_all(
    select(_RECOMPUTED),
    select(BalanceRow.ledger_account, BalanceRow.currency, -BalanceRow.amount),
).subquery()
_OWNER_LEFT: Final = (
    (MembershipRow.leaving == literal("invitation:") + InvitationRow.invitation_id)
    & (MembershipRow.role == Role.OWNER)
    & (MembershipRow.account_id == AccountRow.id)
)

FOREIGN_CREDIT: Final = (
    (BalanceRow.ledger_account == literal(credit_of("")) + AccountRow.id)
    & (BalanceRow.currency != AccountRow.currency)
    & (BalanceRow.amount != _ZERO)
)
"""Condition on credit in another currency than its account has."""

MONEY_CHECKS: Final = (
    Check(
        "CRD-4",
        "the balances of this currency do not add up to zero",
        select(BalanceRow.currency)
        .group_by(BalanceRow.currency)
        .having(func.sum(BalanceRow.amount) != _ZERO),
    ),
    Check(
        "CRD-4",
        "the balance is not the sum of its ledger entries",
        select(_COMPARED.c.whose)
        .group_by(_COMPARED.c.whose, _COMPARED.c.currency)
        .having(func.sum(_COMPARED.c.amount) != _ZERO),
    ),
    Check(
        "CRD-4",
        "the kind of the ledger entry is not the one in its id",
        select(TransferRow.id).where(
            ~TransferRow.id.startswith("import/"),
            func.substr(TransferRow.id, 1, func.length(TransferRow.kind) + 1)
            != TransferRow.kind + "/",
        ),
    ),
    Check(
        "CRD-1",
        "more was drawn than the balance had",
        select(_RECOMPUTED.c.whose)
        .where(
            or_(
                *(
                    _RECOMPUTED.c.whose.startswith(guarded)
                    for guarded in (credit_of(""), prepaid_of(""), refund_due(""))
                )
            )
        )
        .group_by(_RECOMPUTED.c.whose, _RECOMPUTED.c.currency)
        .having(func.sum(_RECOMPUTED.c.amount) < _ZERO),
    ),
    Check(
        "REF-5",
        "more was refunded to payment methods than they had paid",
        select(_RECOMPUTED.c.whose)
        .where(_RECOMPUTED.c.whose.startswith(methods_of("")))
        .group_by(_RECOMPUTED.c.whose, _RECOMPUTED.c.currency)
        .having(func.sum(_RECOMPUTED.c.amount) > _ZERO),
    ),
    Check(
        "CRD-4",
        "the credit is in another currency than its account has",
        select(BalanceRow.ledger_account).join(AccountRow, FOREIGN_CREDIT),
    ),
    Check(
        "CRD-4",
        "the refund is due in another currency than its account has",
        select(RefundRow.refund_id)
        .join(SettlementRow, SettlementRow.invitation_id == RefundRow.invitation_id)
        .join(AccountRow, AccountRow.id == SettlementRow.account_id)
        .join(
            BalanceRow, BalanceRow.ledger_account == literal(refund_due("")) + RefundRow.refund_id
        )
        .where(BalanceRow.currency != AccountRow.currency, BalanceRow.amount != _ZERO),
    ),
    Check(
        "QUO-4",
        "the owner of a paid account was accepted, and its money was not settled",
        select(InvitationRow.invitation_id)
        .join(MembershipRow, literal(True))
        .join(AccountRow, _OWNER_LEFT)
        .where(
            ACCEPTED,
            AccountRow.plan != Plan.FREE,
            ~exists()
            .where(SettlementRow.invitation_id == InvitationRow.invitation_id)
            .correlate(InvitationRow),
        ),
    ),
    Check(
        "QUO-4",
        "money was settled, but no owner of that account was accepted",
        select(SettlementRow.invitation_id).where(
            ~exists()
            .where(
                InvitationRow.invitation_id == SettlementRow.invitation_id,
                AccountRow.id == SettlementRow.account_id,
                _OWNER_LEFT,
                ACCEPTED,
            )
            .correlate(SettlementRow)
        ),
    ),
)


async def money_violations(session: AsyncSession) -> list[Violation]:
    """Compare the records with the settlements, the ledger and the payments."""
    refunds = [
        (row.ordered, row.record)
        for row in await session.scalars(select(RefundRow).order_by(RefundRow.refund_id))
    ]
    return [
        *[found async for found in _settlement_violations(session)],
        *_refund_violations(refunds, await _refund_transfers(session)),
        *[found async for found in _payment_violations(session, refunds)],
    ]


async def _settlement_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    settled = {row.invitation_id: row for row in await session.scalars(select(SettlementRow))}
    rows = await session.execute(
        select(InvitationRow.invitation_id, InvitationRow.record)
        .where(ACCEPTED)
        .order_by(InvitationRow.invitation_id)
    )
    for invitation_id, record in rows:
        if not _agree(record, settled.get(invitation_id)):
            yield Violation(
                rule="QUO-4",
                subject=invitation_id,
                message="its choice and settlement differ from the stored settlement",
            )


def _agree(record: Invitation, settled: SettlementRow | None) -> bool:
    recorded = record.settlement
    if settled is None or settled.kind is None:
        worthless = settled is None or settled.quote.total.amount == 0
        return worthless and recorded is None and record.choice is None
    return (
        recorded is not None
        and settled.kind == recorded.kind == record.choice
        and settled.quote.total == recorded.amount
        and recorded.amount.amount > 0
    )


TransferSums = Mapping[str, Mapping[str, Decimal]]
"""The net amounts transferred from each refund, by receiving ledger account."""


async def _refund_transfers(session: AsyncSession) -> TransferSums:
    due = refund_due("")
    both_ways = union_all(
        select(
            TransferRow.debited.label("refund"),
            TransferRow.credited.label("other"),
            TransferRow.amount,
        ).where(TransferRow.debited.startswith(due)),
        select(TransferRow.credited, TransferRow.debited, -TransferRow.amount).where(
            TransferRow.credited.startswith(due)
        ),
    ).subquery()
    amount = func.sum(both_ways.c.amount)
    rows = await session.execute(
        select(both_ways.c.refund, both_ways.c.other, amount)
        .group_by(both_ways.c.refund, both_ways.c.other)
        .having(amount != _ZERO)
    )
    sums: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for refund, other, sent in rows:
        sums[owner_of(refund)][other] = sent
    return sums


def _refund_violations(
    refunds: Iterable[tuple[RefundPlan, Refund]], transferred: TransferSums
) -> Iterator[Violation]:
    expected = {plan.refund_id: _expected_sums(plan, refund) for plan, refund in refunds}
    for refund_id in sorted({*expected, *transferred}):
        if expected.get(refund_id) != transferred.get(refund_id):
            yield Violation(
                rule="REF-5",
                subject=refund_id,
                message="its parts differ from the entries of the ledger",
            )


def _expected_sums(plan: RefundPlan, refund: Refund) -> Mapping[str, Decimal]:
    sent: dict[str, Decimal] = defaultdict(Decimal)
    receivers = {
        PartState.SUCCEEDED: methods_of(plan.source),
        PartState.CONVERTED: credit_of(plan.target),
        PartState.CLOSED: written_off_of(plan.source),
    }
    for part in refund.parts:
        sent[prepaid_of(plan.source)] -= part.amount.amount
        if part.state in receivers:
            sent[receivers[part.state]] += part.amount.amount
    return dict(sent)


async def _payment_violations(
    session: AsyncSession, refunds: Iterable[tuple[RefundPlan, Refund]]
) -> AsyncIterator[Violation]:
    """Compare refunds with payments, in our records and in those of the provider."""
    recorded: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for plan, refund in refunds:
        for part in refund.parts:
            recorded[plan.source, part.payment] += part.amount.amount
    at_provider = await session.execute(
        select(
            ProviderRefundRow.account_id,
            ProviderRefundRow.payment,
            func.sum(ProviderRefundRow.amount),
        )
        .where(ProviderRefundRow.outcome != PartState.FAILED)
        .group_by(ProviderRefundRow.account_id, ProviderRefundRow.payment)
    )
    returned = [
        *recorded.items(),
        *(((account, payment), amount) for account, payment, amount in at_provider),
    ]
    for (account, payment), amount in returned:
        paid = await session.get(PaymentRow, {"account_id": account, "id": payment})
        if paid is None or amount > paid.amount:
            yield Violation(
                rule="REF-5",
                subject=f"{account}/{payment}",
                message="more of this payment is returned than was paid",
            )
