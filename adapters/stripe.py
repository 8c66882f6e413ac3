"""Payments and refunds at Stripe."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote

import stripe
from pydantic import Field
from stripe.params import PaymentIntentCreateParams, RefundCreateParams, RefundListParams

from activities.billing import (
    ChargePending,
    ChargeRequest,
    ChargeTooSmall,
    ListedCharge,
    ListedRefund,
    LookupRefused,
    ProviderCharge,
    ProviderRefund,
    RefundRefused,
    RefundRequest,
)
from adapters.stripe_amount import AmountTooPrecise, chargeable, money_of, stripe_units
from domain.address import mask_all
from domain.charge import ChargeState
from domain.model import Value
from domain.money import Money
from domain.refund import PartState
from domain.text import one_line

TIMEOUT = timedelta(seconds=20)
"""Shorter than the activity's timeout, so that the error names Stripe and not the activity."""

REFUND = "seatflow_refund"
"""Metadata name of our refund's id; the webhook finds the refund by it."""
KEY = "seatflow_key"
"""Metadata name of the request's key; lost responses are found by it."""

PAYMENT_INTENT = "pi_"
CHARGE = ("ch_", "py_")
MAX_REASON_LENGTH = 200
TOO_PRECISE = "amount_too_fine"
KEY_REFUSED = "api_key_refused"
PAGE_SIZE = 100
"""The most that Stripe returns in one page."""
SEARCHABLE_AFTER = timedelta(hours=2)
"""The age from which a search finds an object; Stripe's index is up to one hour late.

https://docs.stripe.com/search#data-freshness
"""
TOO_SMALL = "amount_too_small"
"""Stripe's code of an amount below the minimum of the bank account's currency."""


class _Failure(Value):
    code: str | None = None


