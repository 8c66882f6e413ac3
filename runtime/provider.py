"""The payment provider that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from activities.billing import ProviderRecords
from adapters.provider import LedgerProvider
from adapters.sql.store import SqlStore
from domain.error import Unavailable
from runtime.settings import Settings


@asynccontextmanager
async def open_provider(settings: Settings, store: SqlStore) -> AsyncIterator[ProviderRecords]:
    """Open the payment provider."""
    if settings.billing == "ledger":
        yield LedgerProvider(store.engine, settings.ledger_settles_after, settings.ledger_faults)
        return
    # Only this provider loads Stripe's client.
    from adapters.stripe import StripeProvider

    stripe = StripeProvider(settings.stripe_api_key, settings.stripe_api_base)
    try:
        yield stripe
    finally:
        await stripe.close()


@asynccontextmanager
async def reading_provider(settings: Settings, store: SqlStore) -> AsyncIterator[ProviderRecords]:
    """Open the payment provider for a command. Raises Unavailable when it does not answer."""
    async with open_provider(settings, store) as provider:
        if provider.is_in_store:
            yield provider
            return
        from stripe import StripeError

        try:
            yield provider
        except StripeError as failure:
            raise Unavailable(f"Stripe does not answer: {type(failure).__name__}.") from failure
