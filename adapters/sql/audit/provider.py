"""Checks of the built-in payment provider against orders, invoices and refunds (AUD).

A payment is at the provider a moment before it is booked. An open invoice or part is therefore
no violation, whatever the provider has.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import (
    InvoiceRow,
    OrderInvoiceRow,
    OrderRow,
    ProviderChargeRow,
    ProviderRefundRow,
    RefundRow,
    TransferRow,
)
from domain.audit import Violation
from domain.charge import ChargeState
from domain.invoice import CHARGE_KEY, is_invoice_key
from domain.ledger import TransferKind, charge_entries, methods_of
from domain.refund import PartState, RefundPart, RefundPlan, request_key

STRIPE_PAYMENT: Final = "pi_"
"""The beginning of the ids of payments by Stripe, which `reconcile` compares."""

_Invoice = tuple[OrderInvoiceRow, OrderRow]


async def provider_violations(session: AsyncSession) -> list[Violation]:
    """Compare charges with invoices, and refunds with the parts that requested them."""
    return [
        *[found async for found in _charge_violations(session)],
        *[found async for found in _invoice_violations(session)],
        *[found async for found in _refund_violations(session)],
    ]


async def _charge_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    found = await session.execute(
        select(OrderInvoiceRow, OrderRow).join(
            OrderRow, OrderRow.order_id == OrderInvoiceRow.order_id
        )
    )
    invoices = {invoice.invoice_id: (invoice, order) for invoice, order in found}
    charges = [each for each in await _charges(session) if not is_invoice_key(each.key)]
    late = set(
        await session.scalars(
            select(TransferRow.invoice).where(
                TransferRow.id.startswith("payment/order/"), TransferRow.invoice.is_not(None)
            )
        )
    )
    for charge in charges:
        if not _is_booked(charge, invoices, late):
            yield Violation(
                rule="ADD-5",
                subject=charge.provider_id,
                message="the provider's charge is not the payment of an invoice",
            )
    succeeded = {each.provider_id: each for each in charges if each.state == ChargeState.SUCCEEDED}
    for invoice_id, (invoice, _) in sorted(invoices.items()):
        payment = invoice.payment
        if payment is None or payment.startswith(STRIPE_PAYMENT):
            continue
        cited = succeeded.get(payment)
        if cited is None or _invoice_of(cited) != invoice_id:
            yield Violation(
                rule="ADD-5",
                subject=invoice_id,
                message="the invoice is paid by a charge that the provider does not have",
            )


async def _charges(session: AsyncSession) -> Sequence[ProviderChargeRow]:
    return (await session.scalars(select(ProviderChargeRow).order_by(ProviderChargeRow.key))).all()


def _invoice_of(charge: ProviderChargeRow) -> str:
    """Return the invoice in the key of the charge, `ORDER/NUMBER/TRIES/METHOD`."""
    return "/".join(charge.key.split("/", 3)[:2])


def _is_booked(
    charge: ProviderChargeRow, invoices: Mapping[str, _Invoice], late: set[str | None]
) -> bool:
    """Return whether the charge is of an invoice, and paid it if it is decided."""
    invoice, order = invoices.get(_invoice_of(charge), (None, None))
    _, _, _, method = (*charge.key.split("/", 3), "", "", "")[:4]
    if invoice is None or order is None or method != charge.method:
        return False
    if (charge.account_id, charge.currency) != (order.account_id, invoice.currency):
        return False
    if charge.state != ChargeState.SUCCEEDED or invoice.state == "open":
        return True
    if invoice.state == "void":
        return invoice.invoice_id in late or order.record.pending is not None
    return (invoice.payment, invoice.amount - invoice.from_credit) == (
        charge.provider_id,
        charge.amount,
    )


async def _invoice_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare charges for invoices of accounts with the entries that book them (BLK-2)."""
    rows = (
        await session.scalars(select(InvoiceRow).order_by(InvoiceRow.account_id, InvoiceRow.id))
    ).all()
    invoices = {f"{CHARGE_KEY}{row.account_id}/{row.id}": row for row in rows}
    booked = await _booked_charges(session)
    paid = set[tuple[str, str]]()
    for charge in await _charges(session):
        if not is_invoice_key(charge.key):
            continue
        key, _, number = charge.key.rpartition("/")
        invoice = invoices.get(key)
        if invoice is None or not _is_counted(charge, invoice, number, booked):
            yield Violation(
                rule="BLK-2",
                subject=charge.provider_id,
                message="the provider's charge differs from the entries of its invoice",
            )
        elif charge.state == ChargeState.SUCCEEDED:
            paid.add((key, charge.provider_id))
    for key, row in invoices.items():
        payment = row.payment
        if payment and not payment.startswith(STRIPE_PAYMENT) and (key, payment) not in paid:
            yield Violation(
                rule="BLK-2",
                subject=f"{row.account_id}/{row.id}",
                message="the invoice is paid by a charge that the provider does not have",
            )