class _Intent(Value):
    """The members of a Stripe payment intent that are read here."""

    id: str
    status: str
    amount: int
    currency: str
    last_payment_error: _Failure | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class _Refund(Value):
    """The members of a Stripe refund that are read here."""

    id: str
    status: PartState
    failure_reason: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class StripeProvider:
    """`PaymentProvider` over Stripe's payment intents and refunds.

    A payment is a payment intent (`pi_…`) or a charge (`ch_…`, `py_…`); new charges are payment
    intents. Stripe forgets idempotency keys after a day and answers a repeated one with the first
    response, not the current state. Therefore each intent and refund also carries its key in its
    metadata and is looked for before it is created. Stripe's idempotency key resolves only the
    race between two concurrent requests.
    """

    def __init__(self, api_key: str, api_base: str | None = None) -> None:
        """Connect to the Stripe account of `api_key`, at `api_base` or Stripe's default address."""
        self._http = stripe.HTTPXClient(timeout=TIMEOUT.total_seconds())
        self._stripe = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base} if api_base else {},
            # Temporal retries the activity, which first searches for the earlier result.
            max_network_retries=0,
            http_client=self._http,
        ).v1

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()

    def chargeable(self, amount: Money) -> Money:
        """Return the part of `amount` that Stripe's units and minimum allow."""
        return chargeable(amount)

    async def charge(self, request: ChargeRequest) -> ProviderCharge:
        """Charge once per `request.key`; a repeated key returns the first result.

        Without a Stripe customer there is no payment method to charge: it is declined. Raises
        ChargeTooSmall.
        """
        if request.billing_customer is None:
            return _declined("no_billing_customer")
        found = await self.find_charge(request)
        return found or await self._create_intent(request, request.billing_customer)

    async def find_charge(self, request: ChargeRequest) -> ProviderCharge | None:
        """Return the charge that was made for `request.key`, if any.

        Raises ChargePending while its payment intent has no result, as for a bank debit.
        """
        if request.billing_customer is None:
            return None
        async for intent in self._intents_with(request.key, request.billing_customer):
            return _as_charge(intent)
        return None

    async def _intents_with(self, key: str, customer: str) -> AsyncIterator[_Intent]:
        """Yield the payment intent with `key` in its metadata, as it is now.

        New ones are listed, since Stripe's search does not find them yet; the others are searched
        for, since a customer may have any number of them.
        """
        since = int(time.time() - SEARCHABLE_AFTER.total_seconds())
        try:
            recent = await self._stripe.payment_intents.list_async(
                {"customer": customer, "created": {"gte": since}, "limit": PAGE_SIZE}
            )
        except stripe.InvalidRequestError as error:
            # A customer that Stripe does not know has no charges.
            if error.code != "resource_missing":
                raise
            return
        async for each in recent.auto_paging_iter():
            intent = _Intent.model_validate(each.to_dict())
            if intent.metadata.get(KEY) == key:
                yield intent
        found = await self._stripe.payment_intents.search_async(
            {"query": f"metadata['{KEY}']:'{key}'"}
        )
        for hit in found.data:
            # The index may have an earlier state.
            current = await self._stripe.payment_intents.retrieve_async(hit.id)
            yield _Intent.model_validate(current.to_dict())

    async def refund(self, request: RefundRequest) -> ProviderRefund:
        """Refund once per `request.key`; a repeated key returns the first refund as it is now.

        Raises RefundRefused also for `to_method`: Stripe refunds to the original method only.
        """
        if request.to_method is not None:
            raise RefundRefused("another_method_not_supported")
        found = await self.find_refund(request)
        return found or await self._create_refund(request)

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """Return the refund that was made for `request.key`, if any.

        Raises RefundRefused when the payment's id is not one of Stripe's.
        """
        query: RefundListParams = {"limit": PAGE_SIZE}
        query[_kind(request.payment)] = request.payment
        try:
            listed = await self._stripe.refunds.list_async(query)
        except stripe.InvalidRequestError as error:
            # A payment that Stripe does not know has no refunds.
            if error.http_status != 404:
                raise
            return None
        async for each in listed.auto_paging_iter():
            refund = _parse_refund(each)
            if refund.metadata.get(KEY) == request.key:
                return _as_refund(refund)
        return None

    async def look_up(self, request: RefundRequest, provider_id: str) -> ProviderRefund:
        """Return the current state of the refund; Stripe cannot report the one at `request.at`.

        Raises LookupRefused for a key without access, and for a refund that Stripe does not know.
        """
        try:
            refund = await self._stripe.refunds.retrieve_async(provider_id)
        except (stripe.AuthenticationError, stripe.PermissionError):
            raise LookupRefused(KEY_REFUSED) from None
        except stripe.InvalidRequestError as error:
            if error.http_status != 404:
                raise
            raise LookupRefused("unknown_refund") from None
        return _as_refund(_parse_refund(refund))

    # The records, to compare them with the store (OPS-6).

    @property
    def is_in_store(self) -> bool:
        """Return false: Stripe keeps its records."""
        return False

    async def refunds(self) -> AsyncIterator[ListedRefund]:
        """Yield all refunds with a key of ours, the newest first."""
        listed = await self._stripe.refunds.list_async({"limit": PAGE_SIZE})
        async for each in listed.auto_paging_iter():
            refund = _parse_refund(each)
            if key := refund.metadata.get(KEY):
                yield ListedRefund(
                    key=key,
                    amount=money_of(each.amount, each.currency),
                    status=_as_refund(refund),
                    at=datetime.fromtimestamp(each.created, UTC),
                )

    async def charges(self) -> AsyncIterator[ListedCharge]:
        """Yield all payment intents with a key of ours that have succeeded, the newest first."""
        listed = await self._stripe.payment_intents.list_async({"limit": PAGE_SIZE})
        async for each in listed.auto_paging_iter():
            intent = _Intent.model_validate(each.to_dict())
            if intent.status == "succeeded" and (key := intent.metadata.get(KEY)):
                yield ListedCharge(
                    key=key,
                    provider_id=intent.id,
                    amount=money_of(each.amount, each.currency),
                    at=datetime.fromtimestamp(each.created, UTC),
                )

    async def has_charge(self, provider_id: str) -> bool:
        """Return whether Stripe knows the payment intent."""
        try:
            await self._stripe.payment_intents.retrieve_async(provider_id)
        except stripe.InvalidRequestError as error:
            if error.http_status != 404:
                raise
            return False
        return True

    async def _create_intent(self, request: ChargeRequest, customer: str) -> ProviderCharge:
        try:
            parameters: PaymentIntentCreateParams = {
                "amount": stripe_units(request.amount),
                "currency": request.amount.currency.lower(),
                "customer": customer,
                "payment_method": request.method,
                "description": request.description,
                "metadata": {KEY: request.key},
                "confirm": True,
                # No customer is present, so a payment that needs authentication is declined.
                "off_session": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            }
            intent = await self._stripe.payment_intents.create_async(
                parameters, {"idempotency_key": _header(request.key)}
            )
        except AmountTooPrecise:
            return _declined(TOO_PRECISE)
        except (stripe.CardError, stripe.InvalidRequestError) as error:
            if error.code == TOO_SMALL:
                raise ChargeTooSmall(_reason(error)) from None
            # A declined card leaves a payment intent, which is found later; an invalid request
            # leaves none.
            return await self.find_charge(request) or _declined(_reason(error))
        return _as_charge(_Intent.model_validate(intent.to_dict()))

    async def _create_refund(self, request: RefundRequest) -> ProviderRefund:
        with _raise_refused():
            parameters: RefundCreateParams = {
                "amount": stripe_units(request.amount),
                "metadata": {KEY: request.key, REFUND: request.key.partition("/")[0]},
            }
            parameters[_kind(request.payment)] = request.payment
            await self._require_currency(request)
            refund = await self._stripe.refunds.create_async(
                parameters, {"idempotency_key": _header(request.key)}
            )
        return _as_refund(_parse_refund(refund))

    async def _require_currency(self, request: RefundRequest) -> None:
        """Raise RefundRefused when the payment has another currency than `request`.

        A refund at Stripe is a number without a currency: it uses that of the payment.
        """
        payment: stripe.PaymentIntent | stripe.Charge
        if _kind(request.payment) == "payment_intent":
            payment = await self._stripe.payment_intents.retrieve_async(request.payment)
        else:
            payment = await self._stripe.charges.retrieve_async(request.payment)
        if payment.currency.upper() != request.amount.currency:
            raise RefundRefused("currency_mismatch")


