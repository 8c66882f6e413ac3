"""Checks of the ledger against payments, invoices and settlements (AUD)."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from fractions import Fraction

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.audit.money import FOREIGN_CREDIT
from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    InvoiceRow,
    OrderInvoiceRow,
    OrderRow,
    PaymentRow,
    SettlementRow,
    SubscriptionRow,
    TransferRow,
)
from domain.audit import Violation
from domain.invitation import Choice
from domain.ledger import AccountClosure, TransferKind, credit_of, opening_of, owner_of, prepaid_of
from domain.money import divided, rounded, total
from domain.proration import period_days, unused_days, unused_share
from domain.quote import PaymentShare, Quote, QuoteLine

_PER_SETTLEMENT = (
    TransferKind.REFUND_DUE,
    TransferKind.TRANSFER,
    TransferKind.CREDIT_RETURNED,
)
"""The kinds of entries that an acceptance posts for the value it settles."""


async def ledger_violations(session: AsyncSession) -> list[Violation]:
    """Compare balances and entries with the rows that they are made of."""
    return [
        *[found async for found in _prepaid_violations(session)],
        *[found async for found in _invoice_violations(session)],
        *[found async for found in _opening_violations(session)],
        *[found async for found in _settlement_violations(session)],
    ]


async def _balances(session: AsyncSession, prefix: str) -> dict[tuple[str, str], Decimal]:
    """Return the sums of the entries by ledger account and currency."""
    sums = defaultdict[tuple[str, str], Decimal](Decimal)
    rows = await session.execute(
        select(
            TransferRow.debited, TransferRow.credited, TransferRow.currency, TransferRow.amount
        ).where(
            or_(TransferRow.debited.startswith(prefix), TransferRow.credited.startswith(prefix))
        )
    )
    for debited, credited, currency, amount in rows:
        sums[debited, currency] -= amount
        sums[credited, currency] += amount
    return {key: amount for key, amount in sums.items() if amount and key[0].startswith(prefix)}


async def _prepaid_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare prepaid value with the payments for present periods, and with reserved credit."""
    paid = defaultdict[tuple[str, str], Decimal](Decimal)
    payments = await session.execute(
        select(PaymentRow.account_id, AccountRow.currency, PaymentRow.amount)
        .join(AccountRow, AccountRow.id == PaymentRow.account_id)
        .join(
            SubscriptionRow,
            (SubscriptionRow.account_id == PaymentRow.account_id)
            & (SubscriptionRow.id == PaymentRow.subscription_id),
        )
        .where(SubscriptionRow.ended.is_(None))
    )
    reserved = await session.execute(
        select(OrderRow.account_id, OrderInvoiceRow.currency, OrderInvoiceRow.from_credit)
        .join(OrderRow, OrderRow.order_id == OrderInvoiceRow.order_id)
        .where(OrderInvoiceRow.state.in_(["open", "failed"]))
    )
    for account, currency, amount in (*payments, *reserved):
        paid[prepaid_of(account), currency] += amount
    balances = await _balances(session, prepaid_of(""))
    for name, currency in sorted({*paid, *balances}):
        if paid.get((name, currency), 0) != balances.get((name, currency), 0):
            yield Violation(
                rule="QUO-1",
                subject=owner_of(name),
                message="its prepaid value is not the sum of its payments for present periods",
            )


