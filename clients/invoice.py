"""The payment of invoices through the payment provider (BLK-2)."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from activities.billing import (
    ChargePending,
    ChargeRequest,
    ChargeTooSmall,
    PaymentProvider,
    ProviderCharge,
)
from adapters.sql.money.invoice import SqlInvoices
from domain.address import mask_all
from domain.charge import ChargeState
from domain.error import ErrorCode, Refused, Unavailable
from domain.invoice import InvoiceDue
from domain.remedy import Changed
from domain.text import one_line

MAX_REASON_LENGTH = 200
MAX_REFERENCE_LENGTH = 200


@dataclass(frozen=True)
class InvoiceClient:
    """Invoices, and the provider that collects them."""

    invoices: SqlInvoices
    open_provider: Callable[[], AbstractAsyncContextManager[PaymentProvider]]
    """Only a charge needs the provider and its key."""

    async def pay(self, account: str, invoice: str, *, by: str, at: datetime) -> list[Changed]:
        """Charge the open amount to the account's payment methods, in their order.

        The result of each charge is recorded before the next one, so a repetition finds a charge
        whose result was lost. Raises Refused: `not_found`, `payment_declined` (by all methods),
        `conflict` (a bank debit has no result yet, or the open amount is one that the provider
        cannot charge); Unavailable, with nothing written, if the provider does not answer.
        """
        async with self.open_provider() as provider:
            changed = await self._pay(provider, account, invoice, by=by, at=at)
        return [Changed(kind="invoice", id=invoice)] if changed else []

    async def record_paid_outside(
        self, account: str, invoice: str, reference: str, *, by: str, at: datetime
    ) -> list[Changed]:
        """Record that the open amount was paid elsewhere; charge nothing.

        Raises Refused: `not_found`, `invalid_input` (no reference, or one that is too long).
        """
        reference = one_line(reference).strip()
        if not 0 < len(reference) <= MAX_REFERENCE_LENGTH:
            raise Refused(
                ErrorCode.INVALID_INPUT,
                f"Write a reference of 1 to {MAX_REFERENCE_LENGTH} characters.",
            )
        recorded = await self.invoices.paid_elsewhere(account, invoice, reference, by=by, at=at)
        return [Changed(kind="invoice", id=invoice)] if recorded else []

    async def _pay(
        self, provider: PaymentProvider, account: str, invoice: str, *, by: str, at: datetime
    ) -> bool:
        """Charge one method after the other; return whether this call has booked a charge."""
        tried, changed, reason = set[str](), False, None
        while due := await self.invoices.due(account, invoice):
            method = next((each for each in due.methods if each not in tried), None)
            if not due.amount.amount:
                changed |= await self.invoices.paid(due, None, None, by=by, at=at)
            elif method is None:
                raise _declined(account, invoice, reason)
            else:
                charged = provider.chargeable(due.amount)
                if not charged.amount:
                    raise _too_small(due)
                due = due.model_copy(update={"amount": charged})
                try:
                    charge = await _charge(provider, charge_request(due, method, at))
                except ChargeTooSmall:
                    raise _too_small(due) from None
                if charge.state is ChargeState.SUCCEEDED:
                    assert charge.amount, "a successful charge has an amount"
                    changed |= await self.invoices.paid(
                        due, charge.amount, charge.provider_id, by=by, at=at
                    )
                else:
                    tried.add(method)
                    reason = charge.failure
                    await self.invoices.declined(due)
        return changed


async def _charge(provider: PaymentProvider, request: ChargeRequest) -> ProviderCharge:
    """Charge once per key; after an unclear answer, look the charge up."""
    found = await _find(provider, request, outcome_unknown=False)
    if found:
        return found
    try:
        return await provider.charge(request)
    except (Refused, Unavailable, ChargeTooSmall):
        raise
    except ChargePending as pending:
        raise _undecided(pending) from None
    except Exception as failure:
        found = await _find(provider, request, outcome_unknown=True)
        if found is None:
            raise _no_answer(failure, outcome_unknown=True) from None
        return found


async def _find(
    provider: PaymentProvider, request: ChargeRequest, *, outcome_unknown: bool
) -> ProviderCharge | None:
    try:
        return await provider.find_charge(request)
    except (Refused, Unavailable):
        raise
    except ChargePending as pending:
        raise _undecided(pending) from None
    except Exception as failure:
        raise _no_answer(failure, outcome_unknown=outcome_unknown) from None


def charge_request(due: InvoiceDue, method: str, at: datetime) -> ChargeRequest:
    """Return the request to charge one method, with the key of the next charge."""
    return ChargeRequest(
        key=due.key,
        account=due.account,
        billing_customer=due.billing_customer,
        method=method,
        amount=due.amount,
        description=f"Invoice {due.invoice}",
        at=at,
    )


def _declined(account: str, invoice: str, reason: str | None) -> Refused:
    cause = f" ({reason})" if reason else ""
    return Refused(
        ErrorCode.PAYMENT_DECLINED,
        f"Every payment method of {account} declined the charge for {invoice}{cause}.",
    )


def _too_small(due: InvoiceDue) -> Refused:
    return Refused(
        ErrorCode.CONFLICT,
        f"The payment provider cannot charge {due.amount.amount} {due.amount.currency}, which"
        f" {due.invoice} still lacks. Record a payment elsewhere with `--paid-outside`.",
    )


def _undecided(pending: ChargePending) -> Refused:
    return Refused(ErrorCode.CONFLICT, f"{pending} Run the command again when there is one.")


def _no_answer(failure: Exception, *, outcome_unknown: bool) -> Unavailable:
    reason = mask_all(one_line(str(failure)))[:MAX_REASON_LENGTH] or type(failure).__name__
    return Unavailable(
        f"The payment provider does not answer: {reason}", outcome_unknown=outcome_unknown
    )
