"""The invoices of accounts, and their payments (BLK-2)."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from sqlalchemy import literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import AccountRow, InvoiceRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import require_account
from adapters.sql.money.credit import apply_automatically
from adapters.sql.money.ledger import count_entries, post, posted
from adapters.sql.money.payment_method import payment_methods
from adapters.sql.outbox import signal_owners
from domain.error import ErrorCode, Refused
from domain.invoice import CHARGE_KEY, InvoiceDue
from domain.ledger import (
    Transfer,
    charge,
    charge_entries,
    outside_of,
    overpaid,
    paid_outside,
)
from domain.money import Money, rounded

_PAGE_SIZE: Final = 500


class SqlInvoices:
    """The open invoices of accounts; each payment inserts the outbox rows that follow it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def due(self, account: str, invoice: str) -> InvoiceDue | None:
        """Return the open amount of the invoice; None once it is paid.

        Raises Refused: `not_found`.
        """
        async with reading(self._engine) as session:
            row = await require_account(session, account)
            due = await _require_invoice(session, account, invoice)
            if due.status == "paid":
                return None
            return InvoiceDue(
                account=account,
                invoice=invoice,
                amount=rounded(due.amount_due, row.currency),
                methods=tuple(each.id for each in await payment_methods(session, account)),
                billing_customer=row.billing_customer,
                charges=due.charges,
            )

    async def declined(self, due: InvoiceDue) -> None:
        """Count the declined charge, once: the next one has another key."""
        async with writing(self._engine) as session:
            _, invoice = await _lock_invoice(session, due.account, due.invoice)
            if invoice.charges == due.charges:
                invoice.charges += 1

    async def paid(
        self, due: InvoiceDue, charged: Money | None, payment: str | None, *, by: str, at: datetime
    ) -> bool:
        """Book the charge of `due`, once; return whether this call booked it.

        `charged` is None if nothing was due. Of an amount that credit has paid in the meantime,
        the rest becomes credit.
        """
        async with writing(self._engine) as session:
            account, invoice = await _lock_invoice(session, due.account, due.invoice)
            if invoice.charges != due.charges or (charged is None and invoice.amount_due):
                return False
            if charged:
                invoice.charges += 1
                invoice.payment, invoice.paid_outside = payment, None
                await post(session, _book(account, invoice, charged, due, at), by=by)
                await apply_automatically(session, account, at)
            await _close_if_paid(session, account, invoice, by=by, at=at)
            return True

    async def paid_elsewhere(
        self, account: str, invoice: str, reference: str, *, by: str, at: datetime
    ) -> bool:
        """Record that the open amount was paid elsewhere; return whether anything was open.

        Raises Refused: `not_found`.
        """
        async with writing(self._engine) as session:
            row, due = await _lock_invoice(session, account, invoice)
            if due.status == "paid":
                return False
            amount = rounded(due.amount_due, row.currency)
            if amount.amount:
                number = await count_entries(session, outside_of(account)) + 1
                paid = paid_outside(account, invoice, amount, number, at)
                await post(session, [paid], by=by)
                due.amount_due -= amount.amount
            # Its charges are not counted on: one without a result yet is found by its key.
            due.payment, due.paid_outside = None, reference
            await _close_if_paid(session, row, due, by=by, at=at)
            return True

    # Charges, to compare them with the payment provider (OPS-6).

    async def is_booked(self, key: str) -> bool:
        """Return whether the charge with this key is posted."""
        async with reading(self._engine) as session:
            return bool(await posted(session, charge_entries(key)))

    async def charged(self, key: str) -> InvoiceDue | None:
        """Return the invoice that the charge with this key was for, as it was due then.

        It is None if the store has no such invoice. Results of earlier charges may be lost.
        """
        rest, _, number = key.rpartition("/")
        query = select(InvoiceRow).where(
            literal(CHARGE_KEY) + InvoiceRow.account_id + "/" + InvoiceRow.id == rest
        )
        async with writing(self._engine) as session:
            row = (await session.scalars(query)).one_or_none()
            if row is None:
                return None
            account, invoice = await _lock_invoice(session, row.account_id, row.id)
            invoice.charges = max(invoice.charges, int(number))
            return InvoiceDue(
                account=account.id,
                invoice=invoice.id,
                amount=rounded(invoice.amount_due, account.currency),
                methods=(),
                billing_customer=account.billing_customer,
                charges=int(number),
            )

    async def charges(self) -> AsyncIterator[list[tuple[str, str, str]]]:
        """Yield pages of the invoices that a payment method has paid.

        Each is given as the account, the invoice's id and the provider's id of the payment.
        """
        last = ("", "")
        while True:
            query = (
                select(InvoiceRow.account_id, InvoiceRow.id, InvoiceRow.payment)
                .where(
                    InvoiceRow.payment.is_not(None),
                    tuple_(InvoiceRow.account_id, InvoiceRow.id) > last,
                )
                .order_by(InvoiceRow.account_id, InvoiceRow.id)
                .limit(_PAGE_SIZE)
            )
            async with reading(self._engine) as session:
                rows = (await session.execute(query)).all()
            yield [(account, invoice, payment or "") for account, invoice, payment in rows]
            if len(rows) < _PAGE_SIZE:
                return
            last = (rows[-1][0], rows[-1][1])


async def _require_invoice(session: AsyncSession, account: str, invoice: str) -> InvoiceRow:
    row = await session.get(InvoiceRow, {"account_id": account, "id": invoice})
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"{account} has no invoice {invoice}.")
    return row


async def _lock_invoice(
    session: AsyncSession, account: str, invoice: str
) -> tuple[AccountRow, InvoiceRow]:
    """Lock the account, which covers its invoices."""
    row = await require_account(session, account, lock=True)
    return row, await _require_invoice(session, account, invoice)


def _book(
    account: AccountRow, invoice: InvoiceRow, charged: Money, due: InvoiceDue, at: datetime
) -> list[Transfer]:
    """Reduce the open amount by the charge; return the entries of the charge."""
    used = rounded(min(charged.amount, invoice.amount_due), account.currency)
    rest = charged.model_copy(update={"amount": charged.amount - used.amount})
    invoice.amount_due -= used.amount
    booked = (account.id, invoice.id)
    return [
        *([charge(*booked, used, due.charges, at)] if used.amount else []),
        *([overpaid(*booked, rest, due.charges, at)] if rest.amount else []),
    ]


async def _close_if_paid(
    session: AsyncSession,
    account: AccountRow,
    invoice: InvoiceRow,
    *,
    by: str,
    at: datetime,
) -> None:
    """Close the invoice and signal the owner if nothing is left to pay."""
    invoice.paid_by = by
    if not invoice.amount_due:
        invoice.status = "paid"
        await signal_owners(session, [account.id], at)