async def _invoice_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare the paid part of each imported invoice with the entries that paid it (CRD-3)."""
    of_orders = set(await session.scalars(select(OrderRow.order_id)))
    paid = defaultdict[tuple[str, str], Decimal](Decimal)
    entries = await session.execute(
        select(TransferRow.debited, TransferRow.invoice, TransferRow.amount).where(
            TransferRow.invoice.is_not(None)
        )
    )
    for debited, invoice, amount in entries:
        if invoice and invoice.partition("/")[0] not in of_orders:
            paid[owner_of(debited), invoice] += amount
    last = await _last_payments(session)
    for row in await session.scalars(
        select(InvoiceRow).order_by(InvoiceRow.account_id, InvoiceRow.position)
    ):
        booked = paid.pop((row.account_id, row.id), Decimal(0))
        is_open = row.status == "open"
        if row.amount_named - row.amount_due != booked or (
            is_open and row.amount_due == 0 < row.amount_named
        ):
            yield _wrong_invoice(row.account_id, row.id)
        if not _names_payment(row, last.get((row.account_id, row.id))):
            yield Violation(
                rule="BLK-2",
                subject=f"{row.account_id}/{row.id}",
                message="the invoice names another payment than its last entry, or no author",
            )
    for account, invoice in sorted(paid):
        yield _wrong_invoice(account, invoice)


async def _last_payments(session: AsyncSession) -> Mapping[tuple[str, str], str]:
    """Return the kind of the last charge or recorded payment by account and invoice."""
    entries = await session.execute(
        select(TransferRow.id, TransferRow.kind, TransferRow.debited, TransferRow.invoice)
        .where(TransferRow.kind.in_([TransferKind.CHARGED, TransferKind.PAID_OUTSIDE]))
        .order_by(TransferRow.number)
    )
    last: dict[tuple[str, str], str] = {}
    for id, kind, debited, invoice in entries:
        account = owner_of(debited)
        # If the whole charge became credit, only the id of its entry names the invoice.
        charged = id.removeprefix(f"{kind}/{account}/").removesuffix("/credit")
        last[account, invoice or charged.rpartition("/")[0]] = kind
    return last


def _names_payment(row: InvoiceRow, last: str | None) -> bool:
    """Return whether the invoice names the payment of its last entry, and who made it."""
    named = row.payment or row.paid_outside
    return (
        not (row.payment and row.paid_outside)
        and (named is None or row.paid_by is not None)
        and (last is None or named is not None)
        and (row.payment is None or last == TransferKind.CHARGED)
    )


def _wrong_invoice(account: str, invoice: str) -> Violation:
    return Violation(
        rule="CRD-3",
        subject=f"{account}/{invoice}",
        message="the paid part of the invoice differs from the entries that paid it",
    )


async def _opening_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare the credit that the import files named, in its currency, with its entries."""
    opened = defaultdict[tuple[str, str], Decimal](Decimal)
    entries = await session.execute(
        select(
            TransferRow.debited, TransferRow.credited, TransferRow.currency, TransferRow.amount
        ).where(TransferRow.kind.in_([TransferKind.OPENING, TransferKind.CORRECTED]))
    )
    for debited, credited, currency, amount in entries:
        for name, other, change in ((credited, debited, amount), (debited, credited, -amount)):
            account = owner_of(name)
            if (name, other) == (credit_of(account), opening_of(account)):
                opened[account, currency] += change
    accounts = await session.execute(
        select(AccountRow.id, AccountRow.currency, AccountRow.credit_named)
        # Credit in another currency is a violation of its own.
        .where(~exists().where(FOREIGN_CREDIT).correlate(AccountRow))
        .order_by(AccountRow.id)
    )
    for account, currency, named in accounts:
        if opened.get((account, currency), 0) != named:
            yield Violation(
                rule="CRD-4",
                subject=account,
                message="the credit that its import named differs from its entries",
            )