_Booked = Mapping[str, tuple[str, str, Decimal]]
"""The debited ledger account, the currency and the amount of entries by their ids."""


async def _booked_charges(session: AsyncSession) -> _Booked:
    entries = await session.execute(
        select(TransferRow.id, TransferRow.debited, TransferRow.currency, TransferRow.amount).where(
            TransferRow.kind == TransferKind.CHARGED
        )
    )
    return {id: (debited, currency, amount) for id, debited, currency, amount in entries}


def _is_counted(
    charge: ProviderChargeRow, invoice: InvoiceRow, number: str, booked: _Booked
) -> bool:
    """Return whether the charge is booked, or has no result yet, or was declined."""
    if charge.account_id != invoice.account_id or not number.isdigit():
        return False
    entries = [booked[each] for each in charge_entries(charge.key) if each in booked]
    if charge.state != ChargeState.SUCCEEDED or int(number) >= invoice.charges:
        return not entries
    known = (methods_of(charge.account_id), charge.currency)
    return (
        all((debited, currency) == known for debited, currency, _ in entries)
        and sum(amount for _, _, amount in entries) == charge.amount
    )


async def _refund_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    refunds = (await session.scalars(select(RefundRow))).all()
    requests = _requests(refunds)
    rows = await session.scalars(select(ProviderRefundRow).order_by(ProviderRefundRow.key))
    for row in rows:
        plan, part, attempt = requests.get(row.key, (None, None, 0))
        if plan is None or part is None or not _is_requested(row, plan, part, attempt):
            yield Violation(
                rule="REF-5",
                subject=row.provider_id,
                message="the provider's refund is not that of a part of a refund",
            )


_Request = tuple[RefundPlan, RefundPart, int]


def _requests(refunds: Sequence[RefundRow]) -> Mapping[str, _Request]:
    """Return the parts of all refunds by the keys of their requests, repeated ones included."""
    return {
        request_key(row.refund_id, part.model_copy(update={"attempt": attempt})): (
            row.ordered,
            part,
            attempt,
        )
        for row in refunds
        for part in row.record.parts
        for attempt in range(1, part.attempt + 1)
    }


def _is_requested(row: ProviderRefundRow, plan: RefundPlan, part: RefundPart, attempt: int) -> bool:
    """Return whether the provider's refund agrees with the part that requested it."""
    if (row.account_id, row.payment, row.currency, row.amount) != (
        plan.source,
        part.payment,
        part.amount.currency,
        part.amount.amount,
    ):
        return False
    if attempt < part.attempt:
        # It was requested again because it had failed.
        return row.outcome == PartState.FAILED
    agrees = {
        PartState.SUCCEEDED: row.outcome == PartState.SUCCEEDED,
        PartState.FAILED: row.outcome == PartState.FAILED and row.failure == part.failure,
        PartState.CONVERTED: row.outcome == PartState.FAILED,
    }
    return agrees.get(part.state, True) and part.provider_id in {None, row.provider_id}
