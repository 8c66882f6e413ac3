"""Money and orders that keep an account in its currency (CRD-4)."""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.accounts.import_orders import ExistingOrders
from adapters.sql.database.schema import AccountRow, InvitationRow, RefundRow, SettlementRow
from domain.account import Account
from domain.refund import RefundState

KeptCurrencies = Mapping[str, Sequence[str]]
"""The records in the present currency, for each account whose currency the file changes."""


async def kept_currencies(
    session: AsyncSession,
    named: Sequence[Account],
    accounts: Mapping[str, AccountRow],
    ordered: ExistingOrders,
) -> KeptCurrencies:
    """Return the records for which an account must keep its currency."""
    changed = [
        accounts[account.id]
        for account in named
        if account.id in accounts and account.currency != accounts[account.id].currency
    ]
    return {
        row.id: [
            *_records(row),
            *(
                f"order {order.order_id}"
                for order in ordered.orders.values()
                if order.account == row.id and not order.state.final
            ),
            *[f"refund {refund}" for refund in await _refunds(session, row.id)],
        ]
        for row in changed
    }


def _records(row: AccountRow) -> Iterator[str]:
    if row.credit:
        yield f"credit of {row.credit:f}"
    for line in row.subscriptions:
        yield from (f"payment {payment.id}" for payment in line.payments if payment.amount)
    for invoice in row.invoices:
        if invoice.status == "open" and invoice.amount_due:
            yield f"invoice {invoice.id}"


async def _refunds(session: AsyncSession, account: str) -> Sequence[str]:
    """Return the refunds under way from or, if they are converted, to the account."""
    finished = [state for state in RefundState if state.finished]
    rows = await session.scalars(
        select(RefundRow.refund_id)
        .join(InvitationRow, InvitationRow.invitation_id == RefundRow.invitation_id)
        .join(SettlementRow, SettlementRow.invitation_id == RefundRow.invitation_id)
        .where(
            RefundRow.state.not_in(finished),
            or_(InvitationRow.account_id == account, SettlementRow.account_id == account),
        )
        .order_by(RefundRow.refund_id)
    )
    return rows.all()
