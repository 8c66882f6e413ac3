"""Payments and refunds kept by Stripe."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal

import stripe
from pydantic import Field
from stripe.params import PaymentIntentCreateParams, RefundCreateParams, RefundListParams

from activities.billing import (
    ChargeRequest,
    ChargeUndecided,
    ProviderCharge,
    ProviderRefund,
    RefundRefused,
    RefundRequest,
)
from domain.address import mask_all
from domain.charge import ChargeState
from domain.model import Value
from domain.money import Money
from domain.refund import PartState
from domain.text import one_line

PATIENCE = timedelta(seconds=20)
"""Below the time an activity has, so that Stripe's silence is the error that is seen."""

REFUND = "seatflow_refund"
"""The metadata that tells which refund a refund at Stripe belongs to."""
KEY = "seatflow_key"
"""The metadata that tells for which request it was made."""

PAYMENT_INTENT = "pi_"
CHARGE = ("ch_", "py_")
LONGEST_REASON = 200
TOO_FINE = "amount_too_fine"
ALL_AT_ONCE = 100

# https://docs.stripe.com/currencies: what it calls zero-decimal and three-decimal. Not those
# of `domain.money`: ISK, UGX, RSD and others have no minor unit, yet two decimals at Stripe.
_DIGITS = dict.fromkeys(
    (
        *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"),
        *("PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
    ),
    0,
) | dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3)


class TooFine(ValueError):
    """Stripe counts no such fractions of a currency."""


class _Failure(Value):
    code: str | None = None


class _Intent(Value):
    """What we read of a payment intent at Stripe."""

    id: str
    status: str
    last_payment_error: _Failure | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class _Refund(Value):
    """What we read of a refund at Stripe."""

    id: str
    status: PartState
    failure_reason: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class StripeProvider:
    """Keeps the promises of `PaymentProvider` with Stripe's payment intents and refunds.

    A payment is a payment intent (`pi_…`) or a charge (`ch_…`, `py_…`); what is charged here
    is an intent. Stripe forgets its idempotency keys after a day, and what it answers to a
    repeated one is old news. So each intent and refund carries its key in its metadata as
    well, and is looked for before it is asked for; Stripe's own key decides between requests
    at the same moment.
    """

    def __init__(self, api_key: str, api_base: str | None = None) -> None:
        """Use the account that `api_key` belongs to, at `api_base`; None: Stripe's own."""
        self._http = stripe.HTTPXClient(timeout=PATIENCE.total_seconds())
        self._stripe = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base} if api_base else {},
            # Whoever asks tries again, and looks first.
            max_network_retries=0,
            http_client=self._http,
        ).v1

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.close_async()

    async def charge(self, request: ChargeRequest) -> ProviderCharge:
        """Charge once per `request.key`; a repeated key returns the first answer.

        Without a customer there is nobody whose methods could be charged, and it is declined.
        """
        if request.billing_customer is None:
            return _declined("no_billing_customer")
        found = await self.find_charge(request)
        return found or await self._take(request, request.billing_customer)

    async def find_charge(self, request: ChargeRequest) -> ProviderCharge | None:
        """The answer that `request.key` has had, if any.

        Raises ChargeUndecided while Stripe has none, as of a bank's debit.
        """
        if request.billing_customer is None:
            return None
        try:
            listed = await self._stripe.payment_intents.list_async(
                {"customer": request.billing_customer, "limit": ALL_AT_ONCE}
            )
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise
            return None
        async for each in listed.auto_paging_iter():
            intent = _Intent.model_validate(each.to_dict())
            if intent.metadata.get(KEY) == request.key:
                return _answered(intent)
        return None

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        """Refund once per `request.key`; a repeated key returns the first refund as it stands.

        Raises RefundRefused also where Stripe cannot do it: another method than the original.
        """
        if request.to_method is not None:
            raise RefundRefused("another_method_not_supported")
        found = await self.find_refund(request)
        return found or await self._create(request)

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """The refund that was made for `request.key`, if any.

        Raises RefundRefused when the payment cannot be one of Stripe's.
        """
        query: RefundListParams = {"limit": ALL_AT_ONCE}
        query[_kind(request.payment)] = request.payment
        try:
            listed = await self._stripe.refunds.list_async(query)
        except stripe.InvalidRequestError as error:
            if error.http_status != 404:
                raise
            return None
        async for each in listed.auto_paging_iter():
            refund = _read(each)
            if refund.metadata.get(KEY) == request.key:
                return _told(refund)
        return None

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        """How the refund stands now; Stripe knows no other time."""
        return _told(_read(await self._stripe.refunds.retrieve_async(provider_id)))

    async def _take(self, request: ChargeRequest, customer: str) -> ProviderCharge:
        try:
            order: PaymentIntentCreateParams = {
                "amount": stripe_units(request.amount),
                "currency": request.amount.currency.lower(),
                "customer": customer,
                "payment_method": request.method,
                "description": request.description,
                "metadata": {KEY: request.key},
                "confirm": True,
                # Nobody is there: what wants to be confirmed by a person is declined.
                "off_session": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            }
            made = await self._stripe.payment_intents.create_async(
                order, {"idempotency_key": request.key}
            )
        except TooFine:
            return _declined(TOO_FINE)
        except (stripe.CardError, stripe.InvalidRequestError) as error:
            # A card's decline is kept, and is the same whoever asks later; a mistake is not.
            return await self.find_charge(request) or _declined(_reason(error))
        return _answered(_Intent.model_validate(made.to_dict()))

    async def _create(self, request: RefundRequest) -> ProviderRefund:
        with _refusals():
            order: RefundCreateParams = {
                "amount": stripe_units(request.amount),
                "metadata": {KEY: request.key, REFUND: request.key.partition("/")[0]},
            }
            order[_kind(request.payment)] = request.payment
            await self._require_currency(request)
            made = await self._stripe.refunds.create_async(order, {"idempotency_key": request.key})
        return _told(_read(made))

    async def _require_currency(self, request: RefundRequest) -> None:
        """A refund is a mere number at Stripe, counted in the currency of its payment."""
        paid: stripe.PaymentIntent | stripe.Charge
        if _kind(request.payment) == "payment_intent":
            paid = await self._stripe.payment_intents.retrieve_async(request.payment)
        else:
            paid = await self._stripe.charges.retrieve_async(request.payment)
        if paid.currency.upper() != request.amount.currency:
            raise RefundRefused("currency_mismatch")