async def _settlement_violations(session: AsyncSession) -> AsyncIterator[Violation]:
    """Compare each settlement with its entries: every share, and where it went (QUO-3)."""
    posted, payments = await _settled_entries(session), await _settled_payments(session)
    rows = await session.execute(
        select(SettlementRow, InvitationRow.account_id)
        .join(InvitationRow, InvitationRow.invitation_id == SettlementRow.invitation_id)
        .order_by(SettlementRow.invitation_id)
    )
    for row, target in rows:
        entries = posted.pop(row.invitation_id, Counter())
        expected = Counter[_Entry]()
        if not (_is_quote(row.quote) and _are_paid(row, payments)):
            yield _wrong_settlement(row.invitation_id)
            continue
        if row.kind:
            closure = AccountClosure(
                invitation_id=row.invitation_id,
                source=row.account_id,
                target=target,
                same_currency=not any(
                    credited == credit_of(row.account_id) for _, _, credited, _, _ in entries
                ),
                at=row.quote.at,
            )
            expected.update(
                (each.id, each.debited, each.credited, each.amount.currency, each.amount.amount)
                for each in closure.settlement_transfers(row.quote, Choice(row.kind))
            )
        if entries != expected:
            yield _wrong_settlement(row.invitation_id)
    for invitation_id in sorted(posted):
        yield _wrong_settlement(invitation_id)


_Entry = tuple[str, str, str, str, Decimal]
"""Id, debited and credited ledger account, currency and amount."""


async def _settled_entries(session: AsyncSession) -> dict[str, Counter[_Entry]]:
    """Return the entries of settlements by invitation."""
    entries = defaultdict[str, Counter[_Entry]](Counter)
    found = await session.execute(
        select(
            TransferRow.id,
            TransferRow.debited,
            TransferRow.credited,
            TransferRow.currency,
            TransferRow.amount,
        ).where(TransferRow.kind.in_(_PER_SETTLEMENT))
    )
    for id, debited, credited, currency, amount in found:
        entries[_invitation_of(id)][id, debited, credited, currency, amount] += 1
    return dict(entries)


def _invitation_of(id: str) -> str:
    """Return the invitation in the id of an entry, `KIND/INVITATION` or `KIND/INVITATION/PART`."""
    return owner_of(id).partition("/")[0]


_Payments = Mapping[tuple[str, str], PaymentRow]


async def _settled_payments(session: AsyncSession) -> _Payments:
    """Return the payments of settled accounts by account and id; these no longer change."""
    rows = await session.scalars(
        select(PaymentRow).where(PaymentRow.account_id.in_(select(SettlementRow.account_id)))
    )
    return {(row.account_id, row.id): row for row in rows}


def _are_paid(row: SettlementRow, payments: _Payments) -> bool:
    """Return whether the quote divides what the payments of the account have paid."""
    shares = [(line, share) for line in row.quote.lines for share in line.shares]
    known = [payments.get((row.account_id, share.payment)) for _, share in shares]
    return all(
        payment is not None and _is_of(payment, line, share)
        for payment, (line, share) in zip(known, shares, strict=True)
    )


def _is_of(payment: PaymentRow, line: QuoteLine, share: PaymentShare) -> bool:
    amount = rounded(payment.amount, share.paid.currency)
    return (payment.subscription_id, payment.method, amount) == (
        line.subscription,
        share.method,
        share.paid,
    )


def _is_quote(quote: Quote) -> bool:
    """Return whether each line has the value of its period, and the total is theirs (QUO-1)."""
    try:
        return all(_is_line(line, quote) for line in quote.lines) and quote.total == total(
            (line.unused for line in quote.lines), quote.total.currency
        )
    except (LookupError, ValueError):
        # There is no such currency or time zone, or the currencies differ.
        return False


def _is_line(line: QuoteLine, quote: Quote) -> bool:
    paid, terms = [share.paid for share in line.shares], quote.terms
    start, end = line.period_start, line.period_end
    unused = Fraction(line.paid.amount) * unused_share(start, end, quote.at, terms)
    return (
        line.paid == total(paid, line.paid.currency)
        and line.unused == rounded(unused, line.unused.currency)
        and line.unused_days == unused_days(start, end, quote.at, terms)
        and line.period_days == period_days(start, end, terms)
        and tuple(share.amount for share in line.shares) == divided(line.unused, paid)
    )


def _wrong_settlement(invitation_id: str) -> Violation:
    return Violation(
        rule="QUO-3",
        subject=invitation_id,
        message="its settlement differs from its entries of the ledger",
    )
