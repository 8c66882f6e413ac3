"""The payment provider named in the settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from activities.billing import PaymentProvider
from adapters.sql.store import SqlStore
from runtime.settings import Settings


@asynccontextmanager
async def open_provider(settings: Settings, store: SqlStore) -> AsyncIterator[PaymentProvider]:
    """Open the provider; only the configured one is loaded."""
    if settings.billing == "ledger":
        from adapters.provider import LedgerProvider

        yield LedgerProvider(store.engine, settings.ledger_settles_after, settings.ledger_faults)
        return
    from adapters.stripe import StripeProvider

    stripe = StripeProvider(settings.stripe_api_key, settings.stripe_api_base)
    try:
        yield stripe
    finally:
        await stripe.close()
