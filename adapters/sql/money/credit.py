"""The credit of accounts, and the invoices that it pays (CRD)."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.announcement import announce
from adapters.sql.database.schema import AccountRow, InvoiceRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import known_account
from adapters.sql.money.ledger import balance, count_entries, entries_of, post
from domain.credit import Credit
from domain.error import ErrorCode, Refused
from domain.ledger import Transfer, TransferKind, credit_of, revenue_of
from domain.money import rounded


class SqlCredits:
    """What accounts may still use."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def show(self, account: str) -> Credit:
        """The balance and every entry. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            return await _credit(session, await known_account(session, account))

    async def apply(self, account: str, invoice: str | None, at: datetime) -> Credit:
        """Pay an open invoice: the one named, else the one that was due first (CRD-3).

        Raises Refused: `not_found`, `conflict` (no credit, or nothing to pay).
        """
        async with writing(self._engine) as session:
            row = await known_account(session, account, lock=True)
            paid = await apply_credit(session, row, await _wanted(session, row, invoice), at)
            if not paid:
                raise Refused(ErrorCode.CONFLICT, f"{account} has nothing to apply.")
            return await _credit(session, row)


async def apply_by_itself(session: AsyncSession, account: AccountRow, at: datetime) -> None:
    """Credit of an `autopay` account pays what is open, the rest the next (CRD-3).

    The account is locked.
    """
    if account.collection == "autopay" and account.state == "open":
        await apply_credit(session, account, await _open_invoices(session, account), at)


async def apply_credit(
    session: AsyncSession, account: AccountRow, invoices: Sequence[InvoiceRow], at: datetime
) -> int:
    """Pay `invoices` one after the other as far as the credit lasts; how many were reached.

    The account is locked. An invoice that was paid may have blocked its owner (BLK-2).
    """
    if not invoices:
        return 0
    credit, currency = credit_of(account.id), account.currency
    left = (await balance(session, credit, currency)).amount
    number = await count_entries(session, credit)
    transfers: list[Transfer] = []
    for invoice in invoices:
        if not (amount := min(left, invoice.amount_due)):
            continue
        left -= amount
        invoice.amount_due -= amount
        invoice.close_if_paid()
        number += 1
        transfers.append(
            Transfer(
                id=f"{TransferKind.APPLIED}/{account.id}/{number}",
                at=at,
                kind=TransferKind.APPLIED,
                debited=credit,
                credited=revenue_of(account.id),
                amount=rounded(amount, currency),
                invoice=invoice.id,
            )
        )
    await post(session, transfers)
    if transfers:
        await announce(session, [account.id], at)
    return len(transfers)


async def _wanted(
    session: AsyncSession, account: AccountRow, invoice: str | None
) -> Sequence[InvoiceRow]:
    if invoice is None:
        return (await _open_invoices(session, account))[:1]
    row = await session.get(InvoiceRow, {"account_id": account.id, "id": invoice})
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"{account.id} has no invoice {invoice}.")
    return [row] if row.status == "open" else []


async def _open_invoices(session: AsyncSession, account: AccountRow) -> Sequence[InvoiceRow]:
    """What is to be paid, in the order in which it is due."""
    rows = await session.scalars(
        select(InvoiceRow)
        .where(InvoiceRow.account_id == account.id, InvoiceRow.status == "open")
        .order_by(InvoiceRow.due_on, InvoiceRow.position)
    )
    return [row for row in rows if row.amount_due]


async def _credit(session: AsyncSession, account: AccountRow) -> Credit:
    ledger_account = credit_of(account.id)
    return Credit.of(
        account.id,
        await balance(session, ledger_account, account.currency),
        await entries_of(session, ledger_account, account.currency),
    )
