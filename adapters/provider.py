"""Built-in payment provider; no money moves outside of this database.

Charges and refunds, with their future outcomes, are stored in separate tables, as at an external
provider. The ledger has only the results that this provider returns.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, TypeVar
from uuid import uuid4

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from activities.billing import (
    ChargeRequest,
    ListedCharge,
    ListedRefund,
    LookupRefused,
    ProviderCharge,
    ProviderRefund,
    RefundRefused,
    RefundRequest,
)
from adapters.calendar import is_day_off
from adapters.sql.database.schema import (
    AccountRow,
    PaymentMethodRow,
    PaymentRow,
    ProviderChargeRow,
    ProviderRefundRow,
)
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import require_account
from adapters.sql.money.payment_method import payment_methods, try_charge
from domain import day
from domain.business_day import lookup_times
from domain.charge import ChargeState
from domain.money import Money, rounded
from domain.refund import PartState

_SLOW_BUSINESS_DAYS: Final = 9
_FAILS_AFTER_BUSINESS_DAYS: Final = 2
_PAGE_SIZE: Final = 500

AnyRow = TypeVar("AnyRow", ProviderRefundRow, ProviderChargeRow)


class LedgerProvider:
    """`PaymentProvider` over the payments in the store."""

    def __init__(self, engine: AsyncEngine, settles_after: int, faults: frozenset[str]) -> None:
        """Settle refunds on the `settles_after`-th business day, except for the `faults`.

        `slow`: settle long after the due date. `fail`: decline refunds to the original payment
        method after a while. `timeout-after`: lose the first response to each request.
        """
        self._engine = engine
        self._faults = faults
        self._settles_after = _SLOW_BUSINESS_DAYS if "slow" in faults else settles_after

    def chargeable(self, amount: Money) -> Money:
        """Return `amount`: every amount can be charged."""
        return amount

    async def charge(self, request: ChargeRequest) -> ProviderCharge:
        """Charge once per key; a repeated key returns the first result.

        Raises `Refused(not_found)` for an unknown account.
        """
        async with writing(self._engine) as session:
            account = await require_account(session, request.account, lock=True)
            row = await session.get(ProviderChargeRow, request.key)
            is_first = row is None
            if row is None:
                row = await _add_charge(session, request, account)
        if is_first and "timeout-after" in self._faults:
            raise TimeoutError(
                "The charge was made, but its response was lost (fault timeout-after)."
            )
        return _as_charge(row)

    async def find_charge(self, request: ChargeRequest) -> ProviderCharge | None:
        """Return the charge that was made for the key, if any."""
        async with reading(self._engine) as session:
            row = await session.get(ProviderChargeRow, request.key)
            return _as_charge(row) if row else None

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        """Refund once per key; a repeated key returns the first refund in its current state."""
        async with writing(self._engine) as session:
            payment = await _lock_payment(session, request)
            row = await session.get(ProviderRefundRow, request.key)
            is_first = row is None
            if row is None:
                row = await self._add_refund(session, request, payment)
        if is_first and "timeout-after" in self._faults:
            raise TimeoutError(
                "The refund was made, but its response was lost (fault timeout-after)."
            )
        return _as_refund(row, request.at)

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """Return the refund that was made for the key, if any."""
        async with reading(self._engine) as session:
            row = await session.get(ProviderRefundRow, request.key)
            return _as_refund(row, request.at) if row else None

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        """Return the refund in its state at `request.at`. Raises LookupRefused."""
        async with reading(self._engine) as session:
            row = await session.scalar(
                select(ProviderRefundRow).where(ProviderRefundRow.provider_id == provider_id)
            )
            if row is None:
                raise LookupRefused("unknown_refund")
            return _as_refund(row, request.at)

    # The records, to compare them with the store (OPS-6).

    @property
    def is_in_store(self) -> bool:
        """Return true: a restored database has the charges and refunds of its time."""
        return True

    async def refunds(self) -> AsyncIterator[ListedRefund]:
        """Yield all refunds, in the order of their keys."""
        now = datetime.now(UTC)
        async for row in self._rows(ProviderRefundRow):
            yield ListedRefund(
                key=row.key,
                amount=rounded(row.amount, row.currency),
                status=_as_refund(row, now),
                at=now,
            )

    async def charges(self) -> AsyncIterator[ListedCharge]:
        """Yield all charges that have succeeded, in the order of their keys."""
        async for row in self._rows(ProviderChargeRow):
            if row.state == ChargeState.SUCCEEDED:
                yield ListedCharge(
                    key=row.key,
                    provider_id=row.provider_id,
                    amount=rounded(row.amount, row.currency),
                    at=row.at,
                )

    async def has_charge(self, provider_id: str) -> bool:
        """Return whether there is a charge of this id."""
        query = select(ProviderChargeRow.key).where(ProviderChargeRow.provider_id == provider_id)
        async with reading(self._engine) as session:
            return await session.scalar(query) is not None

    async def _rows(self, table: type[AnyRow]) -> AsyncIterator[AnyRow]:
        last = ""
        while True:
            query = select(table).where(table.key > last).order_by(table.key).limit(_PAGE_SIZE)
            async with reading(self._engine) as session:
                page = (await session.scalars(query)).all()
            for row in page:
                yield row
            if len(page) < _PAGE_SIZE:
                return
            last = page[-1].key

    async def _add_refund(
        self, session: AsyncSession, request: RefundRequest, payment: PaymentRow
    ) -> ProviderRefundRow:
        account = await session.get_one(AccountRow, request.account)
        await _require_refundable(session, request, payment, account)
        row = ProviderRefundRow(
            key=request.key,
            provider_id=f"re_{uuid4().hex}",
            account_id=request.account,
            payment=request.payment,
            currency=request.amount.currency,
            amount=request.amount.amount,
        )
        if request.to_method is None and not payment.refundable:
            row.ends_at, row.outcome = request.at, PartState.FAILED
            row.failure = "expired_or_canceled_card"
        elif request.to_method is None and "fail" in self._faults:
            row.ends_at = _start_of_business_day(account, request.at, _FAILS_AFTER_BUSINESS_DAYS)
            row.outcome, row.failure = PartState.FAILED, "declined"
        else:
            row.ends_at = _start_of_business_day(account, request.at, self._settles_after)
            row.outcome = PartState.SUCCEEDED
        session.add(row)
        return row


async def _add_charge(
    session: AsyncSession, request: ChargeRequest, account: AccountRow
) -> ProviderChargeRow:
    """Store the charge with its result; a decline is counted in the same transaction."""
    failure = await _decline_reason(session, request, account)
    row = ProviderChargeRow(
        key=request.key,
        provider_id=f"ch_{uuid4().hex}",
        account_id=account.id,
        method=request.method,
        currency=request.amount.currency,
        amount=request.amount.amount,
        at=request.at,
        state=ChargeState.DECLINED if failure else ChargeState.SUCCEEDED,
        failure=failure,
    )
    session.add(row)
    return row


async def _decline_reason(
    session: AsyncSession, request: ChargeRequest, account: AccountRow
) -> str | None:
    """Return the reason of a decline; None when the charge succeeds."""
    if request.amount.currency != account.currency:
        return "currency_mismatch"
    if request.amount.amount <= 0:
        return "amount_too_small"
    methods = await payment_methods(session, account.id)
    method = next((each for each in methods if each.id == request.method), None)
    if method is None:
        return "unknown_payment_method"
    return None if try_charge(method) else "card_declined"


def _as_charge(row: ProviderChargeRow) -> ProviderCharge:
    state = ChargeState(row.state)
    return ProviderCharge(
        provider_id=row.provider_id,
        state=state,
        amount=rounded(row.amount, row.currency) if state is ChargeState.SUCCEEDED else None,
        failure=row.failure,
    )


async def _lock_payment(session: AsyncSession, request: RefundRequest) -> PaymentRow:
    """Return the payment, locked so that its refunds are made one at a time."""
    payment = await session.get(
        PaymentRow,
        {"account_id": request.account, "id": request.payment},
        with_for_update=True,
    )
    if payment is None or payment.method == "credit":
        raise RefundRefused("unknown_payment")
    return payment


async def _require_refundable(
    session: AsyncSession, request: RefundRequest, payment: PaymentRow, account: AccountRow
) -> None:
    """Raise RefundRefused for a wrong currency or method, or for more than was paid."""
    if request.amount.currency != account.currency:
        raise RefundRefused("currency_mismatch")
    if request.amount.amount <= 0:
        raise RefundRefused("amount_too_small")
    refunded = await session.scalar(
        select(func.sum(ProviderRefundRow.amount)).where(
            ProviderRefundRow.account_id == request.account,
            ProviderRefundRow.payment == request.payment,
            or_(
                ProviderRefundRow.outcome != PartState.FAILED,
                ProviderRefundRow.ends_at > request.at,
            ),
        )
    )
    if (refunded or Decimal(0)) + request.amount.amount > payment.amount:
        raise RefundRefused("more_than_was_paid")
    if request.to_method is not None:
        method = {"account_id": request.account, "id": request.to_method}
        if await session.get(PaymentMethodRow, method) is None:
            raise RefundRefused("unknown_payment_method")


def _start_of_business_day(account: AccountRow, at: datetime, number: int) -> datetime:
    """Return the start of the `number`-th business day after `at`; 0: of the same day.

    A refund is looked up at the time of day of its acceptance, slightly before that of its
    request. The look-up on the due day must find the refund settled.
    """
    [moment] = lookup_times(at, account.time_zone, is_day_off(account.country), number, 1)
    return day.begin(day.day_of(moment, account.time_zone), account.time_zone)


def _as_refund(row: ProviderRefundRow, at: datetime) -> ProviderRefund:
    """Return the refund in its state at `at`."""
    if at < row.ends_at:
        return ProviderRefund(provider_id=row.provider_id, state=PartState.PENDING)
    return ProviderRefund(
        provider_id=row.provider_id, state=PartState(row.outcome), failure=row.failure
    )
