"""Ledger entries of an import: payments of current periods, and opening credit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.accounts.import_validation import names_other_credit
from adapters.sql.database.schema import AccountRow, PaymentRow, SubscriptionRow, TransferRow
from domain.account import Account, Subscription
from domain.ledger import (
    Transfer,
    TransferKind,
    credit_of,
    methods_of,
    opening_of,
    prepaid_of,
    revenue_of,
)
from domain.money import rounded

Period = tuple[date, date]


@dataclass(frozen=True)
class LedgerPayment:
    """A payment for a current period, as it is posted to the ledger."""

    origin: str
    """The ledger account that was debited."""
    amount: Decimal
    period: Period


def payments_of(row: AccountRow | None) -> dict[str, LedgerPayment]:
    """Return the payments for the current periods; none of a closed account (SRC-2)."""
    if row is None or row.state == "closed":
        return {}
    return {
        payment.id: LedgerPayment(_origin(payment), payment.amount, _stored_period(line))
        for line in row.subscriptions
        for payment in line.payments
    }


def same_period(line: SubscriptionRow, named: Subscription) -> bool:
    """Return whether the file names the stored period of the line."""
    return _stored_period(line) == (_in_utc(named.period_start), _in_utc(named.period_end))


async def credit_named_in(session: AsyncSession, account: str, currency: str) -> Decimal:
    """Return the credit that the last file named while the account had this currency."""
    opening, credit = opening_of(account), credit_of(account)
    added = (TransferRow.debited == opening) & (TransferRow.credited == credit)
    removed = (TransferRow.debited == credit) & (TransferRow.credited == opening)
    change = func.sum(case((added, TransferRow.amount), else_=-TransferRow.amount))
    named = await session.scalar(
        select(change).where(TransferRow.currency == currency, or_(added, removed))
    )
    return named or Decimal(0)


@dataclass(frozen=True)
class AccountLedger:
    """The ledger entries of one account during an import."""

    account: str
    currency: str
    at: datetime
    numbers: Iterator[int]
    """Unused numbers for the next entries."""

    def payments(
        self, before: Mapping[str, LedgerPayment], now: Mapping[str, LedgerPayment]
    ) -> Iterator[Transfer]:
        """Yield the entries of payments that are new or corrected, or whose period is over."""
        prepaid = prepaid_of(self.account)
        for payment in dict.fromkeys([*before, *now]):
            old, new = before.get(payment), now.get(payment)
            if old == new:
                continue
            if old and new and old.period == new.period:
                yield from self._entry(TransferKind.CORRECTED, prepaid, old.origin, old.amount)
            elif old:
                earned = revenue_of(self.account)
                yield from self._entry(TransferKind.EARNED, prepaid, earned, old.amount)
            if new:
                yield from self._entry(TransferKind.PAYMENT, new.origin, prepaid, new.amount)

    def credit(self, row: AccountRow, named: Account, *, known: bool) -> Iterator[Transfer]:
        """Yield the entry for the difference from the credit that the previous file named."""
        if known and not names_other_credit(named, row):
            return
        change, row.credit_named = named.credit - row.credit_named, named.credit
        kind = TransferKind.CORRECTED if known else TransferKind.OPENING
        opening, credit = opening_of(self.account), credit_of(self.account)
        debited, credited = (opening, credit) if change > 0 else (credit, opening)
        yield from self._entry(kind, debited, credited, abs(change))

    def _entry(
        self, kind: TransferKind, debited: str, credited: str, amount: Decimal
    ) -> Iterator[Transfer]:
        if amount:
            yield Transfer(
                id=f"import/{self.account}/{next(self.numbers)}",
                at=self.at,
                kind=kind,
                debited=debited,
                credited=credited,
                amount=rounded(amount, self.currency),
            )


def _origin(payment: PaymentRow) -> str:
    """Return the ledger account of a payment; that of credit is the opening balance."""
    origin = opening_of if payment.method == "credit" else methods_of
    return origin(payment.account_id)


def _stored_period(line: SubscriptionRow) -> Period:
    return _in_utc(line.period_start), _in_utc(line.paid_until)


def _in_utc(instant: date) -> date:
    return instant.astimezone(UTC) if isinstance(instant, datetime) else instant