def _header(key: str) -> str:
    """Return the key in the characters of an HTTP header; ids of an import may have others."""
    return quote(key, safe="/")


def _kind(payment: str) -> Literal["payment_intent", "charge"]:
    """Return the Stripe object that the id belongs to. Raises RefundRefused for any other id."""
    if payment.startswith(PAYMENT_INTENT):
        return "payment_intent"
    if payment.startswith(CHARGE):
        return "charge"
    raise RefundRefused("not_a_stripe_payment")


def _as_charge(intent: _Intent) -> ProviderCharge:
    """Return the result of the intent. Raises ChargePending while it has none."""
    match intent.status:
        case "succeeded":
            amount = money_of(intent.amount, intent.currency)
            return ProviderCharge(provider_id=intent.id, state=ChargeState.SUCCEEDED, amount=amount)
        case "processing" | "requires_confirmation":
            raise ChargePending(f"Payment intent {intent.id} is {intent.status}: no result yet.")
        case _:
            # Every other status waits for the customer, who is never given the client secret that
            # completing the payment needs.
            failure = intent.last_payment_error and intent.last_payment_error.code
            return _declined(failure or intent.status, intent.id)


def _declined(failure: str, provider_id: str | None = None) -> ProviderCharge:
    return ProviderCharge(provider_id=provider_id, state=ChargeState.DECLINED, failure=failure)


def _parse_refund(refund: stripe.Refund) -> _Refund:
    return _Refund.model_validate(refund.to_dict())


def _as_refund(refund: _Refund) -> ProviderRefund:
    failed = refund.status.failed
    return ProviderRefund(
        provider_id=refund.id,
        state=refund.status,
        failure=refund.failure_reason if failed else None,
    )


@contextmanager
def _raise_refused() -> Iterator[None]:
    """Raise RefundRefused for errors that a retry cannot change; other errors pass through."""
    try:
        yield
    except AmountTooPrecise:
        raise RefundRefused(TOO_PRECISE) from None
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        raise RefundRefused(_reason(error)) from None


def _reason(error: stripe.StripeError) -> str:
    text = error.code or error.user_message or type(error).__name__
    return mask_all(one_line(text))[:MAX_REASON_LENGTH]
