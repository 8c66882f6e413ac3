"""The credit of accounts, and its application to invoices (CRD)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import AccountRow, InvoiceRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import require_account
from adapters.sql.money.ledger import balance, count_entries, entries_of, post
from adapters.sql.outbox import signal_owners
from domain.credit import Credit, apply_credit
from domain.error import ErrorCode, Refused
from domain.journal import ENGINE, OPERATOR
from domain.ledger import credit_of
from domain.money import rounded


class SqlCredits:
    """Balances and entries of credit."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def show(self, account: str) -> Credit:
        """Return the balance and every entry. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            return await _credit(session, await require_account(session, account))

    async def apply(
        self, account: str, invoice: str | None, at: datetime, *, by: str = OPERATOR
    ) -> Credit:
        """Apply credit to the named invoice, by default to the oldest open one (CRD-3).

        Raises Refused: `not_found`, `conflict` (no credit, or nothing to pay).
        """
        async with writing(self._engine) as session:
            row = await require_account(session, account, lock=True)
            invoices = await _invoices_to_pay(session, row, invoice)
            if not await _apply(session, row, invoices, at, by=by):
                raise Refused(
                    ErrorCode.CONFLICT, f"{account} has no credit, or no open invoice, to apply."
                )
            return await _credit(session, row)


async def apply_automatically(session: AsyncSession, account: AccountRow, at: datetime) -> None:
    """Apply the credit of an `autopay` account to its open invoices (CRD-3).

    The caller has locked the account.
    """
    if account.collection == "autopay" and account.state == "open":
        await _apply(session, account, await _open_invoices(session, account), at, by=ENGINE)


async def _apply(
    session: AsyncSession,
    account: AccountRow,
    invoices: Sequence[InvoiceRow],
    at: datetime,
    *,
    by: str,
) -> int:
    """Apply credit to the invoices in this order; return how many got any.

    It inserts outbox rows: a paid invoice may have been a blocker of the owner (BLK-2).
    """
    if not invoices:
        return 0
    ledger_account = credit_of(account.id)
    transfers = apply_credit(
        account.id,
        await balance(session, ledger_account, account.currency),
        [(each.id, rounded(each.amount_due, account.currency)) for each in invoices],
        await count_entries(session, ledger_account),
        at,
    )
    paid = {transfer.invoice: transfer.amount.amount for transfer in transfers}
    for invoice in invoices:
        if invoice.id in paid:
            invoice.amount_due -= paid[invoice.id]
            invoice.close_if_paid()
    await post(session, transfers, by=by)
    if transfers:
        await signal_owners(session, [account.id], at)
    return len(transfers)


async def balances_owed(session: AsyncSession, accounts: Sequence[str]) -> Mapping[str, Decimal]:
    """Return the sum of the open invoices of each account that has one (QUO-7)."""
    invoices = await session.execute(
        select(InvoiceRow.account_id, InvoiceRow.amount_due).where(
            InvoiceRow.account_id.in_(accounts), InvoiceRow.status == "open"
        )
    )
    owed = defaultdict[str, Decimal](Decimal)
    for account, amount in invoices:
        owed[account] += amount
    return owed


async def _invoices_to_pay(
    session: AsyncSession, account: AccountRow, invoice: str | None
) -> Sequence[InvoiceRow]:
    if invoice is None:
        return (await _open_invoices(session, account))[:1]
    row = await session.get(InvoiceRow, {"account_id": account.id, "id": invoice})
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"{account.id} has no invoice {invoice}.")
    return [row] if row.status == "open" else []


async def _open_invoices(session: AsyncSession, account: AccountRow) -> Sequence[InvoiceRow]:
    """Return the open invoices, the oldest due date first."""
    rows = await session.scalars(
        select(InvoiceRow)
        .where(InvoiceRow.account_id == account.id, InvoiceRow.status == "open")
        .order_by(InvoiceRow.due_on, InvoiceRow.position)
    )
    return [row for row in rows if row.amount_due]


async def _credit(session: AsyncSession, account: AccountRow) -> Credit:
    ledger_account = credit_of(account.id)
    owed = await balances_owed(session, [account.id])
    return Credit.of(
        account.id,
        await balance(session, ledger_account, account.currency),
        rounded(owed.get(account.id, Decimal()), account.currency),
        await entries_of(session, ledger_account, account.currency),
    )