def stripe_units(amount: Money) -> int:
    """`amount` as Stripe counts it. Raises TooFine when it is finer than that."""
    units = amount.amount.scaleb(_DIGITS.get(amount.currency, 2))
    if units % 1:
        raise TooFine(TOO_FINE)
    return int(units)


def _kind(payment: str) -> Literal["payment_intent", "charge"]:
    """What sort of payment it is. Raises RefundRefused when it is none of Stripe's."""
    if payment.startswith(PAYMENT_INTENT):
        return "payment_intent"
    if payment.startswith(CHARGE):
        return "charge"
    raise RefundRefused("not_a_stripe_payment")


def _answered(intent: _Intent) -> ProviderCharge:
    """What the intent says. Raises ChargeUndecided while it says nothing yet."""
    match intent.status:
        case "succeeded":
            return ProviderCharge(provider_id=intent.id, state=ChargeState.SUCCEEDED)
        case "processing" | "requires_confirmation":
            raise ChargeUndecided(f"Stripe has not decided about {intent.id} yet.")
        case _:
            # Whatever it waits for, nobody brings it: the secret that it takes is told to none.
            failure = intent.last_payment_error and intent.last_payment_error.code
            return _declined(failure or intent.status, intent.id)


def _declined(failure: str, provider_id: str | None = None) -> ProviderCharge:
    return ProviderCharge(provider_id=provider_id, state=ChargeState.DECLINED, failure=failure)


def _read(refund: stripe.Refund) -> _Refund:
    return _Refund.model_validate(refund.to_dict())


def _told(refund: _Refund) -> ProviderRefund:
    failed = refund.status.failed
    return ProviderRefund(
        provider_id=refund.id,
        state=refund.status,
        failure=refund.failure_reason if failed else None,
    )


@contextmanager
def _refusals() -> Iterator[None]:
    """What Stripe will answer every time, as RefundRefused; all else may go otherwise."""
    try:
        yield
    except TooFine:
        raise RefundRefused(TOO_FINE) from None
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        raise RefundRefused(_reason(error)) from None


def _reason(error: stripe.StripeError) -> str:
    text = error.code or error.user_message or type(error).__name__
    return mask_all(one_line(text))[:LONGEST_REASON]
